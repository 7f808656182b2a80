"""Following a job's log: everything after a cursor, then what comes, until the job is over."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

from django.apps import apps

from events.live.hub import Feed
from events.live.subscriber import Viewer
from events.live.topic import Ending
from events.per_loop import PerLoop
from events.types import START, Cursor, End, Event, Message, Reset


def _feeds() -> PerLoop[Feed]:
    return cast(PerLoop[Feed], cast(Any, apps.get_app_config("events")).feeds)


def is_viewed(job_id: str) -> bool:
    """Whether somebody views this log in this process, so that it can be read; asks nobody."""
    return any(feed.reads(job_id) for _, feed in _feeds().all())


def send_away() -> None:
    """Tell all viewers of this process to come back later; safe in a signal's handler."""
    for loop, feed in _feeds().all():
        if not loop.is_closed():
            loop.call_soon_threadsafe(feed.close)


def viewing(job_id: str, *, after: Cursor = START, ending: Ending | None = None) -> Viewer:
    """A viewer of a job's log, from a cursor on, for `async with`, which raises InvalidJobId."""
    return Viewer(_feeds().of_running_loop(Feed), job_id, after, ending)


async def follow(
    job_id: str, *, after: Cursor = START, ending: Ending | None = None
) -> AsyncIterator[Message]:
    """Yield the events after a cursor, `Live` once caught up, later events, and `End`.

    `KeepAlive` comes after KEEP_ALIVE seconds of silence, `Restart` instead of an end where the
    server is told to go away. `Reset` says that the cursor could not be
    honoured: what follows are the events after its `after`. Raises InvalidJobId, NotAStream,
    RedisRefused, django.db.Error; where Redis does not answer, it waits.
    """
    async with viewing(job_id, after=after, ending=ending) as viewer:
        while True:
            for encoded in await viewer.next():
                yield encoded.message
                if encoded.is_last:
                    return


async def await_events(
    job_id: str, *, after: Cursor, seconds: float, ending: Ending | None = None
) -> bool:
    """Wait until there is something after a cursor, or the job is over; False if it took longer.

    Raises what `follow` raises.
    """
    try:
        async with asyncio.timeout(seconds), viewing(job_id, after=after, ending=ending) as viewer:
            while True:
                for each in await viewer.next():
                    if isinstance(each.message, Event | Reset | End):
                        return True
                    if each.is_last:
                        return False
    except TimeoutError:
        return False
