"""Reading a job's log up to now."""

from typing import Any

from events import commands
from events.conf import event_settings
from events.connections import arun, get_async_redis, get_redis, run
from events.keys import StreamKeys
from events.types import Cursor, Event, Order


def read_events(
    job_id: str,
    *,
    after: Cursor | str | None = None,
    before: Cursor | str | None = None,
    limit: int | None = None,
    order: Order = "asc",
) -> list[Event]:
    """Read up to `limit` events (`PAGE_LIMIT` by default) between two cursors, both exclusive.

    `order` is by id: "asc" from the oldest, "desc" from the newest. Raises InvalidJobId,
    InvalidCursor, ValueError for `limit` or `order`, NotAStream, RedisUnavailable.
    """
    command = _page(job_id, after, before, limit, order)
    return commands.entries_of_page(job_id, run(get_redis(), command)) if command else []


async def aread_events(
    job_id: str,
    *,
    after: Cursor | str | None = None,
    before: Cursor | str | None = None,
    limit: int | None = None,
    order: Order = "asc",
) -> list[Event]:
    """The async twin of `read_events`."""
    command = _page(job_id, after, before, limit, order)
    reply: Any = await arun(get_async_redis(), command) if command else []
    return commands.entries_of_page(job_id, reply)


def _page(
    job_id: str,
    after: Cursor | str | None,
    before: Cursor | str | None,
    limit: int | None,
    order: Order,
) -> commands.Command | None:
    if order not in ("asc", "desc"):
        raise ValueError(f"order is 'asc' or 'desc'. Given: {order!r}.")
    if limit is not None and limit < 1:
        raise ValueError(f"limit is at least 1. Given: {limit}.")
    return commands.page(
        StreamKeys(event_settings.STREAM_PREFIX).stream(job_id),
        after=None if after is None else Cursor.parse(after),
        before=None if before is None else Cursor.parse(before),
        limit=limit or event_settings.PAGE_LIMIT,
        order=order,
    )
