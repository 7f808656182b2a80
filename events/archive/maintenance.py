"""Looking after streams: trimming behind the archive, the time to live, and what Redis has lost."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from time import monotonic
from types import TracebackType
from typing import Any, Final

from events.archive import store
from events.archive.projections import projections
from events.codec import text_of
from events.conf import event_settings
from events.exceptions import EventsError, RedisUnavailable
from events.streams import commands, scripts
from events.streams.clients import ask_many, ask_once, get_redis, run
from events.streams.keys import StreamKeys
from events.types import START, Cursor

logger = logging.getLogger(__name__)

_TOGETHER: Final = 200
_PAGE: Final = 1000
# What is done now and then takes up to a twentieth of the time, and is done once a second at most.
_SHARE: Final = 20
_PAUSE: Final = 1.0
_ASK_AGAIN: Final = 5.0


class Pace:
    """When to do again what takes long: `if pace.due: with pace: …`."""

    def __init__(self) -> None:
        self._next = self._began = 0.0

    @property
    def due(self) -> bool:
        """Whether it is time."""
        return monotonic() >= self._next

    def __enter__(self) -> None:
        self._began = monotonic()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        took = monotonic() - self._began
        self._next = monotonic() + max(took * _SHARE, _PAUSE)


@dataclass(slots=True, eq=False)
class Stream:
    """A stream that is archived, and up to where it was when this archiver looked."""

    job_id: str
    log_id: int
    position: Cursor
    faulty: bool = False
    retry_at: float = 0.0
    expiring: bool = False
    ask_at: float = 0.0

    def move(self, position: Cursor) -> None:
        """It is archived up to here."""
        self.position = position
        self.faulty = self.expiring = False

    def clear_error(self) -> None:
        """It has nothing that is not archived."""
        if self.faulty:
            self.faulty = False
            store.clear_error(self.log_id)


def tend(streams: Sequence[Stream]) -> list[Stream]:
    """Look after streams; returns those that are gone.

    One that Redis will not have looked after does not keep the others from being trimmed: that
    may be what Redis, being full, waits for.
    """
    gone: list[Stream] = []
    archived: list[Stream] = []
    rest = iter(streams)
    while group := list(islice(rest, _TOGETHER)):
        for stream, info, raised in _looked_at(group):
            if isinstance(info, EventsError):
                if commands.NO_STREAM in str(info):
                    gone.append(stream)
                continue
            with _refusals_logged(stream):
                if isinstance(raised, EventsError):
                    raise raised
                if _tend(stream, commands.fields_of_info(info), raised):
                    archived.append(stream)
    _expire(archived)
    ask_many(get_redis(), [scripts.BURY.call(_keys(stream), ()) for stream in gone])
    return gone


@contextmanager
def _refusals_logged(stream: Stream) -> Iterator[None]:
    try:
        yield
    except RedisUnavailable:
        raise
    except EventsError as error:
        logger.warning("stream_not_tended", exc_info=error, extra={"job_id": stream.job_id})


def _looked_at(group: Sequence[Stream]) -> Iterator[tuple[Stream, Any, Any]]:
    pairs = [_keys(stream) for stream in group]
    infos = [commands.info(stream) for stream, _ in pairs]
    replies = ask_many(get_redis(), [*infos, *map(commands.raised, pairs)])
    return zip(group, replies[: len(group)], replies[len(group) :], strict=True)


def _tend(stream: Stream, info: dict[str, Any], raised: Any) -> bool:
    """Look after a stream; returns whether it is archived to its end."""
    last = Cursor.parse(text_of(info["last-generated-id"]))
    if raised or last < stream.position:
        _repair(stream, last, text_of(raised or b""))
        return False
    tail = event_settings.STREAM_TAIL
    if int(info["length"]) > tail + max(tail // 2, 100):
        _trim(stream, tail)
    return last == stream.position


def _trim(stream: Stream, tail: int) -> None:
    """Leave the latest events, so that viewers who come back find them without the database."""
    upto = store.id_before_last(stream.log_id, stream.position, tail)
    if upto is None:  # the archive was cut, and has fewer
        upto = store.first_id(stream.log_id)
    if upto is not None:
        ask_once(get_redis(), commands.trim(_keys(stream), upto))


def _expire(streams: Sequence[Stream]) -> None:
    """Set the time to live of streams whose jobs are over."""
    now = monotonic()
    asked = {s.job_id: s for s in streams if not s.expiring and s.ask_at <= now}
    for stream in asked.values():
        stream.ask_at = now + _ASK_AGAIN
    milliseconds = int(event_settings.STREAM_TTL * 1000)
    for owner in projections:
        for job_id in owner.completed_jobs(list(asked)) if asked else ():
            stream = asked[job_id]
            command = commands.expire(_keys(stream), stream.position, milliseconds)
            with _refusals_logged(stream):
                ask_once(get_redis(), command)
                stream.expiring = True


def _repair(stream: Stream, last: Cursor, raised: str) -> None:
    """Redis has lost the stream, or its end, and its clock may have gone back since.

    Its ids must stay above those of the archive; what was appended below them, and is not in the
    archive, is appended anew.
    """
    _, stream.position, _ = store.known_logs([stream.job_id])[stream.job_id]
    ids = list(_not_archived(stream))
    command = commands.resequence(_keys(stream), stream.position, raised, last, ids)
    moved = ask_once(get_redis(), command)
    logger.warning("stream_was_set_back", extra={"job_id": stream.job_id, "moved": moved})


def _not_archived(stream: Stream) -> Iterator[str]:
    """The ids of entries up to the position that the archive does not have."""
    after, key = START, _keys(stream)[0]
    before = stream.position.next()
    log = store.archived_log(stream.job_id)
    first = log.truncated_before if log is not None else START
    while command := commands.page(key, after=after, before=before, limit=_PAGE, order="asc"):
        events = commands.entries_of_page(stream.job_id, run(get_redis(), command))
        there = store.archived_data(stream.log_id, [event.id for event in events])
        kept = (event for event in events if event.cursor >= first)  # others were archived, and cut
        yield from (e.id for e in kept if there.get(e.id) != e.raw.decode())
        if len(events) < _PAGE:
            return
        after = events[-1].cursor


def _keys(stream: Stream) -> commands.Keys:
    return StreamKeys(event_settings.STREAM_PREFIX).pair(stream.job_id)
