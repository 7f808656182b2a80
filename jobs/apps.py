"""The Django app of jobs."""

from django.apps import AppConfig
from django.core.checks import register
from django.utils.translation import gettext_lazy as _

from jobs.checks import check_settings


class JobsConfig(AppConfig):
    """`jobs` in INSTALLED_APPS."""

    name = "jobs"
    verbose_name = _("Jobs")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks."""
        register(check_settings)
