"""The Django app of jobs."""

from typing import Any

from django.apps import AppConfig
from django.core.checks import register
from django.utils.translation import gettext_lazy as _

from events.execution.tracker import register_run_tracker
from events.per_loop import PerLoop
from jobs.checks import check_settings


class JobsConfig(AppConfig):
    """`jobs` in INSTALLED_APPS."""

    name = "jobs"
    label = "job_events_jobs"
    verbose_name = _("Jobs")
    default_auto_field = "django.db.models.BigAutoField"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.guards = PerLoop[Any]()
        self.news = PerLoop[Any]()
        # Whether this process has routes for our sockets; else pages do not ask for them.
        self.has_sockets = False

    def ready(self) -> None:
        """Register the system checks, and the rows that follow the logs."""
        from events.archive.projections import projections  # noqa: PLC0415 - models are loaded now
        from events.processor.steps import register_step  # noqa: PLC0415 - as above
        from jobs import signals  # noqa: PLC0415 - as above
        from jobs.execution.auto_cancel import AutoCanceller, on_status_changed  # noqa: PLC0415 - as above
        from jobs.execution.reaper import Reaper  # noqa: PLC0415 - as above
        from jobs.execution.tracker import JobRunTracker  # noqa: PLC0415 - as above
        from jobs.live.notifier import ChangeNotifier  # noqa: PLC0415 - as above
        from jobs.projection import JobProjection  # noqa: PLC0415 - as above

        register(check_settings)
        self.teller = teller = ChangeNotifier()
        signals.job_created.connect(teller.changed, dispatch_uid="jobs.live.notifier")
        signals.job_status_changed.connect(teller.changed, dispatch_uid="jobs.live.notifier")
        signals.job_progressed.connect(teller.progressed, dispatch_uid="jobs.live.notifier")
        signals.job_status_changed.connect(
            on_status_changed, dispatch_uid="jobs.execution.auto_cancel"
        )
        projections.append(JobProjection())
        register_step("auto_cancel", lambda _single_pass: AutoCanceller().step)
        register_step("reaper", lambda single_pass: Reaper(single_pass=single_pass).step)
        register_run_tracker(JobRunTracker())
