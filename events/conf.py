"""The settings of events/: the keys of `JOB_EVENTS` that this app reads, with their defaults."""

import os
from typing import Any, Final, TypeVar

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from events.codec import MAX_EVENT_BYTES

SETTING: Final = "JOB_EVENTS"
DEFAULT_PREFIX: Final = "job_events:"

T = TypeVar("T")


class EventSettings:
    """Reads `settings.JOB_EVENTS` on each access, so that `override_settings` works.

    A publisher may run where there is no Django project: then the defaults hold.
    """

    @property
    def REDIS_URL(self) -> str:
        """Where Redis is; by default the environment's `REDIS_URL`, or the usual local port."""
        return self._get("REDIS_URL", os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0"))

    @property
    def REDIS_TIMEOUT(self) -> float:
        """Seconds after which an unanswered command is given up."""
        return self._get("REDIS_TIMEOUT", 10.0)

    @property
    def STREAM_PREFIX(self) -> str:
        """What stands before the job_id in the key of a job's stream."""
        return self._get("STREAM_PREFIX", DEFAULT_PREFIX)

    @property
    def MAX_EVENT_BYTES(self) -> int:
        """The largest event, in bytes of JSON."""
        return self._get("MAX_EVENT_BYTES", MAX_EVENT_BYTES)

    @property
    def STREAM_TAIL(self) -> int:
        """How many of a stream's latest events stay in Redis when they are archived."""
        return self._get("STREAM_TAIL", 1000)

    @property
    def STREAM_TTL(self) -> float:
        """Seconds that the stream of a finished job stays in Redis when it is archived."""
        return self._get("STREAM_TTL", 3600.0)

    @property
    def PAGE_LIMIT(self) -> int:
        """The most events on one page of history."""
        return self._get("PAGE_LIMIT", 1000)

    @property
    def KEEP_ALIVE(self) -> float:
        """Seconds of silence after which a live connection is sent a sign of life."""
        return self._get("KEEP_ALIVE", 15.0)

    @property
    def SEND_TIMEOUT(self) -> float:
        """Seconds after which a live viewer who takes nothing is closed."""
        return self._get("SEND_TIMEOUT", 30.0)

    def _get(self, name: str, default: T) -> T:
        value: T = configured().get(name, default)
        return value


def configured() -> dict[str, Any]:
    """The project's `JOB_EVENTS`, or nothing."""
    try:
        value = getattr(settings, SETTING, None)
    except ImproperlyConfigured:
        return {}
    return value if isinstance(value, dict) else {}


def raw_setting() -> object:
    """`JOB_EVENTS` as the project wrote it, for the system checks."""
    return getattr(settings, SETTING, {})


KEYS: Final = frozenset(
    name for name, value in vars(EventSettings).items() if isinstance(value, property)
)
event_settings: Final = EventSettings()
