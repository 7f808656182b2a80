"""The app that connects jobs to the signals of the tasks that work for them."""

import logging
from importlib import import_module
from types import ModuleType
from typing import Any

from django.apps import AppConfig, apps

from events.execution.run import TaskRun, current_run, keeper
from events.integrations.django_tasks.adapter import DjangoTasksAdapter, delivery_of, error_of

logger = logging.getLogger(__name__)


class JobsOfTasks(AppConfig):
    """`events.integrations.django_tasks` in INSTALLED_APPS."""

    name = "events.integrations.django_tasks"
    label = "job_events_django_tasks"
    verbose_name = "Jobs of Django's tasks"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._adapter = DjangoTasksAdapter()
        self._runs: dict[str, TaskRun] = {}

    def ready(self) -> None:
        """Listen to what the backends of tasks tell."""
        for signals in signals_of_tasks():
            signals.task_enqueued.connect(self.enqueued, dispatch_uid=self.label)
            signals.task_started.connect(self.started, dispatch_uid=self.label)
            signals.task_finished.connect(self.finished, dispatch_uid=self.label)

    def enqueued(self, task_result: Any, **_told: Any) -> None:
        """Say so; one that is sent from within a task of its job is waited for."""
        delivery = delivery_of(task_result)
        if delivery is None:
            return
        run = current_run()
        try:
            keeper().enqueued(delivery)
            if run is not None and run.job_id == delivery.job_id:
                keeper().announce(delivery)
        except LookupError:
            self._leave_alone(delivery.job_id, delivery.external_id)

    def started(self, task_result: Any, **_told: Any) -> None:
        """Begin; what is raised here keeps the backend from running the task."""
        delivery = delivery_of(task_result)
        if delivery is None:
            return
        try:
            self._runs[delivery.external_id] = self._adapter.begin(delivery)
        except LookupError:
            self._leave_alone(delivery.job_id, delivery.external_id)

    def finished(self, task_result: Any, **_told: Any) -> None:
        """End what was begun: a task that was refused is told to have failed, too."""
        run = self._runs.pop(task_result.id, None)
        if run is not None:
            self._adapter.tell(run, task_result, error_of(task_result))

    @staticmethod
    def _leave_alone(job_id: str, key: str) -> None:
        """A task may have an argument of this name that names something else."""
        logger.info("task_of_no_job", extra={"job_id": job_id, "key": key})


def signals_of_tasks() -> list[ModuleType]:
    """Django's own signals, if it has any; those of the backport, if it is used."""
    found = [] if (own := _imported("django.tasks.signals")) is None else [own]
    if not found or apps.is_installed("django_tasks"):
        if (backport := _imported("django_tasks.signals")) is None:
            raise ImportError(
                "Tasks need Django 6, or: pip install 'django-job-events[django-tasks]'"
            )
        found.append(backport)
    return found


def _imported(name: str) -> ModuleType | None:
    try:
        return import_module(name)
    except ModuleNotFoundError:
        return None
