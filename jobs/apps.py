"""AppConfig of `jobs`. Imports `events` only after it has verified which package that is."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from django.apps import AppConfig
from django.core.checks import Tags, register
from django.core.exceptions import ImproperlyConfigured
from django.db.models.signals import pre_delete
from django.utils.translation import gettext_lazy as _

_EVENTS_DIRECTORY: Final = Path(__file__).absolute().parents[1] / "events"


class JobsConfig(AppConfig):
    """`jobs` in INSTALLED_APPS."""

    name = "jobs"
    label = "job_events_jobs"
    verbose_name = _("Jobs")
    default_auto_field = "django.db.models.BigAutoField"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _check_events_package()

    def ready(self) -> None:
        from events.archive import projections  # noqa: PLC0415 - models are loaded now
        from events.doctor.modules import modules  # noqa: PLC0415 - as above
        from events.execution.tracker import register_run_tracker  # noqa: PLC0415 - as above
        from events.metrics import collectors  # noqa: PLC0415 - as above
        from events.processor import register_step  # noqa: PLC0415 - as above
        from events.processor.health import further_items  # noqa: PLC0415 - as above
        from jobs.alerts.deliverer import Deliverer  # noqa: PLC0415 - as above
        from jobs.alerts.evaluator import Evaluator  # noqa: PLC0415 - as above
        from jobs.alerts.matching import AlertProjection  # noqa: PLC0415 - as above
        from jobs.checks import check_settings, check_urls  # noqa: PLC0415 - as above
        from jobs.execution.auto_cancel import AutoCanceller  # noqa: PLC0415 - as above
        from jobs.execution.reaper import Reaper  # noqa: PLC0415 - as above
        from jobs.execution.tracker import JobRunTracker  # noqa: PLC0415 - as above
        from jobs.monitoring import metrics  # noqa: PLC0415 - as above
        from jobs.monitoring.health import current_deliveries_item  # noqa: PLC0415 - as above
        from jobs.monitoring.sampler import ArchivedEventCounter, Sampler  # noqa: PLC0415 - as above
        from jobs.projection import JobProjection  # noqa: PLC0415 - as above

        register(check_settings)
        register(check_urls, Tags.urls)
        self._connect_signals()
        archived = ArchivedEventCounter()
        projections.extend([JobProjection(), AlertProjection(), archived])
        modules.append("jobs.doctor")
        collectors.append(metrics.collect)
        further_items.append(current_deliveries_item)
        register_step("auto_cancel", lambda _single_pass: AutoCanceller().step)
        register_step("reaper", lambda single_pass: Reaper(single_pass=single_pass).step)
        register_step(
            "sampler", lambda single_pass: Sampler(archived, single_pass=single_pass).step
        )
        register_step("alerts", lambda single_pass: Evaluator(single_pass=single_pass).step)
        register_step("deliverer", lambda single_pass: Deliverer(single_pass=single_pass).step)
        register_run_tracker(JobRunTracker())

    def _connect_signals(self) -> None:
        from jobs import services, signals  # noqa: PLC0415 - models are loaded now
        from jobs.alerts.erasure import erase_alerts  # noqa: PLC0415 - as above
        from jobs.execution.auto_cancel import on_status_changed  # noqa: PLC0415 - as above
        from jobs.live.notifier import change_notifier  # noqa: PLC0415 - as above

        pre_delete.connect(services.on_job_delete, sender=self.get_model("Job"))
        pre_delete.connect(erase_alerts, sender=self.get_model("Job"))
        signals.job_created.connect(change_notifier.on_change)
        signals.job_progressed.connect(change_notifier.on_progress)
        signals.job_status_changed.connect(change_notifier.on_change)
        signals.job_status_changed.connect(on_status_changed)


def _check_events_package() -> None:
    """Raise ImproperlyConfigured if another package named `events` precedes ours on sys.path."""
    spec = find_spec("events")
    found = [] if spec is None else list(spec.submodule_search_locations or [str(spec.origin)])
    if _EVENTS_DIRECTORY not in [Path(each).absolute() for each in found]:
        raise ImproperlyConfigured(
            f"The app `jobs` of django-job-events requires the package {_EVENTS_DIRECTORY}, but"
            f" `import events` finds {', '.join(found) or 'nothing'}. Move that package, for"
            " example to `myproject.events`."
        )
