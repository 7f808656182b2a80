"""One who views a log: *catching up* by pages of history, or *following* its channel's ring.

A viewer follows as soon as the ring reaches back to its cursor, and catches up again when it does
not any more: so a slow one costs no memory, and misses nothing. When its channel meets a break of
its log, it looks where it stands to it, before anything else.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from time import monotonic
from typing import Final, Self

from events.exceptions import CursorExpired, RedisUnavailable
from events.live.completion import Completion
from events.live.frames import END, KEEP_ALIVE, LIVE, EncodedMessage
from events.live.given import Place
from events.live.hub import Hub
from events.live.messages import Reset, Restart
from events.live.topic import Break, Topic
from events.types import START, Cursor, Event

_SET_BACK: Final = "Redis was set back: the log has other events since."
# Bytes of a page of history, and events of the first.
_PAGE_BYTES: Final = 256 * 1024
_FIRST_PAGE: Final = 50
_MOST: Final = 500


class Subscriber:
    """What one viewer has been given, and what comes next."""

    __slots__ = (
        "_bounds", "_feed", "_future", "_gave_at", "_generation", "_has_more", "_is_silent",
        "_is_told_live", "_joining", "_limit", "_since", "_spoke_at", "_start", "channel",
        "cursor", "number", "on_send_timeout",
    )  # fmt: skip

    def __init__(
        self, feed: Hub, job_id: str, after: Cursor, completion: Completion | None = None
    ) -> None:
        self.cursor = self._start = after
        self.number: int | None = None  # of the ring's event that comes next, of who follows
        self._feed = feed
        self._generation = self._since = 0
        # How far it was as a generation ended in which something was lost.
        self._bounds: dict[int, Cursor] = {}
        self._limit = _FIRST_PAGE
        self._future: asyncio.Future[None] | None = None
        self._is_told_live = self._is_silent = self._has_more = False
        self._spoke_at = monotonic()
        # Whoever passes on what the viewer is given may want to know that nobody takes it.
        self.on_send_timeout: Callable[[], object] | None = None
        self._gave_at: float | None = None
        self._joining = job_id, completion
        self.channel: Topic

    async def next(self) -> list[EncodedMessage]:
        """What comes next, which may be just a sign of life.

        What `is_last` is the last. Raises NotAStream, RedisCommandError, django.db.Error.
        """
        self._gave_at = None
        while True:
            messages = await self._messages()
            if messages:
                self._spoke_at = self._gave_at = monotonic()
                return messages

    @property
    def is_sent_away(self) -> bool:
        """Whether the server goes away: `next` says so at once."""
        return self._feed.is_closing

    async def __aenter__(self) -> Self:
        self.channel = self._feed.join(self, *self._joining)
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self._feed.leave(self)

    async def _messages(self) -> list[EncodedMessage]:
        channel = self.channel
        if channel.error is not None:
            raise channel.error
        if self._feed.is_closing:
            return [EncodedMessage(Restart(self._feed.retry_ms()))]
        if not channel.is_read:
            return await self._wait()
        if self._generation != channel.generation and (reset := self._meet_breaks()):
            return [reset]
        if self.number is None and self.cursor < channel.ring.floor:
            return await self._catch_up()
        return await self._follow()

    # Following

    async def _follow(self) -> list[EncodedMessage]:
        ring = self.channel.ring
        if self.number is None:
            self.number = ring.number_after(self.cursor)
        if self._has_more:
            await asyncio.sleep(0)  # it was this one's turn just now
        taken = ring.take(self.number)
        if taken is None:
            self.number = None
            return []
        if taken:
            self.number += len(taken)
            self._has_more = self.number < ring.end
            if taken[0].cursor <= self.cursor:
                taken = [event for event in taken if event.cursor > self.cursor]
            self.cursor = taken[-1].cursor if taken else self.cursor
            return [event for event in taken if not (event.lost and self._has(event.lost))]
        self.channel.followers.add(self)
        if not self._is_told_live:
            self._is_told_live = True
            return [LIVE]
        if self.channel.is_over:
            return [END]
        return await self._wait()

    async def _wait(self) -> list[EncodedMessage]:
        """Wait until there is something; a sign of life when there was nothing for long."""
        self._future = asyncio.get_running_loop().create_future()
        self.channel.wait(self)
        try:
            await self._future
        finally:
            self._future = None
            self.channel.wait_no_more(self)
        silent, self._is_silent = self._is_silent, False
        return [KEEP_ALIVE] if silent else []

    def wake(self) -> None:
        """There is something."""
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    def tick(self, now: float, quiet: float, patience: float) -> None:
        """Give a sign of life when nothing else was given for so many seconds.

        Call `on_send_timeout` when nobody has come back for `patience` seconds with what was given.
        """
        if self._future is not None and now - self._spoke_at > quiet:
            self._is_silent = True
            self.wake()
        if self.on_send_timeout and self._gave_at is not None and now - self._gave_at > patience:
            on_send_timeout, self.on_send_timeout = self.on_send_timeout, None
            on_send_timeout()

    # Catching up

    async def _catch_up(self) -> list[EncodedMessage]:
        channel = self.channel
        channel.followers.discard(self)
        try:
            events, floor = await self._feed.page(channel, self.cursor, self._limit)
        except CursorExpired as cut:
            self.cursor = Cursor.parse(cut.after)
            return [EncodedMessage(Reset(str(cut), cut.after))]
        except RedisUnavailable:
            self._feed.doubt(channel)
            return []
        if channel.generation != self._generation or not channel.is_read:
            return []
        # What the channel has not read may follow something lost of which it does not know yet.
        events = [event for event in events if event.cursor <= channel.head]
        if not events:
            if self.cursor < floor:
                self._feed.doubt(channel)  # the log has not got what was read of it
            return []
        self.cursor = events[-1].cursor
        size = sum(len(event.raw) for event in events)
        self._limit = max(1, min(_MOST, _PAGE_BYTES * len(events) // max(size, 1)))
        return [EncodedMessage(event) for event in events if not self._is_repeat(event)]

    # Breaks

    def _meet_breaks(self) -> EncodedMessage | None:
        """Where the viewer stands to what became of the log; a reset, if it has to go back."""
        breaks = [b for b in self.channel.breaks if b.generation > self._generation]
        began, self._generation = self._generation, self.channel.generation
        if not began:
            self._since = self._generation
            return None
        back_to = self.cursor
        for each in breaks:
            self._bounds[each.generation - 1] = self.cursor
            self.number = None
            back_to = min([back_to, *self._before_what_it_lacks(each)])
        back_to = max(back_to, self._start)
        if back_to >= self.cursor:
            return None
        self.cursor = back_to
        for generation in self._bounds:
            self._bounds[generation] = min(self._bounds[generation], self.cursor)
        return EncodedMessage(Reset(_SET_BACK, str(self.cursor)))

    def _before_what_it_lacks(self, happened: Break) -> Iterator[Cursor]:
        """Cursors after which the log has something that the viewer was not given in its place."""
        if happened.set_back:
            yield happened.common
        for place in happened.found:
            if not self._has([place]):
                yield place[0].previous() or START

    def _has(self, lost: Sequence[Place]) -> bool:
        """Whether the viewer was given what stood at one of these places as it was lost."""
        return any(
            self._since <= generation and cursor <= self._bounds.get(generation, cursor)
            for cursor, generation in lost
        )

    def _is_repeat(self, event: Event) -> bool:
        given = self.channel.given
        return given.is_repeat(event) or self._has(given.lost(event))
