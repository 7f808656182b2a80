"""Task runs: one delivery of a task of a job to a worker, and its API for the code of the task."""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from time import monotonic
from typing import Any, Final, SupportsFloat

from django.core.exceptions import SynchronousOnlyOperation

from events.error_report import redacted_traceback
from events.exceptions import (
    InputPending,
    InvalidEvent,
    JobCancelled,
    LogDeleted,
    ProducerFenced,
    RedisCommandError,
    RedisUnavailable,
)
from events.publisher import RedisStreamPublisher, SyncRedisStreamPublisher, get_publisher
from events.spans import Span, seconds_between, span_fields
from events.streams.clients import get_async_redis

logger = logging.getLogger(__name__)

TASK_ENQUEUED: Final = "task_enqueued"
# End of a run that awaits input, and of one whose job has ended or was given to another worker.
TASK_SUSPENDED: Final = "task_suspended"
TASK_STOPPED: Final = "task_stopped"

# Interval of heartbeats, and maximum delay until a worker detects that its job is cancelled.
HEARTBEAT_SECONDS: Final = 1.0


class Reason(StrEnum):
    """Why a task ended or starts again, if not because of an exception that it raised."""

    WORKER_LOST = "worker_lost"
    TIMED_OUT = "timed_out"
    QUEUE_TIMEOUT = "queue_timeout"
    RUN_TIMEOUT = "run_timeout"
    REVOKED = "revoked"
    TERMINATED = "terminated"
    EXPIRED = "expired"
    IGNORED = "ignored"
    REJECTED = "rejected"
    REPLACED = "replaced"
    REQUEUED = "requeued"


@dataclass(frozen=True, slots=True)
class Delivery:
    """A task message of a queue.

    `external_id` is the queue's id of the task; a redelivery has the same one. `attempt` is the
    attempt of the job that the message was sent for, None if unknown. `relatives` are the external
    ids of the parent tasks and of the group. `time_limit` is the queue's hard limit in seconds.
    `retries` counts the earlier tries of the task by the queue. `enqueued_at` is the time, with an
    offset, from which the task waited for a worker.
    """

    queue: str
    external_id: str
    job_id: str
    task_type: str
    attempt: int | None = None
    worker: str = ""
    relatives: tuple[str, ...] = ()
    group: str = ""
    time_limit: float | None = None
    retries: int = 0
    sends_heartbeats: bool = True
    enqueued_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """A request for input: `name` has the form of a job_id, `prompt` any value.

    Without a name, the question is identified by its `position` among those of its task, from 1.
    """

    name: str
    prompt: Any
    choices: Sequence[str] = ()
    position: int = 0


