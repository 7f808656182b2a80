"""Reading a job's log up to now: the archive and the stream as one.

The archive has everything up to its position, the stream everything after it, and more. So the
stream is read first: what is trimmed from it later is in the archive by then. Of the stream
counts only what is after the position, of the archive only what is up to it.
"""

from bisect import bisect_right
from collections.abc import Collection, Generator, Mapping
from dataclasses import dataclass
from operator import attrgetter
from time import monotonic
from typing import Any, Final

from channels.db import database_sync_to_async

from events.archive.filters import EventFilter
from events.archive.store import ArchivedLog, archived_log, archived_page
from events.conf import event_settings
from events.exceptions import CursorExpired
from events.streams import commands
from events.streams.clients import arun, block_ms, get_async_redis, get_redis, run
from events.streams.keys import StreamKeys
from events.streams.scripts import Command
from events.types import START, Cursor, Event, Order

_CHUNK: Final = 1000


def read_events(  # noqa: PLR0913 - all are keywords
    job_id: str,
    *,
    after: Cursor | str | None = None,
    before: Cursor | str | None = None,
    limit: int | None = None,
    order: Order = "asc",
    event_types: Collection[str] | None = None,
    search: str = "",
    where: Mapping[str, str] | None = None,
) -> list[Event]:
    """Read up to `limit` events (`PAGE_LIMIT` by default) between two cursors, both exclusive.

    `order` is by id: "asc" from the oldest, "desc" from the newest. With `event_types`, events of
    these types only; with `search`, those that have all of these words (`word*`: the start of one)
    in their texts; with `where`, those that have this value, as text, at each of these paths
    (events.archive.filters). Fewer than `limit` means that there are no more. Costs one Redis
    command and one or two queries.

    Raises InvalidJobId, InvalidCursor, ValueError for `limit`, `order`, `event_types`, `search` or
    `where`, NotAStream, RedisUnavailable, and CursorExpired if events after the cursor `after`
    are not
    kept any more.
    """
    conditions = EventFilter.of(event_types, search, where)
    reading = _Reading.of(job_id, after, before, limit, order, conditions)
    steps, reply = reading.steps(), None
    while True:
        try:
            wanted = steps.send(reply)
        except StopIteration as end:
            events: list[Event] = end.value
            return events
        reply = wanted.read() if isinstance(wanted, _Archived) else run(get_redis(), wanted)


def wait_for_events(job_id: str, *, after: Cursor, seconds: float) -> bool:
    """Wait until something is appended after a cursor; False if nothing was for so many seconds.

    Keeps the thread and a connection meanwhile: `events.live.await_events` keeps neither.
    Raises InvalidJobId, NotAStream, RedisUnavailable.
    """
    client, deadline = get_redis(), monotonic() + seconds
    key = StreamKeys(event_settings.STREAM_PREFIX).stream(job_id)
    while (left := int((deadline - monotonic()) * 1000)) > 0:
        if run(client, commands.waiting_tails({key: after}, 1, min(left, block_ms(client)))):
            return True
    return False


def has_log(job_id: str) -> bool:
    """Whether there is, or was, anything in a job's log, or is to be: in either end or the outbox.

    Raises InvalidJobId, RedisUnavailable.
    """
    key = StreamKeys(event_settings.STREAM_PREFIX).stream(job_id)
    return bool(run(get_redis(), commands.exists(key))) or archived_log(job_id) is not None


def archive_position(job_id: str) -> str | None:
    """The id up to which the archive has the log; None if it has nothing of it yet."""
    log = archived_log(job_id)
    return None if log is None or log.position == START else str(log.position)


