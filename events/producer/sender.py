"""Senders: the appends of one client, numbered and sent in batches.

All publishers of a client share its senders: a publisher per task costs neither a connection nor a
field of the state in Redis.
"""

import asyncio
import os
from collections import deque
from collections.abc import AsyncGenerator
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from events.exceptions import EventsError, RedisUnavailable
from events.metrics.instruments import (
    PUBLISH_ERRORS,
    PUBLISHED_ASYNC,
    PUBLISHED_SYNC,
    error_label,
)
from events.producer.batch import (
    AppendBatch,
    LastAcked,
    PendingAppend,
    ProducerState,
    batches_of,
    number,
)
from events.streams.pinned import acquire, can_reserve, release, reserve_connection
from events.streams.retry import asend_commands, close_connection, raised, send_commands

if TYPE_CHECKING:
    import redis
    import redis.asyncio

# The connections that the threads of a process reserve between calls.
MAX_RESERVED_CONNECTIONS: Final = 4
# Redis serves no other client while it runs a batch.
MAX_BATCH_APPENDS: Final = 500
LOOP_END_TIMEOUT_SECONDS: Final = 5.0
IDLE_SECONDS: Final = 10.0

Batches = dict[AppendBatch, list[PendingAppend]]


def senders_of(client: Any) -> dict[Any, Any]:
    """Return the senders of a client, by process, and by event loop for an async client.

    They are an attribute of the pool and released with it. In a dictionary with weak keys they
    would keep the pool alive: their connections refer to it.
    """
    pool = getattr(client, "connection_pool", client)
    senders: dict[Any, Any] = vars(pool).setdefault("_job_events_senders", {})
    return senders


def sync_sender(senders: dict[Any, Any]) -> "SyncSender":
    """Return the sender of this process; a fork does not use its parent's."""
    sender: SyncSender = senders.get(os.getpid()) or senders.setdefault(os.getpid(), SyncSender())
    return sender


def async_sender(senders: dict[Any, Any]) -> "AsyncSender":
    """Return the sender of the running event loop."""
    loop = asyncio.get_running_loop()
    sender: AsyncSender | None = senders.get((os.getpid(), loop))
    if sender is None:
        producer = _adopted_producer(senders)
        sender = AsyncSender(loop, producer, is_shared=bool(senders))
        senders[os.getpid(), loop] = sender
    return sender


def _adopted_producer(senders: dict[Any, Any]) -> ProducerState:
    """Return the producer of a closed loop: a new one for each loop would fill the state."""
    producer = None
    for pid, loop in list(senders):
        if pid == os.getpid() and loop.is_closed() and (sender := senders.pop((pid, loop), None)):
            producer = producer if sender.is_sending else sender.producer
    return producer or ProducerState()


class SyncSender:
    """Sends the appends of a sync client in one process; each call has a producer to itself."""

    def __init__(self) -> None:
        self.last_acked = LastAcked()
        # Those with a reserved connection are at the right.
        self._producers: deque[ProducerState] = deque()
        self._max_reserved = 0

    def append(self, client: "redis.Redis", append: PendingAppend) -> list[str]:
        """Append the events of a call and return their ids. Raises EventsError."""
        try:
            ids = self._append(client, append)
        except BaseException as error:
            PUBLISH_ERRORS.add(1, "sync", error_label(error))
            raise
        PUBLISHED_SYNC.add(len(ids))
        return ids

    def _append(self, client: "redis.Redis", append: PendingAppend) -> list[str]:
        producer = None
        try:
            producer = self._take_producer()
            batch = append.batch or number([append], producer, self.last_acked)
            if producer.connection is None:
                producer.connection = acquire(client)
                self._max_reserved = MAX_RESERVED_CONNECTIONS if can_reserve(client) else 0
            (reply,) = send_commands(producer.connection, batch.command)
            raised(reply, RedisUnavailable)
            self._return_producer(client, producer)
        except BaseException as error:
            # A signal handler may raise anywhere. The producer is abandoned: its append may arrive.
            self._release_connection(client, producer)
            if isinstance(error, RedisUnavailable):
                append.fail(error)
            raise
        self.last_acked.acknowledge(batch, raised(reply))
        return append.ids

    def _take_producer(self) -> ProducerState:
        try:
            return self._producers.pop()
        except IndexError:
            return ProducerState()

    def _return_producer(self, client: "redis.Redis", producer: ProducerState) -> None:
        if len(self._producers) < self._max_reserved or self._reserved() < self._max_reserved:
            self._producers.append(producer)
        else:
            self._release_connection(client, producer)
            self._producers.appendleft(producer)

    def _reserved(self) -> int:
        return sum([each.connection is not None for each in list(self._producers)])

    @staticmethod
    def _release_connection(client: "redis.Redis", producer: ProducerState | None) -> None:
        if producer is not None and producer.connection is not None:
            release(client, producer.connection)
            producer.connection = None


