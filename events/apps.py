"""The Django app of the log; it owns this process's Redis connections."""

from typing import Any

from django.apps import AppConfig
from django.core.checks import register

from events.checks import check_settings
from events.connections import Connections


class EventsConfig(AppConfig):
    """`events` in INSTALLED_APPS."""

    name = "events"
    verbose_name = "Job events"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.connections = Connections()

    def ready(self) -> None:
        """Register the system checks."""
        register(check_settings)
