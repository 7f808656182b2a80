"""Subscriptions to a job's log: events after a cursor, then new ones, until the job is finished."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

from events.live.hub import hubs
from events.live.messages import End, Message, Reset
from events.live.subscriber import Subscriber
from events.live.topic import Completion
from events.types import START, Cursor, Event


def is_watched(job_id: str) -> bool:
    """Whether this process has subscribers of a log and can read it; does no I/O."""
    return any(hub.is_watched(job_id) for _, hub in hubs.all())


def disconnect_all() -> None:
    """Send `Restart` to all subscribers of this process. Safe in a signal handler."""
    for loop, hub in hubs.all():
        if not loop.is_closed():
            loop.call_soon_threadsafe(hub.close)


def subscribe(
    job_id: str,
    *,
    after: Cursor = START,
    completion: Completion | None = None,
    transport: str = "python",
) -> Subscriber:
    """Return a subscriber for `async with`, which raises InvalidJobId.

    Its `next` returns messages with their encodings; `follow` describes them. `transport` is a
    label of metrics.
    """
    return Subscriber(job_id, after, completion, transport)


async def follow(
    job_id: str,
    *,
    after: Cursor = START,
    completion: Completion | None = None,
    transport: str = "python",
) -> AsyncGenerator[Message, None]:
    """Yield the events after a cursor, `Live` once caught up, new events, and `End`.

    Also yields `Reset` if the cursor is not in the log, or delivered events left it; `KeepAlive`
    after KEEP_ALIVE idle seconds; `Restart` as the last message when the server shuts down. Waits
    while Redis or the database is unavailable. Raises InvalidJobId, NotAStream, RedisCommandError.
    """
    subscriber = subscribe(job_id, after=after, completion=completion, transport=transport)
    async with subscriber:
        while True:
            for encoded in await subscriber.next():
                yield encoded.message
                if encoded.is_last:
                    return


async def await_events(
    job_id: str, *, after: Cursor, seconds: float, completion: Completion | None = None
) -> bool:
    """Wait for an event after a cursor, `Reset` or `End`; return False after `seconds`.

    Raises what `follow` raises.
    """
    with suppress(TimeoutError):
        async with (
            asyncio.timeout(seconds),
            aclosing(
                follow(job_id, after=after, completion=completion, transport="poll")
            ) as messages,
        ):
            async for message in messages:
                if isinstance(message, Event | Reset | End):
                    return True
    return False
