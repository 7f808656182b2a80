"""Replay: a recorded log with the time between its events, at a chosen speed, for one subscriber.

The time of an event is when it was appended, which its id contains. A subscriber reads the log; its
messages are held back until they are due. Once it has caught up, new events are passed on at once.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Final, Self, TypeVar

from events.conf import event_settings
from events.live.completion import Completion
from events.live.frames import KEEP_ALIVE, LIVE, EncodedMessage
from events.live.messages import Reset
from events.live.subscriber import Subscriber
from events.live.subscription import subscribe
from events.types import START, Cursor, Event

T = TypeVar("T")

MIN_SPEED: Final = 0.01
MAX_SPEED: Final = 10_000.0
_SEEK_REASON: Final = "The replay continues after this cursor."
_POLL_SECONDS: Final = 1.0  # between two checks for a shutdown of the server


class Replay:
    """Has the interface of `Subscriber`; while paused, it sends keep-alives. For `async with`."""

    def __init__(
        self,
        job_id: str,
        after: Cursor = START,
        *,
        speed: float = 1.0,
        completion: Completion | None,
    ) -> None:
        self.on_send_timeout: Callable[[], object] | None = None  # as of Subscriber
        self._job_id, self._after, self._completion = job_id, after, completion
        self._subscriber: Subscriber
        self._send_timer: asyncio.TimerHandle | None = None
        self._pending: deque[EncodedMessage] = deque()
        self._is_live = self._is_paused = False
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

    async def next(self) -> list[EncodedMessage]:
        """Return the messages that are due next; raises what `Subscriber.next` raises."""
        self._stop_send_timer()
        messages = await self._next()
        if self.on_send_timeout is not None:
            loop = asyncio.get_running_loop()
            timeout = event_settings.SEND_TIMEOUT
            self._send_timer = loop.call_later(timeout, self.on_send_timeout)
        return messages

    async def __aenter__(self) -> Self:
        await self._subscribe(self._after)
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._stop_send_timer()
        await self._subscriber.__aexit__(*exception)

    def _stop_send_timer(self) -> None:
        if self._send_timer is not None:
            self._send_timer.cancel()

    async def _next(self) -> list[EncodedMessage]:
        sent_at = monotonic()
        while True:
            self._changed.clear()
            if self._seek_to is not None:
                return [await self._seek(self._seek_to)]
            if not self._pending:
                messages = await self._unless_changed(self._subscriber.next())
                if messages is None:
                    continue
                if self._is_live:
                    return messages
                self._pending.extend(messages)
            if due := self._due():
                return due
            if self._subscriber.is_disconnecting:
                return await self._subscriber.next()
            if monotonic() > sent_at + event_settings.KEEP_ALIVE - _POLL_SECONDS:
                return [KEEP_ALIVE]
            await self._wait()

    async def _subscribe(self, after: Cursor) -> None:
        self._subscriber = subscribe(self._job_id, after=after, completion=self._completion)
        await self._subscriber.__aenter__()

    async def _seek(self, after: Cursor) -> EncodedMessage:
        await self._subscriber.__aexit__()
        await self._subscribe(after)
        self._pending.clear()
        self._clock_ms, self._seek_to, self._is_live = None, None, False
        return EncodedMessage(Reset(_SEEK_REASON, str(after)))

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
                self._is_live = True
            due.append(self._pending.popleft())
        return due

    async def _wait(self) -> None:
        """Wait until the next event is due or the replay is changed, at most _POLL_SECONDS."""
        remaining = _POLL_SECONDS
        if self._pending and not self._is_paused:
            remaining = (self._pending[0].cursor.ms - self._now_ms()) / 1000 / self._speed
        try:
            async with asyncio.timeout(min(max(remaining, 0), _POLL_SECONDS)):
                await self._changed.wait()
        except TimeoutError:
            pass

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
