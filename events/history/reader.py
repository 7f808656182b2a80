"""Pages of a job's log from both tiers, archive and stream.

The archive has every event up to its position; the stream has every event after it, and possibly
earlier ones. The stream is read first: entries that are trimmed afterwards are archived by then.
Only stream entries after the position and archived events up to it are returned.
"""

from bisect import bisect_right
from collections.abc import Collection, Generator, Mapping
from functools import partial
from operator import attrgetter
from time import monotonic
from typing import Any, Final

from channels.db import database_sync_to_async

from events.archive.filters import EventFilter
from events.archive.reader import ArchivedLog, archived_log, archived_page
from events.conf import event_settings
from events.exceptions import CursorExpired, CursorLost
from events.streams import commands
from events.streams.clients import arun, block_ms, get_async_redis, get_redis, run
from events.streams.keys import StreamKeys
from events.streams.scripts import Command
from events.types import START, Cursor, Event, Order

_FILTERED_READ_EVENTS: Final = 1000


def read_events(  # noqa: PLR0913 - keyword arguments
    job_id: str,
    *,
    after: Cursor | str | None = None,
    before: Cursor | str | None = None,
    limit: int | None = None,
    order: Order = "asc",
    event_types: Collection[str] | None = None,
    search: str = "",
    where: Mapping[str, str] | None = None,
    event_filter: EventFilter | None = None,
    strict: bool = False,
) -> list[Event]:
    """Return up to `limit` events (default `PAGE_LIMIT`) between two cursors, both exclusive.

    `order` is by id: "asc" starts with the oldest event, "desc" with the newest. `event_types`,
    `search` and `where` restrict the result to events of these types, with all of these words
    (`word*` is a prefix), and with this value, as text, at each of these paths
    (see `events.archive.terms`). `event_filter` replaces these three. Fewer than `limit` events
    mean that there are no more. Costs one Redis command and one or two queries.

    Raises InvalidJobId, InvalidCursor, NotAStream, RedisUnavailable, ValueError for an invalid
    `limit`, `order`, `event_types`, `search` or `where`, and CursorExpired if retention has deleted
    events after the cursor `after`. With `strict`, which excludes conditions on events, raises
    CursorLost if the log has no event at the cursor `after`.
    """
    if event_filter is None:
        event_filter = EventFilter.of(event_types, search, where)
    query = _PageQuery(job_id, after, before, limit, order, event_filter)
    steps = query.strict_steps() if strict else query.steps()
    reply: Any = None
    while True:
        try:
            request = steps.send(reply)
        except StopIteration as end:
            events: list[Event] = end.value
            return events
        reply = request() if isinstance(request, partial) else run(get_redis(), request)


async def aread_events(  # noqa: PLR0913 - keyword arguments
    job_id: str,
    *,
    after: Cursor | str | None = None,
    before: Cursor | str | None = None,
    limit: int | None = None,
    order: Order = "asc",
    event_types: Collection[str] | None = None,
    search: str = "",
    where: Mapping[str, str] | None = None,
    event_filter: EventFilter | None = None,
    strict: bool = False,
) -> list[Event]:
    """Async variant of `read_events`; queries the database in a thread."""
    if event_filter is None:
        event_filter = EventFilter.of(event_types, search, where)
    query = _PageQuery(job_id, after, before, limit, order, event_filter)
    steps = query.strict_steps() if strict else query.steps()
    reply: Any = None
    while True:
        try:
            request = steps.send(reply)
        except StopIteration as end:
            events: list[Event] = end.value
            return events
        if isinstance(request, partial):
            reply = await database_sync_to_async(request)()
        else:
            reply = await arun(get_async_redis(), request)


def wait_for_events(job_id: str, *, after: Cursor, seconds: float) -> bool:
    """Wait until an event is appended after a cursor; return False after a timeout of `seconds`.

    Occupies the thread and a Redis connection; the async `events.live.await_events` does not.
    Raises InvalidJobId, NotAStream, RedisUnavailable.
    """
    client, deadline = get_redis(), monotonic() + seconds
    key = StreamKeys(event_settings.STREAM_PREFIX).stream(job_id)
    while (remaining_ms := int((deadline - monotonic()) * 1000)) > 0:
        block = min(remaining_ms, block_ms(client))
        if run(client, commands.xread_block({key: after}, 1, block)):
            return True
    return False


def has_log(job_id: str) -> bool:
    """Return whether a job has a log: events in the stream, the archive or the outbox.

    True as well for a log whose events were all deleted. Raises InvalidJobId, RedisUnavailable.
    """
    key = StreamKeys(event_settings.STREAM_PREFIX).stream(job_id)
    return bool(run(get_redis(), ("EXISTS", key))) or archived_log(job_id) is not None


