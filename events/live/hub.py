"""Hub of an event loop: reads each stream with subscribers once, for all of them.

A *session* lasts as long as the connections of its stream readers. When one is lost, Redis may
have restarted with less data: the next session verifies every topic before it delivers anything.
A topic is verified while its reader's connection is open, so that a restart after that ends the
session, too.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from contextvars import Context, copy_context
from functools import partial
from time import monotonic
from typing import Any, Final

from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.db import Error, connections

from events.archive.losses import record_delivered
from events.conf import event_settings
from events.database import UNAVAILABLE
from events.exceptions import RedisUnavailable
from events.history.reader import aread_events
from events.live.completion import CompletionQueries
from events.live.continuity import verify_continuity
from events.live.stream_reader import ClusterStreamReader, StreamReader
from events.live.tasks import Tasks
from events.live.threads import in_database_thread
from events.live.topic import Completion, Topic, TopicSubscriber
from events.log_format import log_failure
from events.metrics.instruments import DELIVERY_LAG, Counts
from events.per_loop import LoopService, PerLoop
from events.streams.clients import get_async_redis
from events.streams.cluster import find_node
from events.streams.keys import StreamKeys
from events.types import Cursor, Event

logger = logging.getLogger(__name__)

_MIN_RETRY_SECONDS: Final = 0.1
_MAX_RETRY_SECONDS: Final = 5.0
DATABASE_RETRY_SECONDS: Final = 1.0
SLOT_RETRY_SECONDS: Final = 0.1
_MAX_CONCURRENT_READS: Final = 8  # of history
_VERIFIED_EVENTS: Final = 32
_UNSETTLED_EVENTS: Final = 100
_TICK_SECONDS: Final = 1.0
_COMPLETION_QUERY_SECONDS: Final = 5.0
# When a server shuts down, its subscribers reconnect after this delay, spread over time.
_RECONNECT_MS: Final = 500
_RECONNECT_SPREAD_MS: Final = 2  # per subscriber


class Hub(LoopService[TopicSubscriber]):
    """The topics of an event loop; runs while there are subscribers."""

    is_shutting_down = False  # the process has received a signal

    def __init__(self, forget: Callable[[], None]) -> None:
        super().__init__(forget)
        self.is_closing = self.is_shutting_down
        self.lag = Counts()  # of deliveries since the last tick
        self._topics: dict[str, Topic] = {}
        self._unverified: asyncio.Queue[Topic] = asyncio.Queue()
        self._readers: list[StreamReader] = []
        self._completions = CompletionQueries(self._finish)
        self._page_slots = asyncio.Semaphore(_MAX_CONCURRENT_READS)
        self._page_tasks: set[asyncio.Task[list[Event]]] = set()
        self._context: Context | None = None

    # Subscribers

    def join(
        self, subscriber: TopicSubscriber, job_id: str, completion: Completion | None
    ) -> Topic:
        """Add a subscriber to the topic of a job; raises InvalidJobId."""
        topic = self._topics.get(job_id)
        if topic is None or topic.is_done:
            key = StreamKeys(event_settings.STREAM_PREFIX).stream(job_id)
            topic = self._topics[job_id] = Topic(job_id, key)
            self._unverified.put_nowait(topic)
        if completion is not None:
            topic.completion = completion
        topic.subscribers.add(subscriber)
        self.add(subscriber)
        return topic

    async def leave(self, subscriber: TopicSubscriber) -> None:
        """Remove a subscriber; the hub ends with the last one."""
        topic = subscriber.topic
        topic.remove(subscriber)
        if not topic.subscribers and self._topics.get(topic.job_id) is topic:
            del self._topics[topic.job_id]
        if task := self.remove(subscriber):
            await asyncio.wait([task])

    def is_watched(self, job_id: str) -> bool:
        """Whether the log has subscribers and can be read; callable from any thread."""
        topic = self._topics.get(job_id)
        return topic is not None and topic.is_verified and topic.error is None

    def close(self) -> None:
        """Send `Restart` to all subscribers: the server shuts down."""
        self.is_closing = True
        for subscriber in self._members:
            subscriber.wake()

    def retry_ms(self) -> int:
        """Return a random delay in milliseconds before a subscriber reconnects."""
        spread = _RECONNECT_SPREAD_MS * len(self._members)
        return random.randint(_RECONNECT_MS, _RECONNECT_MS + spread)  # noqa: S311

    async def page(self, topic: Topic, after: Cursor, limit: int) -> list[Event]:
        """Return the events after a cursor; subscribers share a page that was read just now.

        Raises CursorLost, and what `aread_events` raises.
        """
        key = after, limit
        if (task := topic.pages.get(key)) is None:
            reading = self._read_page(topic.job_id, after, limit)
            task = topic.pages[key] = asyncio.create_task(reading, context=self._context)
            self._page_tasks.add(task)
            task.add_done_callback(self._page_was_read)
        events: list[Event] = []
        try:
            events = await asyncio.shield(task)
        finally:
            if not events:  # failed, or the next event may be appended at any time
                topic.pages.pop(key, None)
        return events

    def _page_was_read(self, task: asyncio.Task[list[Event]]) -> None:
        self._page_tasks.discard(task)
        if not task.cancelled():
            task.exception()  # its subscribers may have left; asyncio would log the exception

    async def _read_page(self, job_id: str, after: Cursor, limit: int) -> list[Event]:
        async with self._page_slots:
            return await aread_events(job_id, after=after, limit=limit, strict=True)

    # Sessions

    async def _run(self) -> None:
        """Run until cancelled; database queries use a thread of the hub's own."""
        async with ThreadSensitiveContext():
            self._context = copy_context()
            tasks = Tasks()
            tasks.add(self._supervise())
            tasks.add(self._tick())
            try:
                await tasks.wait()
            finally:
                self._count_lag()
                for task in self._page_tasks:
                    task.cancel()
                await sync_to_async(connections.close_all)()

    async def _supervise(self) -> None:
        retry_in = _MIN_RETRY_SECONDS
        while True:
            began = monotonic()
            try:
                await self._session()
            except Exception as error:  # noqa: BLE001 - it may pass; the subscribers wait
                log_failure(logger, "live_read_failed", error, topics=len(self._topics))
            finally:
                self._invalidate_all()
            retry_in = _MIN_RETRY_SECONDS if monotonic() - began > _MAX_RETRY_SECONDS else retry_in
            await asyncio.sleep(retry_in)
            retry_in = min(retry_in * 2, _MAX_RETRY_SECONDS)

    async def _session(self) -> None:
        tasks = Tasks()
        tasks.add(self._completions.run())
        for _ in range(_MAX_CONCURRENT_READS):
            tasks.add(self._verify_topics(tasks))
        await tasks.wait()

    def _invalidate_all(self) -> None:
        self._readers, self._unverified = [], asyncio.Queue()
        for topic in {subscriber.topic for subscriber in self._members}:
            topic.invalidate()
            topic.is_ending = False
            self._unverified.put_nowait(topic)

    # Continuity

    def invalidate(self, topic: Topic, *, is_head_missing: bool = False) -> None:
        """Stop delivery of a topic until its continuity is verified."""
        if topic.is_verified:
            topic.invalidate(is_head_missing=is_head_missing)
            self._unverified.put_nowait(topic)

    async def _verify_topics(self, tasks: Tasks) -> None:
        while True:
            topic = await self._unverified.get()
            if topic.is_done:  # not read any more, but a subscriber catches up
                await self._verify(topic)
            elif topic.subscribers:
                node = await find_node(get_async_redis(), topic.key)
                reader = self._reader_of(topic, node, tasks)
                await reader.is_open.wait()  # before the log is read: see the module
                await self._verify(topic)
                reader.interrupt()

    async def _verify(self, topic: Topic) -> None:
        is_settled = monotonic() > topic.unsettled_until
        limit = _VERIFIED_EVENTS if is_settled else _UNSETTLED_EVENTS

        async def read_before(before: Cursor | None) -> list[Event]:
            events = await aread_events(topic.job_id, before=before, limit=limit, order="desc")
            return events[::-1]

        try:
            end = await verify_continuity(topic.delivered, read_before, limit)
            lost = topic.delivered.stream_first_after(end.common)
            topic.resume(end)
        except RedisUnavailable:
            raise
        except UNAVAILABLE as error:
            log_failure(logger, "live_verification_deferred", error, job_id=topic.job_id)
            loop = asyncio.get_running_loop()
            loop.call_later(DATABASE_RETRY_SECONDS, self._unverified.put_nowait, topic)
        except Exception as error:  # noqa: BLE001 - raised in the subscribers
            topic.fail(error)
        else:
            self._completions.add_if_terminal(topic)
            if lost:
                await _record_loss(topic.job_id, end.common, lost)

    def _reader_of(self, topic: Topic, node: Any, tasks: Tasks) -> StreamReader:
        readers = [each for each in self._readers if each.accepts(topic, node)]
        readers.sort(key=lambda reader: topic.key not in reader.topics)
        if not readers:
            appended = self._completions.add_if_terminal
            head_missing = partial(self.invalidate, is_head_missing=True)
            readers = [
                ClusterStreamReader(appended, head_missing, self._move, node)
                if node
                else StreamReader(appended, head_missing)
            ]
            self._readers += readers
            tasks.add(readers[0].run())
        readers[0].topics[topic.key] = topic
        return readers[0]

    def _move(self, topic: Topic) -> None:
        """The slot of a topic moves to another node: verify until that node serves it.

        Reading history meanwhile updates the client's map of the slots.
        """
        topic.invalidate()
        loop = asyncio.get_running_loop()
        loop.call_later(SLOT_RETRY_SECONDS, self._unverified.put_nowait, topic)

    def _finish(self, topic: Topic) -> None:
        """The job is finished: verify that the log was read to its end, and end the topic."""
        if topic.is_verified:  # a verification that has begun may have read too early
            topic.is_ending = True
            self.invalidate(topic)

    async def _tick(self) -> None:
        queried_at = monotonic()
        while True:
            keep_alive = event_settings.KEEP_ALIVE
            tick = min(_TICK_SECONDS, keep_alive / 4)
            await asyncio.sleep(tick)
            now = monotonic()
            self._count_lag()
            for subscriber in list(self._members):
                subscriber.tick(now, keep_alive - tick, event_settings.SEND_TIMEOUT)
            for topic in self._topics.values():
                topic.tidy(now)
                if topic.unsettled_until > now:
                    self.invalidate(topic)
            interval = min(_COMPLETION_QUERY_SECONDS, keep_alive)
            if now >= queried_at + interval:
                queried_at = now
                self._completions.add_quiet(self._topics.values(), now - interval)

    def _count_lag(self) -> None:
        counts, self.lag = self.lag, Counts()
        DELIVERY_LAG.add_counts(counts)


async def _record_loss(job_id: str, after: Cursor, lost: list[Cursor]) -> None:
    """Record for `process_events` what subscribers have received and Redis has lost."""
    try:
        await in_database_thread(record_delivered, job_id, after, lost)
    except Error as error:
        log_failure(logger, "loss_not_recorded", error, job_id=job_id, after=after, ids=lost)


hubs: Final = PerLoop[Hub]()
