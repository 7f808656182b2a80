"""The Django app of the log."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from django.apps import AppConfig
from django.core.checks import Tags, register
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _

from events.conf import SETTING, event_settings, is_in_installed_apps

_JOBS_DIRECTORY: Final = Path(__file__).absolute().parents[1] / "jobs"


class EventsConfig(AppConfig):
    """`events` in INSTALLED_APPS."""

    name = "events"
    label = "job_events"
    verbose_name = _("Job events")
    default_auto_field = "django.db.models.BigAutoField"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if is_in_installed_apps("jobs") and not event_settings.LOG_ONLY:
            _check_jobs_package()

    def ready(self) -> None:
        from events import checks  # noqa: PLC0415 - models exist now

        register(checks.check_settings)
        register(checks.check_database)
        register(checks.check_processing, Tags.database)
        register(checks.check_sqlite, Tags.database)
        register(checks.check_redis, checks.REDIS_TAG, deploy=True)


def _check_jobs_package() -> None:
    """Raise ImproperlyConfigured if `jobs` in INSTALLED_APPS is a package of the project."""
    spec = find_spec("jobs")
    found = [] if spec is None else list(spec.submodule_search_locations or [str(spec.origin)])
    if _JOBS_DIRECTORY not in [Path(each).absolute() for each in found]:
        raise ImproperlyConfigured(
            f"`jobs` in INSTALLED_APPS is {', '.join(found) or 'not found'}, not the package"
            f" {_JOBS_DIRECTORY} of django-job-events. Move the first, for example to"
            f" `myproject.jobs`. If the project uses `events` without our `jobs`, set"
            f" {SETTING}['LOG_ONLY'] = True."
        )
