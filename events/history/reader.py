"""Pages of a job's log from both tiers, archive and stream.

The archive has every event up to its position; the stream has every event after it, and possibly
earlier ones. The stream is read first: entries that are trimmed afterwards are archived by then.
Only stream entries after the position and archived events up to it are returned.
"""

from bisect import bisect_right
from collections.abc import Collection, Generator, Mapping
from dataclasses import replace
from functools import partial
from operator import attrgetter
from time import monotonic
from typing import Any, Final

from channels.db import database_sync_to_async

from events.archive.filters import EventFilter
from events.archive.reader import ArchivedLog, PageQuery, archived_log, archived_page
from events.conf import event_settings
from events.exceptions import CursorExpired, CursorLost, LogDeleted
from events.streams import commands
from events.streams.clients import asend_command, block_ms, get_async_redis, get_redis, send_command
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

    Raises InvalidJobId, InvalidCursor, NotAStream, RedisUnavailable, LogDeleted, ValueError for an
    invalid `limit`, `order`, `event_types`, `search` or `where`, and CursorExpired if retention has
    deleted events after the cursor `after`. With `strict`, which excludes conditions on events,
    raises CursorLost if the log has no event at the cursor `after`.
    """
    if event_filter is None:
        event_filter = EventFilter.of(event_types, search, where)
    steps = _read_page(job_id, after, before, limit, order, event_filter, strict=strict)
    reply: Any = None
    while True:
        try:
            request = steps.send(reply)
        except StopIteration as end:
            events: list[Event] = end.value
            return events
        reply = request() if isinstance(request, partial) else send_command(get_redis(), request)


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
    steps = _read_page(job_id, after, before, limit, order, event_filter, strict=strict)
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
            reply = await asend_command(get_async_redis(), request)


def wait_for_events(job_id: str, *, after: Cursor, seconds: float) -> bool:
    """Wait until an event is appended after a cursor; return False after a timeout of `seconds`.

    Occupies the thread and a Redis connection; the async `events.live.await_events` does not.
    Raises InvalidJobId, NotAStream, RedisUnavailable.
    """
    client, deadline = get_redis(), monotonic() + seconds
    key = StreamKeys(event_settings.STREAM_PREFIX).stream(job_id)
    while (remaining_ms := int((deadline - monotonic()) * 1000)) > 0:
        block = min(remaining_ms, block_ms(client))
        if send_command(client, commands.xread_block({key: after}, 1, block)):
            return True
    return False


def has_log(job_id: str) -> bool:
    """Return whether a job has a log: events in the stream, the archive or the outbox.

    True as well for a log whose events were all deleted, and for a deleted log. Raises
    InvalidJobId, RedisUnavailable.
    """
    key = StreamKeys(event_settings.STREAM_PREFIX).stream(job_id)
    return bool(send_command(get_redis(), ("EXISTS", key))) or archived_log(job_id) is not None


def archive_position(job_id: str) -> str | None:
    """The id up to which a log is archived; None if nothing of it is archived yet."""
    log = archived_log(job_id)
    return None if log is None or log.position == START else str(log.position)


_Steps = Generator[Command | partial[tuple[ArchivedLog, list[Event]]], Any, list[Event]]


def _read_page(
    job_id: str,
    after: Cursor | str | None,
    before: Cursor | str | None,
    limit: int | None,
    order: Order,
    event_filter: EventFilter,
    *,
    strict: bool,
) -> _Steps:
    """Yield Redis commands and functions that query the database; return the page. Does no I/O."""
    if order not in ("asc", "desc"):
        raise ValueError(f"order must be 'asc' or 'desc'. Given: {order!r}.")
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1. Given: {limit}.")
    query = PageQuery(
        job_id,
        None if after is None else Cursor.parse(after),
        None if before is None else Cursor.parse(before),
        limit or event_settings.PAGE_LIMIT,
        order,
        event_filter,
    )
    return _read_strictly(query) if strict else _read(query)


def _read_strictly(query: PageQuery) -> _Steps:
    """As `_read`; raise CursorLost if the log has no event at `after`."""
    after = query.after
    if after is None or after == START:
        return (yield from _read(query))
    try:
        inclusive = replace(query, after=after.previous(), limit=query.limit + 1, order="asc")
        events = yield from _read(inclusive)
    except CursorExpired as error:
        if Cursor.parse(error.after) != after:
            raise
        return (yield from _read(query))  # `after` is where the truncated log starts
    if events and events[0].cursor == after:
        return events[1:]
    preceding = yield from _read(replace(query, after=None, before=after, limit=1, order="desc"))
    raise CursorLost(str(preceding[0].cursor if preceding else START))


def _read(query: PageQuery) -> _Steps:
    events, remaining = list[Event](), query
    while True:
        stream = yield from _read_stream(remaining)
        log, archived = yield partial(_read_archive, remaining)
        _check_exists(log, remaining.after)
        if query.order == "desc":
            stream.reverse()
        later = stream[bisect_right(stream, log.position, key=attrgetter("cursor")) :]
        if query.order == "desc":
            return [*reversed(later), *archived][: query.limit]
        events += [*archived, *later][: remaining.limit]
        if len(events) == query.limit or len(stream) < remaining.limit:
            return events
        # The archiver overtook the stream read: read on after what was returned.
        after = events[-1].cursor if later else log.position
        remaining = replace(query, after=after, limit=query.limit - len(events))


def _read_stream(query: PageQuery) -> _Steps:
    """The first, or last, matching events of the stream."""
    key, found = StreamKeys(event_settings.STREAM_PREFIX).stream(query.job_id), list[Event]()
    after, before, order = query.after, query.before, query.order
    limit = _FILTERED_READ_EVENTS if query.event_filter else query.limit
    while True:
        command = commands.xrange(key, after=after, before=before, limit=limit, order=order)
        events = commands.events_of_xrange(query.job_id, (yield command) if command else [])
        found += filter(query.event_filter.matches, events)
        if len(events) < limit or len(found) >= query.limit:
            return found[: query.limit]
        last = events[-1].cursor
        after, before = (last, before) if order == "asc" else (after, last)


def _read_archive(query: PageQuery) -> tuple[ArchivedLog, list[Event]]:
    """Query the log and its matching events."""
    log = archived_log(query.job_id) or ArchivedLog(0, START, START)
    if (query.after or START) >= log.position:
        return log, []
    return archived_page(log, query)


def _check_exists(log: ArchivedLog, after: Cursor | None) -> None:
    """Raise LogDeleted, and CursorExpired if events after a cursor other than 0 were deleted."""
    if log.is_deleted:
        raise LogDeleted
    last_deleted = log.truncated_before.previous()
    if after is not None and last_deleted is not None and START < after < last_deleted:
        raise CursorExpired(str(log.truncated_before), str(last_deleted))
