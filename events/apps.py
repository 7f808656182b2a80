"""The Django app of the log; it has this process's Redis connections, and knows whose logs are."""

from typing import Any

from django.apps import AppConfig
from django.core.checks import Tags, register

from events.checks import check_settings
from events.circuit_breaker import CircuitBreaker
from events.streams.clients import Connections


class EventsConfig(AppConfig):
    """`events` in INSTALLED_APPS."""

    name = "events"
    label = "job_events"
    verbose_name = "Job events"
    default_auto_field = "django.db.models.BigAutoField"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.connections = Connections()
        self.rest = CircuitBreaker()

    def ready(self) -> None:
        """Register the system checks."""
        from events.database_checks import check_processing  # noqa: PLC0415 - models exist now

        register(check_settings)
        register(check_processing, Tags.database)
