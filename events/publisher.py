"""The publishers: what appends events to a job's stream.

Two siblings over one encoder, each native to its redis-py client. Whatever both do alike stands
in `Publisher`, whose methods return what `publish_event` returns: an id, or an awaitable of one.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from events import commands
from events.codec import EncodedEvent, encode_event, encode_events, text_of
from events.conf import event_settings
from events.connections import (
    aappend,
    aappend_by_script,
    append,
    append_by_script,
    arun,
    get_redis,
    run,
)
from events.exceptions import RedisRefused
from events.keys import StreamKeys
from events.types import EventType

if TYPE_CHECKING:
    import redis
    import redis.asyncio

_Id = TypeVar("_Id")
EventData = Mapping[str, Any]


class Publisher(ABC, Generic[_Id]):
    """The methods of both publishers.

    Every publishing method returns the event's id, `<ms>-<seq>`, and raises InvalidJobId,
    InvalidEvent (EventTooLarge), NotAStream, RedisUnavailable or RedisRefused.
    """

    def __init__(self) -> None:
        self._keys = StreamKeys(event_settings.STREAM_PREFIX)
        self._limit = event_settings.MAX_EVENT_BYTES

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

    def _append(self, job_id: str, event_data: EventData) -> commands.Command:
        return commands.append(
            self._keys.stream(job_id), encode_event(event_data, limit=self._limit)
        )

    def _encode_many(self, events: Iterable[EventData]) -> list[EncodedEvent]:
        """A batch, every event of it encoded before any is sent."""
        return encode_events(events, limit=self._limit)


class SyncRedisStreamPublisher(Publisher[str]):
    """Appends events through a `redis.Redis` client; threads may share it."""

    def __init__(self, redis_client: "redis.Redis") -> None:
        super().__init__()
        self._redis = redis_client

    def publish_event(self, job_id: str, event_data: EventData) -> str:
        """Append one event; a missing `event_type` and `timestamp` are filled in."""
        return text_of(append(self._redis, self._append(job_id, event_data)))

    def publish_encoded(self, job_id: str, event: EncodedEvent) -> str:
        """Append an event that was encoded before, as by a service inside its transaction."""
        return text_of(append(self._redis, commands.append(self._keys.stream(job_id), event)))

    def publish_events(self, job_id: str, events: Iterable[EventData]) -> list[str]:
        """Append events in one round trip, all or, if one is invalid, none; return their ids."""
        key, encoded = self._keys.stream(job_id), self._encode_many(events)
        if not encoded:
            return []
        command = commands.append_many(key, encoded)
        reply = append_by_script(self._redis, commands.APPEND_MANY, command)
        return commands.ids_of_batch(reply, len(encoded))

    def get_stream_info(self, job_id: str) -> dict[str, Any] | None:
        """What Redis says of the stream (XINFO STREAM, as redis-py has it); None without one."""
        try:
            return _info(run(self._redis, commands.info(self._keys.stream(job_id))))
        except RedisRefused as error:
            _refuse_unless_missing(error)
            return None

    def get_stream_length(self, job_id: str) -> int:
        """How many events the stream has; 0 where there is none."""
        return int(run(self._redis, commands.length(self._keys.stream(job_id))))


class RedisStreamPublisher(Publisher[Awaitable[str]]):
    """Appends events through a `redis.asyncio.Redis` client; every method is awaited."""

    def __init__(self, redis_client: "redis.asyncio.Redis") -> None:
        super().__init__()
        self._redis = redis_client

    async def publish_event(self, job_id: str, event_data: EventData) -> str:
        """Append one event; a missing `event_type` and `timestamp` are filled in."""
        return text_of(await aappend(self._redis, self._append(job_id, event_data)))

    async def publish_events(self, job_id: str, events: Iterable[EventData]) -> list[str]:
        """Append events in one round trip, all or, if one is invalid, none; return their ids."""
        key, encoded = self._keys.stream(job_id), self._encode_many(events)
        if not encoded:
            return []
        command = commands.append_many(key, encoded)
        reply = await aappend_by_script(self._redis, commands.APPEND_MANY, command)
        return commands.ids_of_batch(reply, len(encoded))

    async def get_stream_info(self, job_id: str) -> dict[str, Any] | None:
        """What Redis says of the stream (XINFO STREAM, as redis-py has it); None without one."""
        try:
            return _info(await arun(self._redis, commands.info(self._keys.stream(job_id))))
        except RedisRefused as error:
            _refuse_unless_missing(error)
            return None

    async def get_stream_length(self, job_id: str) -> int:
        """How many events the stream has; 0 where there is none."""
        return int(await arun(self._redis, commands.length(self._keys.stream(job_id))))


def get_publisher() -> SyncRedisStreamPublisher:
    """A sync publisher to the project's Redis, for tasks, services and signal receivers."""
    return SyncRedisStreamPublisher(get_redis())


def _info(reply: Mapping[Any, Any]) -> dict[str, Any]:
    return {text_of(name): value for name, value in reply.items()}


def _refuse_unless_missing(error: RedisRefused) -> None:
    if "no such key" not in str(error):
        raise error
