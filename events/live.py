"""Following a job's log: everything after a cursor, then what comes, until the job is over."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

from django.apps import apps

from events.channel import Ending
from events.encoded import END
from events.feed import Feed
from events.loops import PerLoop
from events.types import START, Cursor, End, Event, Message, Reset
from events.viewer import Viewer


def viewing(job_id: str, *, after: Cursor = START, ending: Ending | None = None) -> Viewer:
    """A viewer of a job's log, from a cursor on, for `async with`, which raises InvalidJobId."""
    feeds = cast(PerLoop[Feed], cast(Any, apps.get_app_config("events")).feeds)
    return Viewer(feeds.of_running_loop(Feed), job_id, after, ending)


async def follow(
    job_id: str, *, after: Cursor = START, ending: Ending | None = None
) -> AsyncIterator[Message]:
    """Yield the events after a cursor, `Live` once caught up, later events, and `End`.

    `KeepAlive` comes after KEEP_ALIVE seconds of silence. `Reset` says that the cursor could not be
    honoured: what follows are the events after its `after`. Raises InvalidJobId, NotAStream,
    RedisRefused, django.db.Error; where Redis does not answer, it waits.
    """
    async with viewing(job_id, after=after, ending=ending) as viewer:
        while True:
            for encoded in await viewer.next():
                yield encoded.message
                if encoded is END:
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
    except TimeoutError:
        return False
