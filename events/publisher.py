"""The publishers: what appends events to a job's stream.

Two siblings over one encoder, each native to its redis-py client. Whatever both do alike stands
in `Publisher`, whose methods return what `publish_event` returns: an id, or an awaitable of one.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from events.codec import encode_event, encode_events
from events.conf import event_settings
from events.exceptions import RedisCommandError
from events.producer.batch import Call, given, is_unanswered
from events.producer.sender import AsyncLines, Lines
from events.streams import commands
from events.streams.clients import arun, get_redis, run
from events.streams.keys import StreamKeys
from events.types import EventType

if TYPE_CHECKING:
    import redis
    import redis.asyncio

_Id = TypeVar("_Id")
EventData = Mapping[str, Any]


class Publisher(ABC, Generic[_Id]):
    """The methods of both publishers.

    Every publishing method returns the event's id, `<ms>-<seq>`, and raises InvalidJobId,
    InvalidEvent (EventTooLarge), NotAStream, ProducerFenced, RedisUnavailable or RedisCommandError.

    What is published is in the stream once, however often a connection is lost on the way. After
    RedisUnavailable, or when an await was cancelled, it may be there or not; publish the same
    again within a minute, by any publisher of the client, and it is there once.

    `epoch` is the attempt of the job for which the publisher works; 0 if it works for whichever.
    Once the job is at a later attempt, an earlier one is refused by ProducerFenced.
    """

    def __init__(self, epoch: int = 0) -> None:
        self._epoch = epoch
        self._keys = StreamKeys(event_settings.STREAM_PREFIX)
        self._limit = event_settings.MAX_EVENT_BYTES

    @property
    def max_event_bytes(self) -> int:
        """How many bytes of JSON an event may have."""
        return self._limit

    @abstractmethod
    def publish_event(self, job_id: str, event_data: EventData) -> _Id:
        """Append one event; a missing `event_type` and `timestamp` are filled in."""

    def publish_task_started(self, job_id: str, task_type: str, **kwargs: Any) -> _Id:
        """Say that a worker began a task."""
        return self._publish_task(
            job_id, EventType.TASK_STARTED, task_type, {"status": "started", **kwargs}
        )

    def publish_task_progress(
        self, job_id: str, task_type: str, progress: float | str, **kwargs: Any
    ) -> _Id:
        """Say how far a task is: a number from 0 to 100, or words."""
        return self._publish_task(
            job_id,
            EventType.TASK_PROGRESS,
            task_type,
            {"status": "running", "progress": progress, **kwargs},
        )

    def publish_task_completed(
        self, job_id: str, task_type: str, result: Any = None, **kwargs: Any
    ) -> _Id:
        """Say that a task is done, with its result."""
        return self._publish_task(
            job_id,
            EventType.TASK_COMPLETED,
            task_type,
            {"status": "completed", "result": result, **kwargs},
        )

    def publish_task_failed(self, job_id: str, task_type: str, error: str, **kwargs: Any) -> _Id:
        """Say that a task failed, and why."""
        return self._publish_task(
            job_id, EventType.TASK_FAILED, task_type, {"status": "failed", "error": error, **kwargs}
        )

    def publish_outline_generated(self, job_id: str, outline: Any) -> _Id:
        """Publish the outline that a task made."""
        return self.publish_event(
            job_id, {"event_type": EventType.OUTLINE_GENERATED, "outline": outline}
        )

    def publish_document_generated(self, job_id: str, document: Any) -> _Id:
        """Publish the document that a task made."""
        return self.publish_event(
            job_id, {"event_type": EventType.DOCUMENT_GENERATED, "document": document}
        )

    def _publish_task(
        self, job_id: str, event_type: EventType, task_type: str, data: dict[str, Any]
    ) -> _Id:
        return self.publish_event(
            job_id, {"event_type": event_type, "task_type": task_type, **data}
        )

    def _call(self, job_id: str, event_data: EventData) -> Call:
        keys = self._keys.pair(job_id)
        return Call(keys, self._epoch, [encode_event(event_data, limit=self._limit)])

    def _call_of_many(self, job_id: str, events: Sequence[EventData]) -> Call:
        """A batch, every event of it encoded before any is sent."""
        keys = self._keys.pair(job_id)
        return Call(keys, self._epoch, encode_events(events, limit=self._limit))


class SyncRedisStreamPublisher(Publisher[str]):
    """Appends events through a `redis.Redis` client; threads may share it."""

    def __init__(self, redis_client: "redis.Redis", *, epoch: int = 0) -> None:
        super().__init__(epoch)
        self._redis = redis_client
        self._lines = Lines.of(redis_client)

    def publish_event(self, job_id: str, event_data: EventData) -> str:
        """Append one event; a missing `event_type` and `timestamp` are filled in."""
        return self._publish(self._call(job_id, event_data), (event_data,))[0]

    def publish_events(self, job_id: str, events: Iterable[EventData]) -> list[str]:
        """Append events in one round trip, all or, if one is invalid, none; return their ids."""
        data = list(events)
        call = self._call_of_many(job_id, data)
        return self._publish(call, data) if data else []

    def _publish(self, call: Call, data: Sequence[EventData]) -> list[str]:
        lines = self._lines.of_process()
        unsettled = lines.unsettled
        if unsettled and (earlier := unsettled.recall(given(call, data))):
            ids = lines.resolve(self._redis, earlier)
            if ids is not None:
                return ids
        try:
            return lines.publish(self._redis, call)
        except BaseException as error:
            if is_unanswered(error):
                unsettled.remember(given(call, data), call)
            raise

    def get_stream_info(self, job_id: str) -> dict[str, Any] | None:
        """What Redis says of the stream (XINFO STREAM, as redis-py has it); None without one."""
        try:
            reply = run(self._redis, commands.info(self._keys.stream(job_id)))
        except RedisCommandError as error:
            _refuse_unless_missing(error)
            return None
        return commands.fields_of_info(reply)

    def get_stream_length(self, job_id: str) -> int:
        """How many events the stream has; 0 where there is none."""
        return int(run(self._redis, commands.length(self._keys.stream(job_id))))


class RedisStreamPublisher(Publisher[Awaitable[str]]):
    """Appends events through a `redis.asyncio.Redis` client; every method is awaited."""

    def __init__(self, redis_client: "redis.asyncio.Redis", *, epoch: int = 0) -> None:
        super().__init__(epoch)
        self._redis = redis_client
        self._lines = AsyncLines.of(redis_client)

    async def publish_event(self, job_id: str, event_data: EventData) -> str:
        """Append one event; a missing `event_type` and `timestamp` are filled in."""
        return (await self._publish(self._call(job_id, event_data), (event_data,)))[0]

    async def publish_events(self, job_id: str, events: Iterable[EventData]) -> list[str]:
        """Append events in one round trip, all or, if one is invalid, none; return their ids."""
        data = list(events)
        call = self._call_of_many(job_id, data)
        return await self._publish(call, data) if data else []

    async def _publish(self, call: Call, data: Sequence[EventData]) -> list[str]:
        line = self._lines.running_loop()
        unsettled = line.unsettled
        if unsettled and (earlier := unsettled.recall(given(call, data))):
            ids = await line.resolve(self._redis, earlier)
            if ids is not None:
                return ids
        try:
            return await line.publish(self._redis, call)
        except BaseException as error:
            if is_unanswered(error):
                unsettled.remember(given(call, data), call)
            raise

    async def get_stream_info(self, job_id: str) -> dict[str, Any] | None:
        """What Redis says of the stream (XINFO STREAM, as redis-py has it); None without one."""
        try:
            reply = await arun(self._redis, commands.info(self._keys.stream(job_id)))
        except RedisCommandError as error:
            _refuse_unless_missing(error)
            return None
        return commands.fields_of_info(reply)

    async def get_stream_length(self, job_id: str) -> int:
        """How many events the stream has; 0 where there is none."""
        return int(await arun(self._redis, commands.length(self._keys.stream(job_id))))


def get_publisher(*, epoch: int = 0) -> SyncRedisStreamPublisher:
    """A sync publisher to the project's Redis, for tasks, services and signal receivers."""
    return SyncRedisStreamPublisher(get_redis(), epoch=epoch)


def _refuse_unless_missing(error: RedisCommandError) -> None:
    if commands.NO_STREAM not in str(error):
        raise error
