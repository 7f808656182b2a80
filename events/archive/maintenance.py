"""Maintenance of archived streams: trimming, expiry, and repair of streams that were rewound."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from time import monotonic
from typing import Any, Final

from events.archive import reader, store
from events.archive.losses import record_breaks, record_missing, skip_trimmed, trimmed_id
from events.archive.projections import projections
from events.archive.repair import repair_stream
from events.archive.store import StreamState
from events.codec import text_of
from events.conf import event_settings
from events.exceptions import EventsError, RedisUnavailable
from events.streams import commands, scripts
from events.streams.clients import get_redis, send_command, send_pipeline
from events.streams.retry import raised
from events.types import Cursor

logger = logging.getLogger(__name__)

_MAX_PIPELINE_STREAMS: Final = 200
_COMPLETION_CHECK_SECONDS: Final = 5.0
_PAUSE_FACTOR: Final = 20
_MIN_PAUSE_SECONDS: Final = 1.0


class Throttle:
    """Limits an expensive operation to a twentieth of the time, and to once a second.

    Usage: `if throttle.due: with throttle: …`.
    """

    def __init__(self) -> None:
        self._started_at = self._next_at = 0.0

    @property
    def due(self) -> bool:
        return monotonic() >= self._next_at

    def __enter__(self) -> None:
        self._started_at = monotonic()

    def __exit__(self, *_error: object) -> None:
        now = monotonic()
        self._next_at = now + max((now - self._started_at) * _PAUSE_FACTOR, _MIN_PAUSE_SECONDS)


def maintain(
    streams: Sequence[StreamState], *, is_under_pressure: bool = False
) -> list[StreamState]:
    """Trim, expire and repair streams, and record losses; return those that no longer exist.

    If Redis rejects a command for one stream, the others are still trimmed. Under pressure, streams
    keep nothing that is archived.
    """
    tail = 0 if is_under_pressure else event_settings.STREAM_TAIL
    missing: list[StreamState] = []
    archived: list[StreamState] = []
    remaining = iter(streams)
    while group := list(islice(remaining, _MAX_PIPELINE_STREAMS)):
        record_breaks(group)
        for stream, info, fields in _inspect(group):
            if (trimmed := trimmed_id(fields)) > stream.position:
                with _rejections_logged(stream):
                    skip_trimmed(stream, trimmed)
            if isinstance(info, EventsError):
                if commands.NO_STREAM in str(info):
                    missing.append(stream)
                continue
            with _rejections_logged(stream):
                if _maintain_stream(stream, commands.fields_of_info(info), raised(fields), tail):
                    archived.append(stream)
    _expire(archived, 0.0 if is_under_pressure else event_settings.STREAM_TTL)
    send_pipeline(get_redis(), [scripts.BURY.call(stream.keys, ()) for stream in missing])
    return missing


@contextmanager
def _rejections_logged(stream: StreamState) -> Iterator[None]:
    try:
        yield
    except RedisUnavailable:
        raise
    except EventsError as error:
        logger.warning("stream_maintenance_failed", exc_info=error, extra={"job_id": stream.job_id})


def _inspect(group: Sequence[StreamState]) -> Iterator[tuple[StreamState, Any, Any]]:
    """Query XINFO STREAM and `state_fields` of each stream, in one round trip."""
    infos = [commands.info(stream.keys[0]) for stream in group]
    fields = [commands.state_fields(stream.keys) for stream in group]
    replies = send_pipeline(get_redis(), [*infos, *fields])
    return zip(group, replies[: len(group)], replies[len(group) :], strict=True)


def _maintain_stream(
    stream: StreamState, info: dict[str, Any], fields: Sequence[Any], tail: int
) -> bool:
    """Repair or trim a stream; return whether it is archived to its end."""
    rewound_at, missing, _ = (text_of(field or b"") for field in fields)
    if missing:
        record_missing(stream, [Cursor.parse(each) for each in missing.split()])
    last, length = Cursor.parse(text_of(info["last-generated-id"])), int(info["length"])
    if rewound_at or last < stream.position:
        repair_stream(stream, last, rewound_at)
        return False
    if tail == 0:
        if length and Cursor.parse(text_of(info["first-entry"][0])) <= stream.position:
            send_command(get_redis(), commands.trim(stream.keys, stream.position, inclusive=True))
    elif length > tail + max(tail // 2, 100):
        _trim(stream, tail)
    return last == stream.position


def _trim(stream: StreamState, tail: int) -> None:
    """Keep the latest `tail` entries: reconnecting subscribers read them without the database."""
    ids = reader.latest_ids(stream.log_id, stream.position)
    # Retention may have left fewer events in the archive.
    up_to = ids[tail : tail + 1].first() or ids.last()
    if up_to is not None:
        send_command(get_redis(), commands.trim(stream.keys, up_to))


def _expire(streams: Sequence[StreamState], ttl: float) -> None:
    """Set the time to live of streams whose jobs are over, in seconds."""
    now = monotonic()
    due = {s.job_id: s for s in streams if not s.expiring and s.completion_check_at <= now}
    for stream in due.values():
        stream.completion_check_at = now + _COMPLETION_CHECK_SECONDS
    for projection in projections if due else ():
        completed = [due[job_id] for job_id in projection.completed_jobs(list(due))]
        # Before Redis may remove them: that is not a loss.
        store.release({stream.log_id: stream.position for stream in completed})
        for stream in completed:
            command = commands.expire(stream.keys, stream.position, int(ttl * 1000))
            with _rejections_logged(stream):
                send_command(get_redis(), command)
                stream.expiring = True