async def aread_events(  # noqa: PLR0913 - all are keywords
    job_id: str,
    *,
    after: Cursor | str | None = None,
    before: Cursor | str | None = None,
    limit: int | None = None,
    order: Order = "asc",
    event_types: Collection[str] | None = None,
    search: str = "",
    where: Mapping[str, str] | None = None,
) -> list[Event]:
    """The async twin of `read_events`; the database is asked in a thread."""
    conditions = EventFilter.of(event_types, search, where)
    reading = _Reading.of(job_id, after, before, limit, order, conditions)
    steps, reply = reading.steps(), None
    while True:
        try:
            wanted = steps.send(reply)
        except StopIteration as end:
            events: list[Event] = end.value
            return events
        if isinstance(wanted, _Archived):
            reply = await database_sync_to_async(wanted.read)()
        else:
            reply = await arun(get_async_redis(), wanted)


@dataclass(frozen=True, slots=True)
class _Reading:
    """A page that somebody asks for; the steps that make it do no I/O, and wait for replies."""

    job_id: str
    key: str
    after: Cursor | None
    before: Cursor | None
    limit: int
    order: Order
    wanted: EventFilter

    @classmethod
    def of(
        cls,
        job_id: str,
        after: Cursor | str | None,
        before: Cursor | str | None,
        limit: int | None,
        order: Order,
        wanted: EventFilter,
    ) -> "_Reading":
        if order not in ("asc", "desc"):
            raise ValueError(f"order is 'asc' or 'desc'. Given: {order!r}.")
        if limit is not None and limit < 1:
            raise ValueError(f"limit is at least 1. Given: {limit}.")
        return cls(
            job_id,
            StreamKeys(event_settings.STREAM_PREFIX).stream(job_id),
            None if after is None else Cursor.parse(after),
            None if before is None else Cursor.parse(before),
            limit or event_settings.PAGE_LIMIT,
            order,
            wanted,
        )

    def steps(self) -> Generator["Command | _Archived", Any, list[Event]]:
        """Ask for commands of Redis and pages of the archive; return the page."""
        events: list[Event] = []
        after = self.after
        while True:
            wanted = self.limit - len(events)
            stream = yield from self._stream(after, wanted)
            log, archived = yield _Archived(self, after, wanted)
            if log is not None and after is not None:
                _refuse_if_cut(log, after)
            position = log.position if log is not None else START
            if self.order == "desc":
                stream.reverse()
            later = stream[bisect_right(stream, position, key=attrgetter("cursor")) :]
            if self.order == "desc":
                return [*reversed(later), *archived][:wanted]
            events += [*archived, *later][:wanted]
            if len(events) == self.limit or len(stream) < wanted:
                return events
            # The archiver came past what was read of the stream: there is more after it.
            after = events[-1].cursor if later else position

    def _stream(
        self, after: Cursor | None, wanted: int
    ) -> Generator["Command | _Archived", Any, list[Event]]:
        """The first, or last, `wanted` events of the stream after a cursor."""
        before, found, ascending = self.before, list[Event](), self.order == "asc"
        limit = _CHUNK if self.wanted else wanted
        while True:
            command = commands.page(
                self.key, after=after, before=before, limit=limit, order=self.order
            )
            entries = (yield command) if command else []
            events = commands.entries_of_page(self.job_id, entries)
            found += [event for event in events if self.wanted.matches(event)]
            if len(events) < limit or len(found) >= wanted:
                return found[:wanted]
            after, before = (events[-1].cursor, before) if ascending else (after, events[-1].cursor)


def _refuse_if_cut(log: ArchivedLog, after: Cursor) -> None:
    """A gap is told; only who reads from the start takes what there is."""
    begin = log.truncated_before.previous()
    if begin is not None and START < after < begin:
        raise CursorExpired(str(log.truncated_before), str(begin))


@dataclass(frozen=True, slots=True)
class _Archived:
    """What is wanted of the archive."""

    reading: _Reading
    after: Cursor | None
    limit: int

    def read(self) -> tuple[ArchivedLog | None, list[Event]]:
        """The log, if the archive has it, and the events that are wanted of it."""
        log = archived_log(self.reading.job_id)
        if log is None or (self.after is not None and self.after >= log.position):
            return log, []
        return archived_page(
            log,
            self.reading.job_id,
            after=self.after,
            before=self.reading.before,
            limit=self.limit,
            order=self.reading.order,
            wanted=self.reading.wanted,
        )
