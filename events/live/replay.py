"""Replay: a recorded log with the time between its events, at a chosen speed.

The time of an event is when it was appended, which its id contains. Once the replay has caught up,
new events are delivered at once.
"""

import asyncio
from collections import deque
from time import monotonic
from typing import Final

from events.live.frames import LIVE, EncodedMessage
from events.live.messages import Reset
from events.live.subscriber import Subscriber
from events.live.topic import Completion
from events.types import Cursor, Event

MIN_SPEED: Final = 0.01
MAX_SPEED: Final = 10_000.0
_SEEK_REASON: Final = "The replay continues after this cursor."


class Replay(Subscriber):
    """A subscriber that receives events when they are due; while paused, keep-alives."""

    def __init__(
        self, job_id: str, after: Cursor, *, speed: float = 1.0, completion: Completion | None
    ) -> None:
        super().__init__(job_id, after, completion, "replay")
        self._pending: deque[EncodedMessage] = deque()
        self._has_caught_up = self._is_paused = False
        self._speed = speed
        # The position in the recording, in milliseconds since the epoch, at the time `_clock_at`.
        self._clock_ms: float | None = None
        self._clock_at = 0.0
        self._seek_to: Cursor | None = None

    def pause(self) -> None:
        self._set_clock(is_paused=True)

    def resume(self) -> None:
        self._set_clock(is_paused=False)

    def change_speed(self, speed: float) -> None:
        """Set the speed, from MIN_SPEED to MAX_SPEED; 1 is the original one."""
        self._set_clock(speed=speed)

    def seek(self, after: Cursor) -> None:
        """Continue after a cursor; `next` returns a `Reset` first."""
        self._seek_to = after
        self.wake()

    async def _messages(self) -> list[EncodedMessage]:
        if self._seek_to is not None:
            after, self._seek_to = self._seek_to, None
            self._move_to(after)
            self._pending.clear()
            self._clock_ms, self._has_caught_up = None, False
            return [EncodedMessage(Reset(_SEEK_REASON, str(after)))]
        if self._has_caught_up or self._hub.is_closing:
            return await super()._messages()
        if not self._pending:
            self._pending.extend(await super()._messages())
            return []  # `next` calls again: the replay may have been changed meanwhile
        return self._due() or await self._wait_until_due()

    # The clock of the recording

    def _set_clock(self, *, speed: float | None = None, is_paused: bool | None = None) -> None:
        if self._clock_ms is not None:
            self._clock_ms = self._now_ms()
            self._clock_at = monotonic()
        self._speed = self._speed if speed is None else speed
        self._is_paused = self._is_paused if is_paused is None else is_paused
        self.wake()

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

    async def _wait_until_due(self) -> list[EncodedMessage]:
        """Wait until the next event is due or the replay is changed; return a keep-alive if due."""
        if self._is_paused:
            return await self._wait()
        seconds = (self._pending[0].cursor.ms - self._now_ms()) / 1000 / self._speed
        timer = asyncio.get_running_loop().call_later(seconds, self.wake)
        try:
            return await self._wait()
        finally:
            timer.cancel()
