"""The feed of an event loop: it reads each stream that somebody views, once for all viewers.

It has a connection to read by for each 500 streams, and one more, to know that it is still the
same Redis that answers. When one of them is lost, all are: Redis may come back with less than it
had, and every channel is doubted until its log was compared with what was read of it.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from contextvars import Context, copy_context
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Final

from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.db import connections

from events.conf import event_settings
from events.exceptions import RedisUnavailable
from events.history.reader import aread_events
from events.live.completion import Completion
from events.live.continuity import verify_continuity
from events.live.stream_reader import MOST_STREAMS, Control, Reader
from events.live.topic import Topic
from events.per_loop import PerLoop
from events.streams.clients import block_ms, get_async_redis
from events.streams.keys import StreamKeys
from events.streams.pinned import PinnedConnection
from events.streams.retry import raise_lost_cancellation
from events.types import Cursor, Event

if TYPE_CHECKING:
    from events.live.subscriber import Subscriber

logger = logging.getLogger(__name__)

_RETRY_FIRST: Final = 0.1
_RETRY_LAST: Final = 5.0
_MOST_READERS: Final = 32
# How many logs are compared, and pages of history read, at once.
_AT_ONCE: Final = 8
_PAGE: Final = 100
# Seconds.
_TICK: Final = 1.0
_ASK_AGAIN: Final = 5.0
_PAGE_LASTS: Final = 1.0
_RING_LASTS: Final = 5.0
# Milliseconds after which viewers come back to a server that went away, and between two of them.
_RETURN_MS: Final = 500
_APART_MS: Final = 2


@dataclass(slots=True)
class _Page:
    """A page of history that several viewers may want in the same moment."""

    reading: "asyncio.Task[list[Event]]"
    floor: Cursor
    read_at: float


class Hub:
    """What the viewers of an event loop share; it works as long as there are any."""

    def __init__(self, forget: Callable[[], None]) -> None:
        self.viewers: set[Subscriber] = set()
        self.is_closing = False
        self._forget = forget
        self._channels: dict[str, Topic] = {}
        self._readers: list[Reader] = []
        self._doubted: asyncio.Queue[Topic] = asyncio.Queue()
        self._to_ask: dict[Topic, None] = {}
        self._asking = asyncio.Event()
        self._pages = asyncio.Semaphore(_AT_ONCE)
        self._control: Control | None = None
        self._group: asyncio.TaskGroup | None = None
        self._reading: set[asyncio.Task[list[Event]]] = set()
        self._context: Context | None = None
        self._task: asyncio.Task[None] | None = None

    # Viewers

    def join(self, viewer: "Subscriber", job_id: str, completion: Completion | None) -> Topic:
        """The channel of a job, which the viewer views from now on; raises InvalidJobId."""
        channel = self._channels.get(job_id)
        if channel is None or channel.is_done:
            key = StreamKeys(event_settings.STREAM_PREFIX).stream(job_id)
            channel = self._channels[job_id] = Topic(job_id, key)
            self._doubted.put_nowait(channel)
        channel.completion = completion or channel.completion
        channel.viewers.add(viewer)
        self.viewers.add(viewer)
        if self._task is None:
            # Not in the context of the first viewer's request, which ends before the feed does.
            self._task = asyncio.create_task(self._live(), context=Context())
        return channel

    async def leave(self, viewer: "Subscriber") -> None:
        """The viewer is gone; with the last one, the feed ends."""
        channel = viewer.channel
        self.viewers.discard(viewer)
        channel.viewers.discard(viewer)
        channel.followers.discard(viewer)
        channel.wait_no_more(viewer)
        if not channel.viewers and self._channels.get(channel.job_id) is channel:
            del self._channels[channel.job_id]
        if not self.viewers and self._task is not None:
            self._forget()
            task, self._task = self._task, None
            task.cancel()
            await asyncio.wait([task])

    def reads(self, job_id: str) -> bool:
        """Whether this log is read at the moment; may be asked in any thread."""
        channel = self._channels.get(job_id)
        return channel is not None and channel.is_read and channel.error is None

    def close(self) -> None:
        """The server goes away: let all viewers come back later."""
        self.is_closing = True
        for viewer in self.viewers:
            viewer.wake()

    def retry_ms(self) -> int:
        """Milliseconds after which one of the viewers is to come back, chosen at random."""
        return random.randint(_RETURN_MS, _RETURN_MS + _APART_MS * len(self.viewers))  # noqa: S311

    def doubt(self, channel: Topic) -> None:
        """Compare the log with what was read of it."""
        if channel.is_read:
            channel.doubt()
            self._doubted.put_nowait(channel)

    async def page(self, channel: Topic, after: Cursor, limit: int) -> tuple[list[Event], Cursor]:
        """A page of history, and the floor of the channel's ring before it was read.

        Those who want the same page share it. Raises what `aread_events` raises.
        """
        page = channel.pages.get((after, limit))
        if page is None or monotonic() > page.read_at + _PAGE_LASTS:
            reading = asyncio.create_task(
                self._confirmed(channel, after, limit), context=self._context
            )
            self._reading.add(reading)
            reading.add_done_callback(self._has_read)
            page = _Page(reading, channel.ring.floor, monotonic())
            channel.pages[after, limit] = page
        events = await asyncio.shield(page.reading)
        if not events:  # there may be more in the next moment
            channel.pages.pop((after, limit), None)
        return events, page.floor

    def _has_read(self, reading: "asyncio.Task[list[Event]]") -> None:
        self._reading.discard(reading)
        if not reading.cancelled():
            reading.exception()  # who wanted it may be gone

    async def _confirmed(self, channel: Topic, after: Cursor, limit: int) -> list[Event]:
        async with self._pages:
            control = self._control
            if control is None:
                raise RedisUnavailable
            events = await aread_events(channel.job_id, after=after, limit=limit)
            await control.confirm()
            return events

    # The work

    async def _live(self) -> None:
        """Work until there are no more viewers; the database is asked in a thread of the feed's."""
        async with ThreadSensitiveContext():
            self._context = copy_context()
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._run())
                    group.create_task(self._tick())
            finally:
                for reading in self._reading:
                    reading.cancel()
                await sync_to_async(connections.close_all)()

    async def _run(self) -> None:
        retry_in = _RETRY_FIRST
        while self.viewers:  # a group loses a cancellation when a task of its own fails meanwhile
            began = monotonic()
            try:
                await self._work()
            except* RedisUnavailable as errors:
                words = {"channels": len(self._channels), "error": str(errors.exceptions[0])}
                logger.warning("live_read_failed", extra=words)
            except* Exception:
                # Whatever it is: viewers wait for it, and it may pass.
                logger.exception("live_read_failed", extra={"channels": len(self._channels)})
            finally:
                self._control, self._group, self._readers = None, None, []
                self._doubted = asyncio.Queue()
                for channel in {viewer.channel for viewer in self.viewers}:
                    channel.doubt()
                    self._doubted.put_nowait(channel)
            retry_in = _RETRY_FIRST if monotonic() - began > _RETRY_LAST else retry_in
            await asyncio.sleep(retry_in)
            retry_in = min(retry_in * 2, _RETRY_LAST)

    async def _work(self) -> None:
        client = get_async_redis()
        self._control = control = Control(await PinnedConnection.open(client))
        try:
            await control.confirm()
            async with asyncio.TaskGroup() as group:
                self._group = group
                for worker in [self._compare_doubted] * _AT_ONCE + [self._ask_about]:
                    group.create_task(worker(control))
        finally:
            await control.close()

    async def _compare_doubted(self, control: Control) -> None:
        while True:
            raise_lost_cancellation(0)
            channel = await self._doubted.get()
            if not channel.viewers:
                continue
            try:
                await verify_continuity(channel, control.confirm)
            except RedisUnavailable:
                raise
            except Exception as error:  # noqa: BLE001 - its viewers are told
                channel.fail(error)
            else:
                await self._read_on(channel, control)
                self._ask_if_told(channel)

    async def _read_on(self, channel: Topic, control: Control) -> None:
        for reader in self._readers:
            if channel.key in reader.channels:  # it, or one before it that nobody views any more
                reader.add(channel)
                return
        loads = [len(reader.channels) for reader in self._readers]
        if loads and (min(loads) < MOST_STREAMS or len(loads) >= _MOST_READERS):
            self._readers[loads.index(min(loads))].add(channel)
            return
        client = get_async_redis()
        reader = Reader(control, block_ms(client), doubt=self.doubt, added=self._ask_if_told)
        reader.add(channel)
        self._readers.append(reader)
        if self._group is not None:
            self._group.create_task(reader.run(await PinnedConnection.open(client)))

    # Whether jobs are over

    def _ask_if_told(self, channel: Topic) -> None:
        completion, last = channel.completion, channel.last
        if completion is not None and last is not None and completion.is_terminal(last):
            self._ask(channel)

    def _ask(self, channel: Topic) -> None:
        """Ask soon whether the job is over."""
        self._to_ask[channel] = None
        self._asking.set()

    async def _ask_about(self, control: Control) -> None:
        while True:
            raise_lost_cancellation(0)
            await self._asking.wait()
            self._asking.clear()
            channels, self._to_ask = list(self._to_ask), {}
            for completion in {channel.completion for channel in channels}:
                of_one = [
                    c
                    for c in channels
                    if c.completion is completion and c.is_read and not c.is_done
                ]
                if completion is None or not of_one:
                    continue
                try:
                    over = await completion.completed({c.job_id: c.last for c in of_one})
                except Exception:  # the database is away: it is asked again
                    logger.exception("end_not_known")
                    continue
                for channel in of_one:
                    if channel.job_id in over:
                        await self._end(channel, control)

    async def _end(self, channel: Topic, control: Control) -> None:
        """What was appended before it was over may still be unread."""
        while channel.is_read:
            try:
                events = await aread_events(channel.job_id, after=channel.head, limit=_PAGE)
            except RedisUnavailable:
                raise
            except Exception as error:  # noqa: BLE001 - its viewers are told
                channel.fail(error)
                return
            await control.confirm()
            if not events and channel.is_read:
                channel.end()
                return
            if channel.is_read:
                channel.add(events)

    # What is to be done now and then

    async def _tick(self) -> None:
        asked_at = monotonic()
        while True:
            quiet = event_settings.KEEP_ALIVE
            tick = min(_TICK, quiet / 4)
            await asyncio.sleep(tick)
            now = monotonic()
            for viewer in list(self.viewers):
                viewer.tick(now, quiet - tick, event_settings.SEND_TIMEOUT)
            for channel in list(self._channels.values()):
                _tidy(channel, now)
            ask_again = min(_ASK_AGAIN, quiet)
            if now >= asked_at + ask_again:
                asked_at = now
                self._ask_of_quiet(now - ask_again)

    def _ask_of_quiet(self, since: float) -> None:
        for channel in self._channels.values():
            if channel.completion is not None and channel.is_read and channel.quiet_since < since:
                self._ask(channel)


hubs: Final = PerLoop[Hub]()


def _tidy(channel: Topic, now: float) -> None:
    """Forget what nobody is likely to want any more."""
    for key in [key for key, page in channel.pages.items() if now > page.read_at + _PAGE_LASTS]:
        del channel.pages[key]
    if now > channel.quiet_since + _RING_LASTS:
        channel.ring.keep(0, 0)