@dataclass(eq=False)
class TaskRun:
    """One execution of a task of a job by a worker."""

    delivery: Delivery
    attempt: int
    delivery_count: int
    tracker: Any  # a RunTracker, whose module imports this one
    outer: "TaskRun | None" = None
    stopped: bool = False
    next_tasks: list[Callable[[], Any]] = field(default_factory=list)
    last_heartbeat: float = field(default_factory=monotonic)
    parent_run_id: str | None = None
    span: Span | None = field(default=None, init=False)
    outcome: str = field(default="unknown", init=False)  # in metrics
    pending_error: type[InputPending] = field(default=InputPending, init=False)
    graphs: set[int] = field(default_factory=set, init=False)  # numbers of those begun or ended
    _started: float = field(default_factory=monotonic, init=False)
    _questions: int = field(default=0, init=False)

    @property
    def job_id(self) -> str:
        return self.delivery.job_id

    @property
    def task_type(self) -> str:
        return self.delivery.task_type

    @property
    def span_id(self) -> str:
        """The `run_id` of the task's span, unique for each delivery."""
        return span_id(self.delivery.external_id, self.delivery_count)

    def span_end(self, status: str) -> dict[str, Any]:
        """Return the fields of the event that ends the span."""
        seconds = round(monotonic() - self._started, 3)
        return span_fields(self.span_id, self.parent_run_id, status=status, seconds=seconds)

    def span_failure(self, error: BaseException) -> dict[str, Any]:
        """Return the fields of the event that ends the span with an error: with its traceback."""
        fields = self.span_end("failed")
        if traceback := redacted_traceback(error):
            fields["data"]["traceback"] = traceback
        return fields

    @cached_property
    def publisher(self) -> SyncRedisStreamPublisher:
        """Publisher for the current attempt; raises ProducerFenced once a later one has begun."""
        return get_publisher(epoch=self.attempt)

    def async_publisher(self) -> RedisStreamPublisher:
        """Return an async publisher for the attempt, bound to the running event loop."""
        return RedisStreamPublisher(get_async_redis(), epoch=self.attempt)

    def progress(self, progress: SupportsFloat, message: Any = "", **data: Any) -> str | None:
        """Publish the progress of the task, 0 to 100; return the event's id.

        `message` and `data` are any values. Returns None if Redis is unavailable, or a timestamp is
        invalid: that must not fail the task. Raises JobCancelled if the job is at a later attempt
        or was deleted.
        """
        data = {"attempt": self.attempt, **data}
        if message is not None and not (type(message) is str and not message):
            data = {"message": message, **data}
        try:
            return self.publisher.publish_task_progress(
                self.job_id, self.task_type, progress, **data
            )
        except (ProducerFenced, LogDeleted) as error:
            self.stopped = True
            raise JobCancelled from error
        except (RedisUnavailable, RedisCommandError, InvalidEvent) as error:
            extra = {"job_id": self.job_id, "error": str(error)}
            logger.warning("progress_not_published", extra=extra)
            return None

    def should_cancel(self) -> bool:
        """Return whether the job was cancelled or its task was given to another worker.

        Costs no query: the heartbeat thread updates the value every HEARTBEAT_SECONDS. Without
        heartbeats, the tracker is queried at most that often.
        """
        is_due = monotonic() >= self.last_heartbeat + HEARTBEAT_SECONDS
        if is_due and not self.stopped and not self.delivery.sends_heartbeats:
            self.last_heartbeat = monotonic()
            with suppress(SynchronousOnlyOperation):  # in a coroutine
                self.stopped = self in self.tracker.send_heartbeats([self])
        return self.stopped

    def check_cancelled(self) -> None:
        """Raise JobCancelled if `should_cancel()` is true."""
        if self.should_cancel():
            raise JobCancelled

    def ask(self, prompt: Any, *, choices: Sequence[str] = (), name: str = "") -> Any:
        """Return the answer of a person; raise InputPending while there is none.

        InputPending ends the task and frees its worker. After the answer the task runs again from
        its start. `prompt` is any value; with `choices` the answer is one of them.
        `name` identifies the question within the attempt. Without one, the order within the task
        does, and the question is named `input-1`, … in the order of the attempt.
        """
        if not name:
            self._questions += 1
        return self.ask_all([Question(name, prompt, tuple(choices), self._questions)])[0]

    def ask_all(self, questions: Sequence[Question]) -> list[Any]:
        """Return the answers to several questions; raise InputPending until all are answered."""
        answers = [self.tracker.find_answer(self, each) for each in questions]
        pending = [each for each, (known, _) in zip(questions, answers, strict=True) if not known]
        if pending:
            raise self.pending_error(pending)
        return [value for _, value in answers]


def span_id(external_id: str, delivery_count: int) -> str:
    """Return the `run_id` of the span of one delivery of a task."""
    return f"{external_id}.{delivery_count}"


def queue_fields(enqueued_at: datetime | None, now: datetime) -> dict[str, float]:
    """Return how long a task waited for a worker, if that is known."""
    if enqueued_at is None:
        return {}
    return {"queue_seconds": seconds_between(enqueued_at, now)}


active_run: Final[ContextVar[TaskRun | None]] = ContextVar("job_run", default=None)


def current_run() -> TaskRun | None:
    """Return the task run of the current context, or None outside of tasks."""
    return active_run.get()
