"""Redis Pub/Sub: the channels `job:{job_id}:events` of the first callback handler."""

from collections.abc import Iterator
from contextlib import contextmanager
from secrets import token_urlsafe
from typing import Any, Final, NamedTuple

from events.codec import text_of
from events.conf import event_settings
from events.streams.keys import StreamKeys
from events.streams.retry import CLIENT_ERRORS, translated

_PREFIX: Final = "job:"
_SUFFIX: Final = ":events"
_MARKER_SECONDS: Final = 60
_PATTERN: Final = f"{_PREFIX}*{_SUFFIX}"


def mirror_channel(job_id: str) -> str:
    """Return the channel that the events of a job are mirrored to; empty without MIRROR_PUBSUB."""
    return f"{_PREFIX}{job_id}{_SUFFIX}" if event_settings.MIRROR_PUBSUB else ""


@contextmanager
def _translated(command: str) -> Iterator[None]:
    try:
        yield
    except CLIENT_ERRORS as error:
        raise translated(error, (command,)) from error


class ChannelMessage(NamedTuple):
    """A message of a job's channel; without a job_id, a marker, or empty for a new subscription."""

    job_id: str | None
    data: bytes = b""


class ChannelSubscription:
    """A subscription to the channels of all jobs, and to markers, which divide their messages.

    Redis delivers messages and markers in one order to all subscriptions of a server. `client` is a
    sync client. Every method raises EventsError.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._pubsub: Any = self._client.pubsub()
        self._markers = StreamKeys(event_settings.STREAM_PREFIX).markers
        self.is_open = True
        with _translated("SUBSCRIBE"):
            # A client of a cluster subscribes at the node of the first channel's slot, the same one
            # as other clients. It finds the present master for other commands only.
            self._client.exists(self._markers)
            # First: whatever subscription has messages has the markers between them.
            self._pubsub.subscribe(self._markers)
            self._pubsub.psubscribe(_PATTERN)

    def receive(self, seconds: float) -> ChannelMessage | None:
        """Return the next message; None if there is none for so long."""
        with _translated("SUBSCRIBE"):
            reply = self._pubsub.get_message(timeout=seconds)
        kind, data = (reply["type"], reply["data"]) if reply else ("", b"")
        if kind == "pmessage":
            job_id = text_of(reply["channel"]).removeprefix(_PREFIX).removesuffix(_SUFFIX)
            return ChannelMessage(job_id, data)
        if kind == "message":
            return ChannelMessage(None, data)
        if kind == "psubscribe":  # redis-py repeats it after a lost connection
            self.mark()
            return ChannelMessage(None)
        self.is_open = self.is_open and kind != "punsubscribe"
        return None

    def mark(self) -> None:
        """Send a marker to all subscriptions; store how many receive it."""
        marker = token_urlsafe(9)
        with _translated("PUBLISH"):
            self._store(marker, "receivers", self._client.publish(self._markers, marker))

    def confirm(self, marker: str) -> None:
        """Count this subscription as one that has handled everything before a marker."""
        with _translated("HINCRBY"):
            self._store(marker, "confirmed", 1)

    def is_confirmed(self, marker: str) -> bool:
        """Return whether all subscriptions that received a marker have confirmed it."""
        with _translated("HMGET"):
            counts = self._client.hmget(self._key(marker), "receivers", "confirmed")
        return None not in counts and int(counts[0]) <= int(counts[1])

    def _store(self, marker: str, field: str, count: int) -> None:
        key = self._key(marker)
        with self._client.pipeline() as pipeline:
            pipeline.hincrby(key, field, count).expire(key, _MARKER_SECONDS).execute()

    def _key(self, marker: str) -> str:
        return f"{self._markers}:{marker}"

    def end(self) -> None:
        """Unsubscribe; `receive` returns what Redis sent before, until `is_open` is False."""
        with _translated("PUNSUBSCRIBE"):
            self._pubsub.punsubscribe()

    def close(self) -> None:
        self._pubsub.close()
