"""Following a job's log: everything after a cursor, then what comes, until the job is over."""

import asyncio
from collections.abc import AsyncIterator

from events.live.completion import Completion
from events.live.hub import Hub, hubs
from events.live.messages import End, Message, Reset
from events.live.subscriber import Subscriber
from events.types import START, Cursor, Event


def is_watched(job_id: str) -> bool:
    """Whether somebody views this log in this process, so that it can be read; asks nobody."""
    return any(feed.reads(job_id) for _, feed in hubs.all())


def disconnect_all() -> None:
    """Tell all viewers of this process to come back later; safe in a signal's handler."""
    for loop, feed in hubs.all():
        if not loop.is_closed():
            loop.call_soon_threadsafe(feed.close)


def subscribe(
    job_id: str, *, after: Cursor = START, completion: Completion | None = None
) -> Subscriber:
    """A viewer of a job's log, from a cursor on, for `async with`, which raises InvalidJobId."""
    return Subscriber(hubs.of_running_loop(Hub), job_id, after, completion)


async def follow(
    job_id: str, *, after: Cursor = START, completion: Completion | None = None
) -> AsyncIterator[Message]:
    """Yield the events after a cursor, `Live` once caught up, later events, and `End`.

    `KeepAlive` comes after KEEP_ALIVE seconds of silence, `Restart` instead of an end where the
    server is told to go away. `Reset` says that the cursor could not be
    honoured: what follows are the events after its `after`. Raises InvalidJobId, NotAStream,
    RedisCommandError, django.db.Error; where Redis does not answer, it waits.
    """
    async with subscribe(job_id, after=after, completion=completion) as viewer:
        while True:
            for encoded in await viewer.next():
                yield encoded.message
                if encoded.is_last:
                    return


async def await_events(
    job_id: str, *, after: Cursor, seconds: float, completion: Completion | None = None
) -> bool:
    """Wait until there is something after a cursor, or the job is over; False if it took longer.

    Raises what `follow` raises.
    """
    try:
        async with (
            asyncio.timeout(seconds),
            subscribe(job_id, after=after, completion=completion) as viewer,
        ):
            while True:
                for each in await viewer.next():
                    if isinstance(each.message, Event | Reset | End):
                        return True
                    if each.is_last:
                        return False
    except TimeoutError:
        return False
