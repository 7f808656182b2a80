"""Following a job's log: everything after a cursor, then what comes, until the job is over.

A viewer's states: *catching up* (reading history without waiting) -> *live* (waiting for the next
entry of the stream) -> *ended*. Reads always start at the id of the last event that the viewer was
given. As long as that entry is in the stream, what follows it is there, too; if it is not, the
stream was trimmed or lost, and the viewer catches up again, as after any fault of Redis. A Redis
that came back may have the entry, and not all that followed it: so a viewer is wired to one before
it catches up, and catches up again when the wire is cut.

What Redis had lost and was given again has a new id; it is known by its producer, and not given
to a viewer twice.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

from events import commands
from events.conf import event_settings
from events.connections import Wire, block_ms, get_async_redis
from events.exceptions import LogCut, RedisUnavailable
from events.history import aread_events
from events.keys import StreamKeys
from events.types import START, Cursor, End, Event, KeepAlive, Live, Message, Reset

logger = logging.getLogger(__name__)

_BATCH: Final = 100
_RETRY_FIRST: Final = 0.1
_RETRY_LAST: Final = 5.0
# What a Redis that was set back is given again is of its last seconds.
_SEEN: Final = 1000

IsOver = Callable[[Event | None, bool], Awaitable[bool]]


async def follow(job_id: str, *, after: Cursor = START, is_over: IsOver) -> AsyncIterator[Message]:
    """Yield the events after a cursor, `Live` once caught up, later events, and `End`.

    `is_over(last, idle)` says whether the job is over for a viewer who has caught up: `last` is
    the last event that the viewer was given, `idle` whether nothing came since it was asked
    before. `Reset` comes where events after the cursor are not kept any more. Raises NotAStream,
    RedisRefused.
    """
    viewer = _Viewer(StreamKeys(event_settings.STREAM_PREFIX).stream(job_id), job_id, after)
    try:
        async for message in _messages(viewer, is_over):
            yield message
    finally:
        await viewer.close()


async def _messages(viewer: "_Viewer", is_over: IsOver) -> AsyncIterator[Message]:
    over = told = False
    while True:
        messages = await viewer.read()
        for message in messages or ():
            yield message
        if viewer.is_silent():
            yield KeepAlive()
        if messages is None:
            continue
        if viewer.catching_up and not messages:
            if over:
                yield End()
                return
            viewer.catching_up = False
            if not told:
                told = True
                yield Live()
        if not viewer.catching_up and await is_over(viewer.last, not messages):
            # What was appended before it was over may still be unread: catch up once more.
            over = viewer.catching_up = True


class _Seen:
    """The latest events that a viewer was given, by their producers."""

    def __init__(self) -> None:
        self._producers: dict[str, None] = {}

    def is_new(self, event: Event) -> bool:
        """Whether the viewer was not given it lately; from now on, it was."""
        if not event.producer:
            return True
        if event.producer in self._producers:
            return False
        self._producers[event.producer] = None
        if len(self._producers) > _SEEN:
            del self._producers[next(iter(self._producers))]
        return True


@dataclass(slots=True)
class _Viewer:
    key: str
    job_id: str
    cursor: Cursor
    last: Event | None = None
    catching_up: bool = True
    _wire: Wire | None = None
    _seen: _Seen = field(default_factory=_Seen)
    _retry_in: float = _RETRY_FIRST
    _spoke_at: float = field(default_factory=monotonic)

    async def read(self) -> Sequence[Event | Reset] | None:
        """The next messages: those that are there or, live, those of the next seconds.

        None, after a pause that grows, when Redis did not answer.
        """
        try:
            wire = self._wire = self._wire or await Wire.to(get_async_redis())
            events = await (self._history() if self.catching_up else self._tail(wire))
        except LogCut as cut:
            self.cursor = Cursor.parse(cut.after)
            return [Reset(str(cut), cut.after)]
        except RedisUnavailable:
            logger.warning("live_read_failed", extra={"job_id": self.job_id})
            self.catching_up = True
            await self.close()
            await asyncio.sleep(self._retry_in)
            self._retry_in = min(self._retry_in * 2, _RETRY_LAST)
            return None
        self._retry_in = _RETRY_FIRST
        if not events:
            return events
        self.cursor, self._spoke_at = events[-1].cursor, monotonic()
        news = [event for event in events if self._seen.is_new(event)]
        self.last = news[-1] if news else self.last
        # An empty answer means that there is nothing more: of repeats alone, read what follows.
        return news or await self.read()

    async def _history(self) -> list[Event]:
        return await aread_events(self.job_id, after=self.cursor, limit=_BATCH)

    async def _tail(self, wire: Wire) -> list[Event]:
        block = min(block_ms(get_async_redis()), self._quiet_ms())
        command = commands.tail(self.key, after=self.cursor, limit=_BATCH, block=block)
        events = commands.entries_of_tail(self.job_id, await wire.ask(command))
        if events and not await wire.ask(commands.entry(self.key, self.cursor)):
            return await self._history()
        return events

    async def close(self) -> None:
        """Give back the connection."""
        wire, self._wire = self._wire, None
        if wire is not None:
            await wire.close()

    def _quiet_ms(self) -> int:
        """Milliseconds until a keep-alive is due; never 0, with which Redis blocks for ever."""
        return max(int((self._spoke_at + event_settings.KEEP_ALIVE - monotonic()) * 1000), 1)

    def is_silent(self) -> bool:
        """Whether a keep-alive is due; if so, it counts as given."""
        if monotonic() < self._spoke_at + event_settings.KEEP_ALIVE:
            return False
        self._spoke_at = monotonic()
        return True