def archive_position(job_id: str) -> str | None:
    """The id up to which a log is archived; None if nothing of it is archived yet."""
    log = archived_log(job_id)
    return None if log is None or log.position == START else str(log.position)


class _PageQuery:
    """One page of a log. Does no I/O: `steps` yields requests and receives their replies."""

    def __init__(
        self,
        job_id: str,
        after: Cursor | str | None,
        before: Cursor | str | None,
        limit: int | None,
        order: Order,
        event_filter: EventFilter,
    ) -> None:
        if order not in ("asc", "desc"):
            raise ValueError(f"order must be 'asc' or 'desc'. Given: {order!r}.")
        if limit is not None and limit < 1:
            raise ValueError(f"limit must be at least 1. Given: {limit}.")
        self.job_id, self.order, self.event_filter = job_id, order, event_filter
        self.key = StreamKeys(event_settings.STREAM_PREFIX).stream(job_id)
        self.after = None if after is None else Cursor.parse(after)
        self.before = None if before is None else Cursor.parse(before)
        self.limit = limit or event_settings.PAGE_LIMIT

    def strict_steps(self) -> "_Steps":
        """As `steps`; raise CursorLost if the log has no event at `after`."""
        after = self.after
        if after is None or after == START:
            return (yield from self.steps())
        try:
            events = yield from self._like(after.previous(), self.before, self.limit + 1, "asc")
        except CursorExpired as error:
            if Cursor.parse(error.after) != after:
                raise
            return (yield from self.steps())  # `after` is where the truncated log starts
        if events and events[0].cursor == after:
            return events[1:]
        preceding = yield from self._like(None, after, 1, "desc")
        raise CursorLost(str(preceding[0].cursor if preceding else START))

    def _like(
        self, after: Cursor | None, before: Cursor | None, limit: int, order: Order
    ) -> "_Steps":
        return _PageQuery(self.job_id, after, before, limit, order, self.event_filter).steps()

    def steps(self) -> "_Steps":
        """Yield Redis commands and functions that query the database; return the page."""
        events: list[Event] = []
        after = self.after
        while True:
            remaining = self.limit - len(events)
            stream = yield from self._read_stream(after, remaining)
            log, archived = yield partial(self.read_archive, after, remaining)
            if log is not None and after is not None:
                _raise_if_expired(log, after)
            position = log.position if log is not None else START
            if self.order == "desc":
                stream.reverse()
            later = stream[bisect_right(stream, position, key=attrgetter("cursor")) :]
            if self.order == "desc":
                return [*reversed(later), *archived][:remaining]
            events += [*archived, *later][:remaining]
            if len(events) == self.limit or len(stream) < remaining:
                return events
            # The archiver overtook the stream read: read on after what was returned.
            after = events[-1].cursor if later else position

    def _read_stream(self, after: Cursor | None, count: int) -> "_Steps":
        """The first, or last, `count` matching events of the stream after a cursor."""
        before, found, ascending = self.before, list[Event](), self.order == "asc"
        limit = _FILTERED_READ_EVENTS if self.event_filter else count
        while True:
            command = commands.xrange(
                self.key, after=after, before=before, limit=limit, order=self.order
            )
            entries = (yield command) if command else []
            events = commands.events_of_xrange(self.job_id, entries)
            found += [event for event in events if self.event_filter.matches(event)]
            if len(events) < limit or len(found) >= count:
                return found[:count]
            after, before = (events[-1].cursor, before) if ascending else (after, events[-1].cursor)

    def read_archive(
        self, after: Cursor | None, limit: int
    ) -> tuple[ArchivedLog | None, list[Event]]:
        """Query the log, None if the archive has no row of it, and its matching events."""
        log = archived_log(self.job_id)
        if log is None or (after is not None and after >= log.position):
            return log, []
        return archived_page(
            log,
            self.job_id,
            after=after,
            before=self.before,
            limit=limit,
            order=self.order,
            event_filter=self.event_filter,
        )


_Steps = Generator[Command | partial[tuple[ArchivedLog | None, list[Event]]], Any, list[Event]]


def _raise_if_expired(log: ArchivedLog, after: Cursor) -> None:
    """Raise CursorExpired if events after a cursor were deleted; a read from 0 never expires."""
    last_deleted = log.truncated_before.previous()
    if last_deleted is not None and START < after < last_deleted:
        raise CursorExpired(str(log.truncated_before), str(last_deleted))
