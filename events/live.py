"""Following a job's log: everything after a cursor, then what comes, until the job is over.

A viewer's states: *catching up* (reading history without waiting) -> *live* (waiting for the next
entry of the stream) -> *ended*. Reads always start at the id of the last event that the viewer was
given. As long as that entry is in the stream, what follows it is there, too; if it is not, the
stream was trimmed or lost, and the viewer catches up again, as after any fault of Redis. A Redis
that came back may have the entry, and not all that followed it: so a viewer is wired to one before
it catches up, and catches up again when the wire is cut.

What Redis had lost and was given again has a new id; it is known by its producer, and not given
to a viewer twice. What it was set back to may have events that the viewer never was given, before
the cursor, since they had been lost as it passed: then the viewer is reset to the last event that
both know.
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
_GIVEN: Final = 1000

_SET_BACK: Final = "Redis was set back: the log has other events since."

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


class _Given:
    """The latest events that a viewer was given, by their cursors and producers."""

    def __init__(self, start: Cursor) -> None:
        self.start = start  # what is up to here is not known
        # With a hash of what it was: a Redis that lost all may give an id again at once.
        self._by_cursor: dict[Cursor, tuple[str, int]] = {}
        self._producers: set[str] = set()

    def __contains__(self, event: Event) -> bool:
        return self.has(event) or event.producer in self._producers

    def has(self, event: Event) -> bool:
        """Whether the viewer was given this entry."""
        return self._by_cursor.get(event.cursor) == (event.producer, hash(event.raw))

    def add(self, event: Event) -> bool:
        """Whether it is new to the viewer, who has it from now on."""
        is_new = event not in self
        self._by_cursor[event.cursor] = event.producer, hash(event.raw)
        if event.producer:
            self._producers.add(event.producer)
        if len(self._by_cursor) > _GIVEN:
            self.start = next(iter(self._by_cursor))
            self._producers.discard(self._by_cursor.pop(self.start)[0])
        return is_new

    def forget_after(self, cursor: Cursor) -> None:
        """The viewer is told to forget what came after it."""
        for later in [given for given in self._by_cursor if given > cursor]:
            self._producers.discard(self._by_cursor.pop(later)[0])


@dataclass(slots=True)
class _Viewer:
    key: str
    job_id: str
    cursor: Cursor
    last: Event | None = None
    catching_up: bool = True
    _wire: Wire | None = None
    _was_cut: bool = False
    _given: _Given = field(init=False)
    _retry_in: float = _RETRY_FIRST
    _spoke_at: float = field(default_factory=monotonic)

    def __post_init__(self) -> None:
        self._given = _Given(self.cursor)

    async def read(self) -> Sequence[Event | Reset] | None:
        """The next messages: those that are there or, live, those of the next seconds.

        None, after a pause that grows, when Redis did not answer.
        """
        try:
            wire = self._wire = self._wire or await Wire.to(get_async_redis())
            if self._was_cut and (reset := await self._set_back()):
                return [reset]
            self._was_cut = False
            events = await (self._history if self.catching_up else self._tail)(wire)
        except LogCut as cut:
            self.cursor = Cursor.parse(cut.after)
            return [Reset(str(cut), cut.after)]
        except RedisUnavailable:
            logger.warning("live_read_failed", extra={"job_id": self.job_id})
            self.catching_up = self._was_cut = True
            await self.close()
            await asyncio.sleep(self._retry_in)
            self._retry_in = min(self._retry_in * 2, _RETRY_LAST)
            return None
        self._retry_in = _RETRY_FIRST
        if not events:
            return events
        self.cursor, self._spoke_at = events[-1].cursor, monotonic()
        news = [event for event in events if self._given.add(event)]
        self.last = news[-1] if news else self.last
        # An empty answer means that there is nothing more: of repeats alone, read what follows.
        return news or await self.read()

    async def _set_back(self) -> Reset | None:
        """Go back to the last event that viewer and log both have, if the log has others since.

        Where the log has what the viewer was given last, it has nothing else before that: an
        entry is never given a place before another that is there.
        """
        if self.cursor == self._given.start:
            return None
        before, unknown = self.cursor.next(), False
        while True:
            events = await aread_events(self.job_id, before=before, limit=_BATCH, order="desc")
            for event in events:
                if event.cursor <= self._given.start or self._given.has(event):
                    return self._go_back(event.cursor) if unknown else None
                unknown = unknown or event not in self._given
            if len(events) < _BATCH:
                return self._go_back(self._given.start) if unknown else None
            before = events[-1].cursor

    def _go_back(self, cursor: Cursor) -> Reset:
        self.cursor = max(cursor, self._given.start)
        self._given.forget_after(self.cursor)
        return Reset(_SET_BACK, str(self.cursor))

    async def _history(self, wire: Wire) -> list[Event]:
        events = await aread_events(self.job_id, after=self.cursor, limit=_BATCH)
        await wire.ask(commands.PING)  # or another Redis has answered, that came back with less
        return events

    async def _tail(self, wire: Wire) -> list[Event]:
        block = min(block_ms(get_async_redis()), self._quiet_ms())
        command = commands.tail(self.key, after=self.cursor, limit=_BATCH, block=block)
        events = commands.entries_of_tail(self.job_id, await wire.ask(command))
        if events and not await wire.ask(commands.entry(self.key, self.cursor)):
            return await self._history(wire)
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
