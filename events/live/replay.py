"""A log again, with the time between its events as it was, or at another speed: for one viewer.

The time of an event is when it was appended, which its id has. Behind the replay is a viewer like
any other; what it gives is held back until it is due. Once the viewer has caught up, what happens
now is passed on as it comes.
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
_SOUGHT: Final = "The replay goes on from here."
# Seconds after which it is looked whether the server goes away.
_LOOK: Final = 1.0


class Replay:
    """What a `Subscriber` is, but at its own pace; `async with`. Paused, it gives signs of life."""

    def __init__(
        self,
        job_id: str,
        after: Cursor = START,
        *,
        speed: float = 1.0,
        completion: Completion | None,
    ) -> None:
        self._job_id, self._after, self._completion = job_id, after, completion
        self._viewer: Subscriber
        # As that of a viewer: whoever passes on what comes may want to know that nobody takes it.
        self.on_send_timeout: Callable[[], object] | None = None
        self._patience: asyncio.TimerHandle | None = None
        self._waiting: deque[EncodedMessage] = deque()
        self._is_live = self._is_paused = False
        self._speed = speed
        # The time in the log, in milliseconds, and when it was that.
        self._at: float | None = None
        self._since = 0.0
        self._sought: Cursor | None = None
        self._changed = asyncio.Event()

    def pause(self) -> None:
        """Let the time stand still."""
        self._change(is_paused=True)

    def resume(self) -> None:
        """Let it go on."""
        self._change(is_paused=False)

    def change_speed(self, speed: float) -> None:
        """Let it go so many times as fast as it did; MIN_SPEED to MAX_SPEED."""
        self._change(speed=speed)

    def seek(self, after: Cursor) -> None:
        """Go on with what follows a cursor; a `Reset` says so first."""
        self._sought = after
        self._changed.set()

    async def next(self) -> list[EncodedMessage]:
        """What is due next, as `Subscriber.next` has it; raises what that raises."""
        self._expect_nobody()
        messages = await self._next()
        if self.on_send_timeout is not None:
            loop = asyncio.get_running_loop()
            self._patience = loop.call_later(event_settings.SEND_TIMEOUT, self.on_send_timeout)
        return messages

    async def __aenter__(self) -> Self:
        await self._view(self._after)
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._expect_nobody()
        await self._viewer.__aexit__(*exception)

    def _expect_nobody(self) -> None:
        if self._patience is not None:
            self._patience.cancel()

    async def _next(self) -> list[EncodedMessage]:
        spoke_at = monotonic()
        while True:
            self._changed.clear()
            if self._sought is not None:
                return [await self._go_to(self._sought)]
            if not self._waiting:
                messages = await self._unless_changed(self._viewer.next())
                if messages is None:
                    continue
                if self._is_live:
                    return messages
                self._waiting.extend(messages)
            if due := self._due():
                return due
            if self._viewer.is_sent_away:
                return await self._viewer.next()
            if monotonic() > spoke_at + event_settings.KEEP_ALIVE - _LOOK:
                return [KEEP_ALIVE]
            await self._wait()

    async def _view(self, after: Cursor) -> None:
        self._viewer = subscribe(self._job_id, after=after, completion=self._completion)
        await self._viewer.__aenter__()

    async def _go_to(self, after: Cursor) -> EncodedMessage:
        await self._viewer.__aexit__()
        await self._view(after)
        self._waiting.clear()
        self._at, self._sought, self._is_live = None, None, False
        return EncodedMessage(Reset(_SOUGHT, str(after)))

    # The time

    def _change(self, *, speed: float | None = None, is_paused: bool | None = None) -> None:
        if self._at is not None:
            self._at = self._now()
            self._since = monotonic()
        self._speed = self._speed if speed is None else speed
        self._is_paused = self._is_paused if is_paused is None else is_paused
        self._changed.set()

    def _now(self) -> float:
        """The time in the log."""
        went = 0.0 if self._is_paused else (monotonic() - self._since) * 1000 * self._speed
        return (self._at or 0.0) + went

    def _due(self) -> list[EncodedMessage]:
        """What is due; the first event is at once, and what is no event when it is its turn."""
        due = list[EncodedMessage]()
        while self._waiting and not (self._is_paused and self._at is not None):
            first = self._waiting[0]
            if isinstance(first.message, Event):
                if self._at is None:
                    self._at, self._since = float(first.cursor.ms), monotonic()
                if first.cursor.ms > self._now():
                    break
            elif first is LIVE:
                self._is_live = True
            due.append(self._waiting.popleft())
        return due

    async def _wait(self) -> None:
        """Until the next event is due, something changes, or it is time to look around."""
        left = _LOOK
        if self._waiting and not self._is_paused:
            left = (self._waiting[0].cursor.ms - self._now()) / 1000 / self._speed
        try:
            async with asyncio.timeout(min(max(left, 0), _LOOK)):
                await self._changed.wait()
        except TimeoutError:
            pass

    async def _unless_changed(self, wanted: Awaitable[T]) -> T | None:
        """What is wanted; None if something was changed before it came."""
        asked = asyncio.ensure_future(wanted)
        changed = asyncio.ensure_future(self._changed.wait())
        try:
            await asyncio.wait([asked, changed], return_when=asyncio.FIRST_COMPLETED)
            return asked.result() if asked.done() else None
        finally:
            asked.cancel()
            changed.cancel()
            await asyncio.wait([asked, changed])
