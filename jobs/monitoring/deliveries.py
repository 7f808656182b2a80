"""Deliveries of alert messages that fail, for `manage.py doctor` and the monitor."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from django.db.models import Q

from events.database import database_now
from events.error_text import ErrorText
from jobs.models import AlertDelivery

REMEDY: Final = ErrorText(
    "Correct ALERT_CHANNELS or the receiver, and run `manage.py send_test_alert CHANNEL`."
)
_MAX_AGE: Final = timedelta(days=1)
_MAX_ROWS: Final = 1000


@dataclass(frozen=True, slots=True)
class DeliveryFailures:
    """Deliveries that were given up within a day, and those that are retried.

    `channels` are the channels of both; `error` is that of the newest.
    """

    given_up: int = 0
    retried: int = 0
    channels: tuple[str, ...] = ()
    error: str = ""

    @property
    def summary(self) -> str:
        return ErrorText(
            "%(given_up)d given up within a day, %(retried)d retried; channels: %(channels)s."
            " The newest: %(error)s",
            given_up=self.given_up,
            retried=self.retried,
            channels=", ".join(self.channels),
            error=self.error,
        )


def delivery_failures() -> DeliveryFailures:
    """Query the newest 1,000 deliveries that fail. Raises django.db.Error."""
    is_recent = Q(next_at=None, message__created_at__gte=database_now() - _MAX_AGE)
    is_retried = Q(next_at__isnull=False, attempts__gt=1)
    failed = AlertDelivery.objects.filter(is_recent | is_retried, delivered_at=None)
    rows = list(failed.order_by("-pk").values_list("next_at", "channel", "error")[:_MAX_ROWS])
    if not rows:
        return DeliveryFailures()
    given_up = sum(next_at is None for next_at, _channel, _error in rows)
    channels = tuple(sorted({channel for _next_at, channel, _error in rows}))
    return DeliveryFailures(given_up, len(rows) - given_up, channels, rows[0][2])
