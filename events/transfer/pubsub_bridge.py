"""Bridge from Pub/Sub: appends to the logs what publishers send to `job:{job_id}:events`.

Messages have no identity. Any number of bridges may run: all of them receive the same messages
between the same markers, number them alike, and append each with its number, so that the first one
appends it. A subscription begins with the first marker that it receives. What was sent after a
marker is appended once all bridges have appended what was sent before.
"""

import logging
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from time import monotonic, sleep
from typing import Any, Final

import orjson

from events.codec import text_of
from events.exceptions import (
    EventsError,
    InvalidEvent,
    OutOfOrderSequence,
    RedisNotWritable,
    RedisOutOfMemory,
    RedisUnavailable,
)
from events.log_format import log_failure
from events.producer import publish_sequenced
from events.streams.clients import get_redis
from events.streams.pubsub import ChannelMessage, ChannelSubscription
from events.types import UNKNOWN

logger = logging.getLogger(__name__)

# Events of a numbering, so that the numbers of jobs do not fill the memory.
MAX_MARKER_JOBS: Final = 50_000
POLL_SECONDS: Final = 0.5
RETRY_SECONDS: Final = 1.0
END_TIMEOUT_SECONDS: Final = 5.0
MARKER_TIMEOUT_SECONDS: Final = 5.0
MARKER_POLL_SECONDS: Final = 0.01
STATUS_SECONDS: Final = 60.0
# Redis accepts the append later.
_TEMPORARY: Final = (RedisUnavailable, RedisNotWritable, RedisOutOfMemory)


def event_of(data: bytes | str) -> dict[str, Any] | None:
    """Return the event of a message; None for one that was mirrored, which is in the log."""
    try:
        message = orjson.loads(data)
    except orjson.JSONDecodeError:
        return unreadable(data)
    if not isinstance(message, dict) or "event" not in message:
        return unreadable(data)
    if "event_id" in message:
        return None
    fields = message.get("data")
    event = fields if isinstance(fields, dict) else {"data": fields}
    own = {"event_type": message["event"], "timestamp": message.get("timestamp")}
    return {**event, **{name: value for name, value in own.items() if value is not None}}


def unreadable(data: bytes | str) -> dict[str, Any]:
    """Return the event for a message that is not one: like readers, its text."""
    return {"event_type": UNKNOWN, "raw": text_of(data)}


class PubSubBridge:
    """Receives messages until `should_stop`, and appends them in their order."""

    def __init__(self, should_stop: Callable[[], bool]) -> None:
        self._should_stop = should_stop
        self._marker = ""
        self._numbers = Counter[str]()
        self._counts = Counter[str]()
        self._logged_at = monotonic()

    def run(self) -> None:
        """Bridge until `should_stop`; subscribe again if the connection is lost."""
        while not self._should_stop():
            self._marker = ""
            try:
                with closing(ChannelSubscription(get_redis())) as subscription:
                    self._follow(subscription)
            except EventsError as error:
                # Pub/Sub keeps nothing: what is published until the next marker is lost.
                log_failure(logger, "bridge_disconnected", error)
                sleep(RETRY_SECONDS)
        self._log_status()

    def _follow(self, subscription: ChannelSubscription) -> None:
        while not self._should_stop():
            if message := subscription.receive(POLL_SECONDS):
                self._take(message, subscription)
            if monotonic() > self._logged_at + STATUS_SECONDS:
                self._log_status()
        subscription.end()
        deadline = monotonic() + END_TIMEOUT_SECONDS
        while subscription.is_open and monotonic() < deadline:
            if message := subscription.receive(POLL_SECONDS):
                self._take(message, subscription)

    def _log_status(self) -> None:
        self._logged_at = monotonic()
        names = ("bridged", "mirrored", "refused")
        logger.info("bridge_status", extra={name: self._counts[name] for name in names})

    def _take(self, message: ChannelMessage, subscription: ChannelSubscription) -> None:
        if message.job_id is None:
            if message.data and not self._marker:
                logger.info("bridge_listening")
            self._marker = text_of(message.data)
            self._numbers.clear()
            if self._marker:
                self._await_others(subscription)
        elif self._marker:
            event = event_of(message.data)
            if event is None:
                self._counts["mirrored"] += 1
            else:
                self._append(message.job_id, event, message.data)
            if len(self._numbers) > MAX_MARKER_JOBS:
                subscription.mark()

    def _await_others(self, subscription: ChannelSubscription) -> None:
        """Wait until every bridge has appended what was sent before the marker, or is dead."""
        deadline = monotonic() + MARKER_TIMEOUT_SECONDS
        subscription.confirm(self._marker)
        while not subscription.is_confirmed(self._marker):
            if monotonic() > deadline:
                return
            sleep(MARKER_POLL_SECONDS)

    def _append(self, job_id: str, event: dict[str, Any], data: bytes) -> None:
        """Append an event with the next number of its job, which every bridge gives it."""
        number = self._numbers[job_id] + 1
        try:
            try:
                self._publish(job_id, event, number)
            except InvalidEvent:
                self._publish(job_id, unreadable(data), number)
        except EventsError as error:
            self._counts["refused"] += 1
            log_failure(logger, "bridge_event_refused", error, job_id=job_id)
            if isinstance(error, InvalidEvent):
                return  # no bridge sends it
        else:
            self._counts["bridged"] += 1
        self._numbers[job_id] = number

    def _publish(self, job_id: str, event: dict[str, Any], number: int) -> None:
        """Append an event unless another bridge did; wait while Redis does not accept it."""
        producer, sequence = ["bridge_pubsub", self._marker], number
        while True:
            try:
                publish_sequenced(
                    job_id, [event], producer=producer, sequence=sequence, mirror=False
                )
            except OutOfOrderSequence as error:
                if error.expected > sequence:
                    return
                # Redis refused or lost earlier ones. Every bridge gives it this name.
                producer, sequence = [*producer, str(number)], 1
            except _TEMPORARY as error:
                if self._should_stop():
                    raise
                log_failure(logger, "bridge_append_deferred", error, job_id=job_id)
                sleep(RETRY_SECONDS)
            else:
                return
