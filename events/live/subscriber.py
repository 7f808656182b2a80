"""Subscriber: one reader of a topic; it *catches up* by pages of history, then *tails* the ring.

It tails as soon as the ring reaches back to its cursor, and catches up again when it falls behind
the ring: a slow consumer costs no memory and loses no event.
"""

import asyncio
from collections.abc import Callable
from time import monotonic, time
from typing import Final, Self

from events.database import UNAVAILABLE
from events.exceptions import CursorExpired, CursorLost, RedisUnavailable
from events.history.page_size import PageSize
from events.live.frames import END, KEEP_ALIVE, LIVE, EncodedMessage
from events.live.hub import DATABASE_RETRY_SECONDS, Hub, hubs
from events.live.messages import Reset, Restart
from events.live.topic import Completion, Topic
from events.metrics.instruments import RESETS, SUBSCRIBERS, SUBSCRIPTIONS
from events.types import START, Cursor

_LOSS_REASON: Final = "Redis lost events: the log differs after this cursor."
# A subscriber that does not read holds one page.
_MAX_PAGE_BYTES: Final = 64 * 1024
_MAX_PAGE_EVENTS: Final = 500


class Subscriber:
    """The position of one reader, and the messages that come next; for `async with`."""

    __slots__ = (
        "_completion", "_future", "_has_more", "_hub", "_is_checked", "_is_keep_alive_due",
        "_is_live", "_job_id", "_oldest_ms", "_page_size", "_reset_after", "_returned_at",
        "_sent_at", "_transport", "cursor", "offset", "on_send_timeout", "topic",
    )  # fmt: skip

    def __init__(
        self, job_id: str, after: Cursor, completion: Completion | None, transport: str = "python"
    ) -> None:
        self.topic: Topic
        self.cursor, self._is_checked = after, after == START  # whether it was found in the log
        self.offset: int | None = None  # of the next event in the ring, while tailing
        # Called once if a message is not sent within SEND_TIMEOUT seconds after `next` returned it.
        self.on_send_timeout: Callable[[], object] | None = None
        self._hub: Hub
        self._job_id, self._completion, self._transport = job_id, completion, transport
        self._reset_after: Cursor | None = None
        self._page_size = PageSize(_MAX_PAGE_BYTES, _MAX_PAGE_EVENTS)
        self._future: asyncio.Future[None] | None = None
        self._is_live = self._is_keep_alive_due = self._has_more = False
        self._sent_at = monotonic()
        self._returned_at: float | None = None  # None while the caller waits in `next`
        self._oldest_ms = 0  # the time of the first live event that `next` has returned

    async def __aenter__(self) -> Self:
        self._hub = hubs.of_running_loop(Hub)
        self.topic = self._hub.join(self, self._job_id, self._completion)
        SUBSCRIBERS.add(1, self._transport)
        SUBSCRIPTIONS.add(1, self._transport, "false" if self.cursor == START else "true")
        return self

    async def __aexit__(self, *_exception: object) -> None:
        SUBSCRIBERS.add(-1, self._transport)
        await self._hub.leave(self)

    async def next(self) -> list[EncodedMessage]:
        """Return the next messages, at least one; after one with `is_last` there are no others.

        Waits while Redis or the database is unavailable. Raises NotAStream, RedisCommandError.
        """
        self._returned_at = None
        if self._oldest_ms:
            self._hub.lag.observe(max(time() - self._oldest_ms / 1000, 0.0))
            self._oldest_ms = 0
        while not (messages := await self._messages()):
            pass
        self._sent_at = self._returned_at = monotonic()
        return messages

    async def _messages(self) -> list[EncodedMessage]:
        topic = self.topic
        if topic.error is not None:
            raise topic.error
        if self._hub.is_closing:
            return [EncodedMessage(Restart(self._hub.retry_ms()))]
        if self._reset_after is not None:
            after, self._reset_after = self._reset_after, None
            RESETS.add(1, "loss")
            return [EncodedMessage(Reset(_LOSS_REASON, str(after)))]
        if not topic.is_verified:
            topic.wait(self)
            return await self._wait()
        if self.offset is None and not self._is_in_ring():
            return await self._catch_up()
        return await self._tail()

    def rewind(self, common: Cursor, head: Cursor) -> None:
        """The topic, read up to `head`, was verified: reset if the cursor is past `common`."""
        if self.cursor > head:  # of another process: the topic has no record of the event
            self._is_checked = False
        elif self.cursor > common:
            self.cursor = self._reset_after = common
            self.offset, self._is_checked = None, True

    def _move_to(self, after: Cursor) -> None:
        """Continue at a cursor, which is checked against the log."""
        self.topic.tailing.discard(self)
        self.cursor, self._is_checked = after, after == START
        self.offset = self._reset_after = None
        self._is_live = False

    # Tailing

    def _is_in_ring(self) -> bool:
        ring = self.topic.ring
        return self.cursor >= ring.floor and (self._is_checked or ring.contains(self.cursor))

    async def _tail(self) -> list[EncodedMessage]:
        ring = self.topic.ring
        if self.offset is None:
            self.offset, self._is_checked = ring.offset_after(self.cursor), True
        if self._has_more:
            self._has_more = False
            await asyncio.sleep(0)  # the other subscribers have their turn
            return []
        events = ring.read_from(self.offset)
        if events is None:
            self.offset = None
            return []
        if events:
            self.offset += len(events)
            self._has_more = self.offset < ring.end
            if events[0].cursor <= self.cursor:
                events = [event for event in events if event.cursor > self.cursor]
            if events:
                self.cursor = events[-1].cursor
                self._oldest_ms = events[0].cursor.ms if self._is_live else 0
            return events
        self.topic.tailing.add(self)
        if not self._is_live:
            self._is_live = True
            return [LIVE]
        if self.topic.is_completed:
            return [END]
        self.topic.wait(self)
        return await self._wait()

    async def _wait(self) -> list[EncodedMessage]:
        """Wait until woken; return a keep-alive if it is due."""
        self._future = asyncio.get_running_loop().create_future()
        try:
            await self._future
        finally:
            self._future = None
            self.topic.stop_waiting(self)
        is_due, self._is_keep_alive_due = self._is_keep_alive_due, False
        return [KEEP_ALIVE] if is_due else []

    def wake(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    def tick(self, now: float, keep_alive: float, send_timeout: float) -> None:
        """Send a keep-alive after that many idle seconds; call `on_send_timeout` if it is due.

        No keep-alive is sent while the log cannot be read: clients notice that, and reconnect.
        """
        is_idle = self._future is not None and now - self._sent_at > keep_alive
        if is_idle and self.topic.is_verified:
            self._is_keep_alive_due = True
            self.wake()
        is_stalled = self._returned_at is not None and now - self._returned_at > send_timeout
        if is_stalled and self.on_send_timeout:
            on_send_timeout, self.on_send_timeout = self.on_send_timeout, None
            on_send_timeout()

    # Catching up

    async def _catch_up(self) -> list[EncodedMessage]:
        topic, epoch, floor = self.topic, self.topic.epoch, self.topic.ring.floor
        topic.tailing.discard(self)
        try:
            events = await self._hub.page(topic, self.cursor, self._page_size.events)
        except RedisUnavailable:
            self._hub.invalidate(topic)
            return []
        except UNAVAILABLE:
            asyncio.get_running_loop().call_later(DATABASE_RETRY_SECONDS, self.wake)
            return await self._wait()
        except (CursorExpired, CursorLost) as error:
            return self._reset_to(error) if topic.is_current(epoch) else []
        if not topic.is_current(epoch):
            return []  # read before a loss
        self._is_checked = True
        # An event past the head may follow a loss that was not detected yet.
        events = [event for event in events if event.cursor <= topic.head]
        if not events:
            if self.cursor < floor:  # the log lacks events that the topic delivered
                self._hub.invalidate(topic)
            return []
        page = self._page_size.cut(events)
        self.cursor = page[-1].cursor
        return [EncodedMessage(event) for event in page]

    def _reset_to(self, error: CursorExpired | CursorLost) -> list[EncodedMessage]:
        """Reset to the preceding event; if the cursor was in the log, verify the topic first."""
        if self._is_checked and isinstance(error, CursorLost):
            self._is_checked = False
            self._hub.invalidate(self.topic)
            return []
        self.cursor, self._is_checked = Cursor.parse(error.after), True
        RESETS.add(1, type(error).__name__)
        return [EncodedMessage(Reset(str(error), error.after))]
