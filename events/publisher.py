"""The publishers: they append events to the streams of jobs.

Two siblings over one encoder, each native to its redis-py client. `Publisher` has the methods that
both share; they return what `publish_event` returns: an id, or an awaitable of one.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Generic, SupportsFloat, TypeVar

from events.codec import encode_event, encode_events
from events.conf import event_settings
from events.error_report import redacted_error
from events.exceptions import EventsError, InvalidEvent, RedisCommandError
from events.json_values import event_of_values, number
from events.log_format import log_failure
from events.metrics.instruments import PUBLISH_ERRORS, error_label
from events.producer.batch import PendingAppend, retried
from events.producer.external import idempotency_id
from events.producer.sender import async_sender, senders_of, sync_sender
from events.span_events import SpanEvents
from events.spans import span_context
from events.streams import commands
from events.streams.clients import arun, get_redis, run
from events.streams.keys import StreamKeys
from events.streams.pubsub import mirror_channel
from events.types import EventType, check_job_id

if TYPE_CHECKING:
    import redis
    import redis.asyncio

logger = logging.getLogger(__name__)

_Id = TypeVar("_Id")
EventData = Mapping[str, Any]


class Publisher(ABC, Generic[_Id]):
    """The methods of both publishers.

    `publish_event` and `publish_events` take JSON. The other methods take any values: what JSON
    cannot represent is converted, and what is too long is shortened.

    Every publishing method returns the event's id, `<ms>-<seq>`, and raises InvalidJobId,
    InvalidEvent (EventTooLarge), NotAStream, ProducerFenced, LogDeleted, RedisUnavailable or
    RedisCommandError (RedisNotWritable).

    A publisher repeats an append after a lost connection; the event is in the log once. After
    RedisUnavailable it is in the log once or not at all: pass the error's `pending` to `retry`.
    Publishing the same data again is another event, unless both calls have the same
    `idempotency_key`.

    `epoch` is the job's attempt that the publisher works for, 0 for none in particular. Publishers
    of an earlier attempt are fenced: they raise ProducerFenced.
    """

    _kind: ClassVar[str]  # in metrics

    def __init__(self, epoch: int = 0) -> None:
        self._epoch = epoch
        self._keys = StreamKeys(event_settings.STREAM_PREFIX)
        self.max_event_bytes = event_settings.MAX_EVENT_BYTES

    @abstractmethod
    def publish_event(
        self, job_id: str, event_data: EventData, *, idempotency_key: str | None = None
    ) -> _Id:
        """Append one event; a missing `event_type` and `timestamp` are filled in.

        `idempotency_key` is text of 1 to 200 characters. A later call with the same key for the
        job, also in another process, appends nothing and returns the id of the first; with other
        data it raises IdempotencyConflict. A timestamp that is filled in does not count as data.
        Redis keeps a key for at least two hours after its last use.
        """

    def publish_task_started(self, job_id: str, task_type: str, **kwargs: Any) -> _Id:
        data = {"status": "started", **kwargs}
        return self._publish_task(job_id, EventType.TASK_STARTED, task_type, data)

    def publish_task_progress(
        self, job_id: str, task_type: str, progress: SupportsFloat | str, **kwargs: Any
    ) -> _Id:
        """Publish the progress of a task: a number from 0 to 100, or text."""
        data = {"status": "running", "progress": number(progress), **kwargs}
        return self._publish_task(job_id, EventType.TASK_PROGRESS, task_type, data)

    def publish_task_completed(
        self, job_id: str, task_type: str, result: Any = None, **kwargs: Any
    ) -> _Id:
        data = {"status": "completed", "result": result, **kwargs}
        return self._publish_task(job_id, EventType.TASK_COMPLETED, task_type, data)

    def publish_task_failed(
        self, job_id: str, task_type: str, error: str | BaseException, **kwargs: Any
    ) -> _Id:
        text = redacted_error(error) if issubclass(type(error), BaseException) else error
        data = {"status": "failed", "error": text, **kwargs}
        return self._publish_task(job_id, EventType.TASK_FAILED, task_type, data)

    def publish_outline_generated(self, job_id: str, outline: Any) -> _Id:
        return self._publish(job_id, EventType.OUTLINE_GENERATED, {"outline": outline})

    def publish_document_generated(self, job_id: str, document: Any) -> _Id:
        return self._publish(job_id, EventType.DOCUMENT_GENERATED, {"document": document})

    @abstractmethod
    def span(self, job_id: str, name: str, **data: Any) -> Any:
        """Publish `span_started` and `span_finished` around the body of a `with` statement.

        Returns a context manager, of the async publisher for `async with`; its value is the run_id.
        `data` are any values, added to the first event. Spans in the body are children of this one,
        as are graphs, and asyncio tasks started there. An exception of the body is recorded and
        raised, even if the end cannot be published, which is logged then.
        """

    def _span_events(self, job_id: str, name: str, data: EventData) -> SpanEvents:
        return SpanEvents(check_job_id(job_id), name, data, self.max_event_bytes)

    def _publish_task(
        self, job_id: str, event_type: EventType, task_type: str, data: dict[str, Any]
    ) -> _Id:
        return self._publish(job_id, event_type, {"task_type": task_type, **data})

    def _publish(self, job_id: str, event_type: EventType, data: dict[str, Any]) -> _Id:
        event = event_of_values({"event_type": event_type, **data}, self.max_event_bytes)
        return self.publish_event(job_id, event)

    def _encoded(
        self, job_id: str, data: Sequence[EventData], key: str | None, *, is_list: bool = False
    ) -> PendingAppend:
        keys, limit = self._keys.pair(job_id), self.max_event_bytes
        try:
            if is_list:
                events = encode_events(data, limit=limit)
            else:
                events = [encode_event(data[0], limit=limit)]
        except InvalidEvent as error:
            PUBLISH_ERRORS.add(1, self._kind, error_label(error))
            raise
        key_id = "" if key is None else idempotency_id(key, data)
        return PendingAppend(keys, self._epoch, events, is_list, key_id, mirror_channel(job_id))


class SyncRedisStreamPublisher(Publisher[str]):
    """Appends events through a `redis.Redis` client; threads may share it.

    An exception that a signal handler raises, such as Celery's SoftTimeLimitExceeded, may end a
    call whose append was sent: the event is then in the log once or not at all. Pass
    `idempotency_key` to calls that may be repeated after it.
    """

    _kind = "sync"

    def __init__(self, redis_client: "redis.Redis", *, epoch: int = 0) -> None:
        super().__init__(epoch)
        self._redis = redis_client
        self._senders = senders_of(redis_client)

    def publish_event(
        self, job_id: str, event_data: EventData, *, idempotency_key: str | None = None
    ) -> str:
        append = self._encoded(job_id, (event_data,), idempotency_key)
        return sync_sender(self._senders).append(self._redis, append)[0]

    def publish_events(
        self, job_id: str, events: Iterable[EventData], *, idempotency_key: str | None = None
    ) -> list[str]:
        """Append events in one round trip, all or, if one is invalid, none; return their ids.

        One `idempotency_key` stands for all of them; see `Publisher.publish_event`.
        """
        data = list(events)
        append = self._encoded(job_id, data, idempotency_key, is_list=True)
        return sync_sender(self._senders).append(self._redis, append) if data else []

    @contextmanager
    def span(self, job_id: str, name: str, **data: Any) -> Iterator[str]:
        events = self._span_events(job_id, name, data)
        try:
            self.publish_event(job_id, events.start())
            with span_context(job_id, events.run_id):
                events.is_started = True
                yield events.run_id
        except BaseException as error:
            # An interrupted publish of the start is sent.
            if events.is_started or not isinstance(error, EventsError):
                with _logged_failure(job_id):
                    self.publish_event(job_id, events.end(error))
            raise
        self.publish_event(job_id, events.end())

    def retry(self, pending: PendingAppend) -> str | list[str]:
        """Send the append of a RedisUnavailable again; return what the publish would have returned.

        `pending` is the attribute of the error. The same numbered append is sent: if it was made,
        its ids are returned, else it is made now. Any publisher may retry, in any thread, event
        loop or fork, repeatedly, and for each event of a batch. Raises RetryExpired an hour after
        the publish, without sending; and what the publish raises.
        """
        append = retried(pending)
        ids = append.ids or sync_sender(self._senders).append(self._redis, append)
        return ids if append.is_list else ids[0]

    def get_stream_info(self, job_id: str) -> dict[str, Any] | None:
        """Return the reply to XINFO STREAM as redis-py parses it; None without a stream."""
        try:
            reply = run(self._redis, commands.info(self._keys.stream(job_id)))
        except RedisCommandError as error:
            if commands.NO_STREAM in str(error):
                return None
            raise
        return commands.fields_of_info(reply)

    def get_stream_length(self, job_id: str) -> int:
        """Return the number of events in the stream; 0 without one."""
        return int(run(self._redis, commands.length(self._keys.stream(job_id))))


class RedisStreamPublisher(Publisher[Awaitable[str]]):
    """Appends events through a `redis.asyncio.Redis` client; every method is awaited.

    Cancelling an await does not cancel the append: it is sent, and repeated if the connection is
    lost, but its outcome is unknown to the caller. The event is in the log once or not at all. Pass
    `idempotency_key` to calls that may be repeated after a cancellation or a timeout.
    """

    _kind = "async"

    def __init__(self, redis_client: "redis.asyncio.Redis", *, epoch: int = 0) -> None:
        super().__init__(epoch)
        self._redis = redis_client
        self._senders = senders_of(redis_client)

    async def publish_event(
        self, job_id: str, event_data: EventData, *, idempotency_key: str | None = None
    ) -> str:
        append = self._encoded(job_id, (event_data,), idempotency_key)
        return (await async_sender(self._senders).append(self._redis, append))[0]

    async def publish_events(
        self, job_id: str, events: Iterable[EventData], *, idempotency_key: str | None = None
    ) -> list[str]:
        """Append events in one round trip; see `SyncRedisStreamPublisher.publish_events`."""
        data = list(events)
        append = self._encoded(job_id, data, idempotency_key, is_list=True)
        return await async_sender(self._senders).append(self._redis, append) if data else []

    @asynccontextmanager
    async def span(self, job_id: str, name: str, **data: Any) -> AsyncIterator[str]:
        events = self._span_events(job_id, name, data)
        try:
            await self.publish_event(job_id, events.start())
            with span_context(job_id, events.run_id):
                events.is_started = True
                yield events.run_id
        except BaseException as error:
            # An interrupted publish of the start is sent.
            if events.is_started or not isinstance(error, EventsError):
                with _logged_failure(job_id):
                    await self.publish_event(job_id, events.end(error))
            raise
        await self.publish_event(job_id, events.end())

    async def retry(self, pending: PendingAppend) -> str | list[str]:
        """Send a failed append again; see `SyncRedisStreamPublisher.retry`."""
        append = retried(pending)
        ids = append.ids or await async_sender(self._senders).append(self._redis, append)
        return ids if append.is_list else ids[0]

    async def get_stream_info(self, job_id: str) -> dict[str, Any] | None:
        """Async version of `SyncRedisStreamPublisher.get_stream_info`."""
        try:
            reply = await arun(self._redis, commands.info(self._keys.stream(job_id)))
        except RedisCommandError as error:
            if commands.NO_STREAM in str(error):
                return None
            raise
        return commands.fields_of_info(reply)

    async def get_stream_length(self, job_id: str) -> int:
        return int(await arun(self._redis, commands.length(self._keys.stream(job_id))))


@contextmanager
def _logged_failure(job_id: str) -> Iterator[None]:
    """Log an exception of the body, which must not replace the one being handled."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - logged
        log_failure(logger, "span_end_not_published", error, job_id=job_id)


def get_publisher(*, epoch: int = 0) -> SyncRedisStreamPublisher:
    """Return a sync publisher to the project's Redis, for tasks, services and signal receivers."""
    return SyncRedisStreamPublisher(get_redis(), epoch=epoch)
