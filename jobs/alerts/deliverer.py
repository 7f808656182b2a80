"""Deliverer: sends alert messages to their channels, at least once, with retries over a day.

Before an attempt, a process claims the delivery: it changes `next_at` to a time after the attempt,
unless another process was faster. If the process is killed, another one repeats the attempt at that
time.
"""

import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import uniform
from time import monotonic
from typing import Any, Final

import django.db
from django.db import connections
from django.db.models import F, QuerySet

from events.database import database_now, now_expression, release_connections
from events.log_format import log_failure
from jobs.alerts.channels import describe_error, open_channel
from jobs.exceptions import ReceiverGone
from jobs.models import AlertDelivery

logger = logging.getLogger(__name__)

# Before each retry; after the last one the delivery is given up.
RETRY_SECONDS: Final = (5, 30, 120, 600, 1800, 3600, 7200, 14400, 28800, 43200)
MAX_ATTEMPTS: Final = len(RETRY_SECONDS) + 1
# Longer than the timeouts of the channels. An attempt that takes longer is repeated.
ATTEMPT_SECONDS: Final = 120.0
_INTERVAL_SECONDS: Final = 1.0
_JITTER: Final = 0.2
# A channel without timeouts, for example a receiver of the signal, may block threads.
_MAX_THREADS: Final = 5
_MAX_CANDIDATES: Final = 10
_UNFINISHED: Final = "The attempt has not ended."


@dataclass(frozen=True, slots=True)
class Claim:
    """A delivery that this process attempts; `until` is the `next_at` of its claim."""

    delivery: AlertDelivery
    attempt: int
    until: datetime | None


class Deliverer:
    """Step of `process_events`: starts a thread for each channel that has due deliveries.

    Each channel has its own thread, so that one that is slow delays no other, and never the loop.
    Several processes may run a deliverer. With `single_pass` (`process_events --once`), it waits
    for the threads.
    """

    def __init__(self, *, single_pass: bool = False) -> None:
        self._single_pass = single_pass
        self._ran_at = float("-inf")
        self._threads: dict[str, list[_ChannelThread]] = {}

    def step(self) -> int:
        """Start threads; return how many. Raises django.db.Error."""
        if monotonic() < self._ran_at + _INTERVAL_SECONDS and not self._single_pass:
            return 0
        due = _due().values_list("channel", flat=True).order_by("channel").distinct()
        started = [thread for channel in due for thread in self._start(channel)]
        if self._single_pass:
            _join(started)
        self._ran_at = monotonic()
        return len(started)

    def _start(self, channel: str) -> "list[_ChannelThread]":
        """Start a thread, unless one works; one that exceeds the time of an attempt is replaced."""
        threads = [each for each in self._threads.get(channel, ()) if each.is_alive()]
        self._threads[channel] = threads
        if len(threads) >= _MAX_THREADS or not all(each.is_late for each in threads):
            return []
        thread = _ChannelThread(channel)
        threads.append(thread)
        thread.start()
        return [thread]


class _ChannelThread(threading.Thread):
    """Makes the due deliveries of a channel, then ends."""

    def __init__(self, channel: str) -> None:
        super().__init__(name=f"deliver-{channel}", daemon=True)
        self._channel = channel
        self._attempt_at = monotonic()

    @property
    def is_late(self) -> bool:
        return monotonic() > self._attempt_at + ATTEMPT_SECONDS

    def run(self) -> None:
        try:
            while not self.is_late and (claim := claim_delivery(self._channel)):
                self._attempt_at = monotonic()
                deliver(claim)
        except django.db.Error as error:
            log_failure(logger, "alert_delivery_interrupted", error, channel=self._channel)
        finally:
            connections.close_all()


def _join(threads: Iterable[threading.Thread]) -> None:
    """Wait for threads, but not for those that exceed the time of an attempt."""
    release_connections()  # the threads need those of a pool
    until = monotonic() + ATTEMPT_SECONDS
    for thread in threads:
        thread.join(max(until - monotonic(), 0.0))


def claim_delivery(channel: str) -> Claim | None:
    """Claim the delivery of a channel that is due for the longest time; None if there is none."""
    due = _due().filter(channel=channel).select_related("message").order_by("next_at", "pk")
    for delivery in due[:_MAX_CANDIDATES]:
        until = database_now() + timedelta(seconds=ATTEMPT_SECONDS)
        if delivery.attempts >= MAX_ATTEMPTS:  # the last attempt was interrupted
            _give_up(Claim(delivery, delivery.attempts, delivery.next_at), delivery.error)
            continue
        changes = {"next_at": until, "attempts": F("attempts") + 1, "error": _UNFINISHED}
        if _unchanged(delivery.pk, delivery.next_at).update(**changes):
            return Claim(delivery, delivery.attempts + 1, until)
    return None


def deliver(claim: Claim) -> None:
    """Make one attempt and record its result. Raises django.db.Error."""
    delivery, secrets = claim.delivery, list[str]()
    release_connections()  # other threads need those of a pool during a slow attempt
    try:
        channel = open_channel(delivery.channel)
        secrets += channel.secrets()
        channel.send(delivery.message)
    except ReceiverGone as error:
        _give_up(claim, describe_error(error, secrets))
    except Exception as error:  # noqa: BLE001 - of receivers, backends and services
        _retry(claim, describe_error(error, secrets))
    else:
        rows = AlertDelivery.objects.filter(pk=delivery.pk, delivered_at=None)
        rows.update(delivered_at=database_now(), next_at=None, error="")
        logger.info("alert_delivered", extra=_log_fields(claim))


def _retry(claim: Claim, error: str) -> None:
    if claim.attempt >= MAX_ATTEMPTS:
        _give_up(claim, error)
        return
    seconds = RETRY_SECONDS[claim.attempt - 1] * uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - no secret
    next_at = database_now() + timedelta(seconds=seconds)
    if _unchanged(claim.delivery.pk, claim.until).update(next_at=next_at, error=error):
        fields = {**_log_fields(claim), "error": error, "retry_in": round(seconds)}
        logger.warning("alert_delivery_failed", extra=fields)


def _give_up(claim: Claim, error: str) -> None:
    if _unchanged(claim.delivery.pk, claim.until).update(next_at=None, error=error):
        extra = {**_log_fields(claim), "error": error}
        logger.error("alert_delivery_given_up", extra=extra)


def _due() -> "QuerySet[AlertDelivery]":
    return AlertDelivery.objects.filter(delivered_at=None, next_at__lte=now_expression())


def _unchanged(pk: int, next_at: datetime | None) -> "QuerySet[AlertDelivery]":
    """The delivery, unless another process has claimed it since, or its result is recorded."""
    return AlertDelivery.objects.filter(pk=pk, next_at=next_at)


def _log_fields(claim: Claim) -> dict[str, Any]:
    delivery = claim.delivery
    return {
        "channel": delivery.channel,
        "message_id": str(delivery.message_id),
        "rule": delivery.message.rule,
        "attempt": claim.attempt,
    }