class AsyncSender:
    """Sends the appends of an async client in one event loop.

    One round trip is in flight at a time; appends that are made meanwhile form the next batches.
    An idle sender sends in the caller's task, which saves creating one. A background task sends
    what is queued meanwhile, and the batches of a caller that was cancelled.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, producer: ProducerState, *, is_shared: bool
    ) -> None:
        self._loop = loop
        self.producer = producer
        self._is_shared = is_shared
        self._last_acked = LastAcked()
        self._queue: deque[PendingAppend] = deque()
        self.is_sending = self._is_crowded = False
        # The connection has an unread reply, or was opened in another loop.
        self._must_reopen = producer.connection is not None
        self._task: asyncio.Task[None] | None = None
        self._closing: AsyncGenerator[None, None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._was_used = False

    async def append(self, client: "redis.asyncio.Redis", append: PendingAppend) -> list[str]:
        """Append the events of a call and return their ids. Raises EventsError.

        Cancelling the call does not cancel the append.
        """
        self._queue.append(append)
        if self.is_sending:
            append.done = self._loop.create_future()
            await append.done
        else:
            await self._send_directly(client)
        error, append.error = append.error, None  # not a reference cycle: it has the append
        if error is not None:
            raise error
        return append.ids

    async def _send_directly(self, client: "redis.asyncio.Redis") -> None:
        self.is_sending = True
        batches: Batches | None = None
        try:
            if self._is_crowded:
                await asyncio.sleep(0)  # concurrent callers publish again: let them join
            batches = self._next_batches()
            await self._send(client, batches)
            batches = None
        finally:
            if batches or self._queue:
                self._task = self._loop.create_task(self._send_queued(client, batches))
            else:
                self.is_sending = False

    def _next_batches(self) -> Batches:
        """Number the first appends of the queue that may be sent together.

        One without an idempotency key waits behind one with: batches would change their order.
        """
        queue, appends = self._queue, [self._queue.popleft()]
        while queue and len(appends) < MAX_BATCH_APPENDS:
            if appends[-1].key_id and not queue[0].key_id:
                break
            appends.append(queue.popleft())
        self._is_crowded = len(appends) > 1
        return batches_of(appends, self.producer, self._last_acked)

    async def _send_queued(self, client: "redis.asyncio.Redis", batches: Batches | None) -> None:
        try:
            while batches or self._queue:
                batches = batches or self._next_batches()
                await self._send(client, batches)
                batches = None
        except BaseException:  # the loop ends
            self._fail(batches or {}, RedisUnavailable())
            self._fail(batches_of(self._queue, self.producer, self._last_acked), RedisUnavailable())
            self._queue.clear()
            raise
        finally:
            self.is_sending = False

    async def _send(self, client: "redis.asyncio.Redis", batches: Batches) -> None:
        try:
            connection = await self._open_connection(client)
            self._must_reopen = True
            replies = await asend_commands(connection, *[batch.command for batch in batches])
            self._must_reopen = False
        except RedisUnavailable as error:
            self._fail(batches, error)
            return
        for (batch, appends), reply in zip(batches.items(), replies, strict=True):
            if isinstance(reply, EventsError):
                self._fail({batch: appends}, reply)
                continue
            self._last_acked.acknowledge(batch, reply)
            PUBLISHED_ASYNC.add(batch.count)
            for append in appends:
                append.settle()

    def _fail(self, batches: Batches, error: EventsError) -> None:
        """Raise an error to callers; abandon the producer if the batches may still arrive."""
        if isinstance(error, RedisUnavailable):
            self.producer = ProducerState(connection=self.producer.connection)
        PUBLISH_ERRORS.add(sum(map(len, batches.values())), "async", error_label(error))
        for append in chain.from_iterable(batches.values()):
            append.settle(error)

    async def _open_connection(self, client: "redis.asyncio.Redis") -> Any:
        if self.producer.connection is None:
            self.producer.connection = await reserve_connection(client, is_shared=self._is_shared)
        elif self._must_reopen:
            await close_connection(self.producer.connection)
        if self._closing is None:
            self._closing = self._close_with_loop()
            await anext(self._closing)
        self._was_used = True
        self._timer = self._timer or self._loop.call_later(IDLE_SECONDS, self._close_if_idle)
        return self.producer.connection

    def _close_if_idle(self) -> None:
        """Close an unused connection; that of a dropped client would wait for the collector.

        The timer keeps the sender alive as long as the connection is open.
        """
        if self.is_sending or self._was_used:
            self._was_used = False
            self._timer = self._loop.call_later(IDLE_SECONDS, self._close_if_idle)
        else:
            self._timer = None
            self._task = self._loop.create_task(close_connection(self.producer.connection))

    async def _close_with_loop(self) -> AsyncGenerator[None, None]:
        """Finish appends and close the connection when the loop closes its async generators."""
        try:
            yield
        finally:
            if self._task is not None and not self._task.done():
                await asyncio.wait([self._task], timeout=LOOP_END_TIMEOUT_SECONDS)
            await close_connection(self.producer.connection)
