"""Replay: a recorded log with the time between its events, at a chosen speed.

The time of an event is when it was appended, which its id contains. Messages are held back until
they are due. Once the replay has caught up, new events are delivered at once.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable
from contextlib import suppress
from time import monotonic
from typing import Final, TypeVar

from events.conf import event_settings
from events.live.completion import Completion
from events.live.frames import KEEP_ALIVE, LIVE, EncodedMessage
from events.live.messages import Reset
from events.live.subscriber import Subscriber
from events.types import START, Cursor, Event

T = TypeVar("T")

MIN_SPEED: Final = 0.01
MAX_SPEED: Final = 10_000.0
_SEEK_REASON: Final = "The replay continues after this cursor."
_POLL_SECONDS: Final = 1.0  # between two checks for a shutdown of the server


class Replay(Subscriber):
    """A subscriber that receives events when they are due; while paused, keep-alives."""

    def __init__(
        self,
        job_id: str,
        after: Cursor = START,
        *,
        speed: float = 1.0,
        completion: Completion | None,
    ) -> None:
        super().__init__(job_id, after, completion)
        self._pending: deque[EncodedMessage] = deque()
        self._has_caught_up = self._is_paused = False
        self._speed = speed
        # The position in the recording, in milliseconds since the epoch, at the time `_clock_at`.
        self._clock_ms: float | None = None
        self._clock_at = 0.0
        self._seek_to: Cursor | None = None
        self._changed = asyncio.Event()

    def pause(self) -> None:
        """Stop the clock of the recording."""
        self._set_clock(is_paused=True)

    def resume(self) -> None:
        """Continue after `pause`."""
        self._set_clock(is_paused=False)

    def change_speed(self, speed: float) -> None:
        """Set the speed, from MIN_SPEED to MAX_SPEED; 1 is the original one."""
        self._set_clock(speed=speed)

    def seek(self, after: Cursor) -> None:
        """Continue after a cursor; `next` returns a `Reset` first."""
        self._seek_to = after
        self._changed.set()

    async def _messages(self) -> list[EncodedMessage]:
        self._changed.clear()
        if self._seek_to is not None:
            after, self._seek_to = self._seek_to, None
            self._move_to(after)
            self._pending.clear()
            self._clock_ms, self._has_caught_up = None, False
            return [EncodedMessage(Reset(_SEEK_REASON, str(after)))]
        if not self._pending:
            messages = await self._unless_changed(super()._messages()) or []
            if self._has_caught_up:
                return messages
            self._pending.extend(messages)
        if due := self._due():
            return due
        if self.is_disconnecting:
            return await super()._messages()
        if monotonic() > self._sent_at + event_settings.KEEP_ALIVE - _POLL_SECONDS:
            return [KEEP_ALIVE]
        await self._wait_for_change()
        return []

    # The clock of the recording

    def _set_clock(self, *, speed: float | None = None, is_paused: bool | None = None) -> None:
        if self._clock_ms is not None:
            self._clock_ms = self._now_ms()
            self._clock_at = monotonic()
        self._speed = self._speed if speed is None else speed
        self._is_paused = self._is_paused if is_paused is None else is_paused
        self._changed.set()

    def _now_ms(self) -> float:
        elapsed = 0.0 if self._is_paused else (monotonic() - self._clock_at) * 1000 * self._speed
        return (self._clock_ms or 0.0) + elapsed

    def _due(self) -> list[EncodedMessage]:
        """Take the messages that are due: the first event at once, others when their time comes."""
        due = list[EncodedMessage]()
        while self._pending and not (self._is_paused and self._clock_ms is not None):
            first = self._pending[0]
            if isinstance(first.message, Event):
                if self._clock_ms is None:
                    self._clock_ms, self._clock_at = float(first.cursor.ms), monotonic()
                if first.cursor.ms > self._now_ms():
                    break
            elif first is LIVE:
                self._has_caught_up = True
            due.append(self._pending.popleft())
        return due

    async def _wait_for_change(self) -> None:
        """Wait until the next event is due or the replay is changed, at most _POLL_SECONDS."""
        remaining = _POLL_SECONDS
        if self._pending and not self._is_paused:
            remaining = (self._pending[0].cursor.ms - self._now_ms()) / 1000 / self._speed
        with suppress(TimeoutError):
            async with asyncio.timeout(min(max(remaining, 0), _POLL_SECONDS)):
                await self._changed.wait()

    async def _unless_changed(self, result: Awaitable[T]) -> T | None:
        """Await a result; None if the replay is changed first."""
        task = asyncio.ensure_future(result)
        changed = asyncio.ensure_future(self._changed.wait())
        try:
            await asyncio.wait([task, changed], return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            task.cancel()
            changed.cancel()
            await asyncio.wait([task, changed])
