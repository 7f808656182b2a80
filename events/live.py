"""Following a job's log: everything after a cursor, then what comes, until the job is over.

A viewer's states: *catching up* (reading without waiting) -> *live* (waiting for the next event)
-> *ended*. A fault of Redis at any point leads back to reading from the cursor of the last event
that the viewer was given, so nothing is lost and nothing repeated. Reads always start at a
concrete id.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

from events import commands
from events.conf import event_settings
from events.connections import arun, block_ms, get_async_redis
from events.exceptions import RedisUnavailable
from events.keys import StreamKeys
from events.types import START, Cursor, End, Event, KeepAlive, Live, Message

logger = logging.getLogger(__name__)

_BATCH: Final = 100
_RETRY_FIRST: Final = 0.1
_RETRY_LAST: Final = 5.0

IsOver = Callable[[Event | None, bool], Awaitable[bool]]


async def follow(job_id: str, *, after: Cursor = START, is_over: IsOver) -> AsyncIterator[Message]:
    """Yield the events after a cursor, `Live` once caught up, later events, and `End`.

    `is_over(last, idle)` says whether the job is over for a viewer who has caught up: `last` is
    the last event that the viewer was given, `idle` whether nothing came since it was asked
    before. Raises NotAStream, RedisRefused.
    """
    viewer = _Viewer(StreamKeys(event_settings.STREAM_PREFIX).stream(job_id), job_id, after)
    over = False
    while True:
        events = await viewer.read()
        for event in events or ():
            yield event
        if viewer.is_silent():
            yield KeepAlive()
        if events is None:
            continue
        if viewer.catching_up and not events:
            if over:
                yield End()
                return
            viewer.catching_up = False
            yield Live()
        if not viewer.catching_up and await is_over(viewer.last, not events):
            # What was appended before it was over may still be unread: catch up once more.
            over = viewer.catching_up = True


@dataclass(slots=True)
class _Viewer:
    key: str
    job_id: str
    cursor: Cursor
    last: Event | None = None
    catching_up: bool = True
    _retry_in: float = _RETRY_FIRST
    _spoke_at: float = field(default_factory=monotonic)

    async def read(self) -> list[Event] | None:
        """The next events: those that are there or, live, those of the next seconds.

        None, after a pause that grows, when Redis did not answer.
        """
        try:
            events = await self._read()
        except RedisUnavailable:
            logger.warning("live_read_failed", extra={"job_id": self.job_id})
            await asyncio.sleep(self._retry_in)
            self._retry_in = min(self._retry_in * 2, _RETRY_LAST)
            return None
        self._retry_in = _RETRY_FIRST
        if events:
            self.last = events[-1]
            self.cursor = self.last.cursor
            self._spoke_at = monotonic()
        return events

    async def _read(self) -> list[Event]:
        client = get_async_redis()
        block = None if self.catching_up else min(block_ms(client), self._quiet_ms())
        command = commands.tail(self.key, after=self.cursor, limit=_BATCH, block=block)
        return commands.entries_of_tail(self.job_id, await arun(client, command))

    def _quiet_ms(self) -> int:
        """Milliseconds until a keep-alive is due; never 0, with which Redis blocks for ever."""
        return max(int((self._spoke_at + event_settings.KEEP_ALIVE - monotonic()) * 1000), 1)

    def is_silent(self) -> bool:
        """Whether a keep-alive is due; if so, it counts as given."""
        if monotonic() < self._spoke_at + event_settings.KEEP_ALIVE:
            return False
        self._spoke_at = monotonic()
        return True
