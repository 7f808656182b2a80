"""The app that connects jobs to the signals of their tasks."""

import logging
from contextlib import suppress
from importlib import import_module
from types import ModuleType
from typing import Any

from django.apps import AppConfig, apps
from django.utils import timezone

from events.execution.run import TaskRun, current_run
from events.execution.tracker import run_tracker
from events.integrations.django_tasks.adapter import DjangoTasksAdapter, delivery_of

logger = logging.getLogger(__name__)


class DjangoTasksConfig(AppConfig):
    """`events.integrations.django_tasks` in INSTALLED_APPS."""

    name = "events.integrations.django_tasks"
    label = "job_events_django_tasks"
    verbose_name = "Job events of Django tasks"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._adapter = DjangoTasksAdapter()
        self._runs: dict[str, TaskRun] = {}

    def ready(self) -> None:
        for signals in task_signals():
            signals.task_enqueued.connect(self.enqueued, dispatch_uid=self.label)
            signals.task_started.connect(self.started, dispatch_uid=self.label)
            signals.task_finished.connect(self.finished, dispatch_uid=self.label)

    def enqueued(self, task_result: Any, **_kwargs: Any) -> None:
        """Record a queued task; its job does not complete before it if a task of it enqueues it."""
        delivery = delivery_of(task_result)
        if delivery is None:
            return
        run, run_after = current_run(), task_result.task.run_after
        delay = (run_after - timezone.now()).total_seconds() if run_after else 0.0
        try:
            run_tracker().record_enqueued(delivery)
            if run is not None and run.job_id == delivery.job_id:
                run_tracker().announce(delivery, max(delay, 0.0))
            elif delay > 0:
                run_tracker().postpone(delivery.job_id, delay)
        except LookupError:
            _log_unknown_job(delivery.job_id, delivery.external_id)

    def started(self, task_result: Any, **_kwargs: Any) -> None:
        """Claim the task; an exception raised here keeps the backend from running it."""
        delivery = delivery_of(task_result)
        if delivery is None:
            return
        try:
            self._runs[delivery.external_id] = self._adapter.begin(delivery)
        except LookupError:
            _log_unknown_job(delivery.job_id, delivery.external_id)

    def finished(self, task_result: Any, **_kwargs: Any) -> None:
        """Report the outcome of a claimed task; backends also send this for rejected ones."""
        run = self._runs.pop(task_result.id, None)
        if run is not None:
            self._adapter.finish_with(run, task_result)


def _log_unknown_job(job_id: str, external_id: str) -> None:
    """Log a task whose argument of this name may identify something else."""
    logger.info("task_without_job", extra={"job_id": job_id, "external_id": external_id})


def task_signals() -> list[ModuleType]:
    """Return the signal modules of Django, if it has tasks, and of the backport, if it is used."""
    modules = []
    with suppress(ModuleNotFoundError):
        modules.append(import_module("django.tasks.signals"))
    if not modules or apps.is_installed("django_tasks"):
        try:
            modules.append(import_module("django_tasks.signals"))
        except ModuleNotFoundError as error:
            raise ImportError(
                "Tasks need Django 6 or: pip install 'django-job-events[django-tasks]'"
            ) from error
    return modules
