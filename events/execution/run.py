"""Runs: the tasks of jobs that workers of this process run, whatever queue they came by.

An integration tells a *keeper* what becomes of a task. The app of the jobs is one, and keeps their
rows; without it, `events.execution.stream_tracker` says it in the log alone.
"""

import logging
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from time import monotonic
from typing import Any, Final, Protocol, cast

from django.apps import apps
from django.core.exceptions import SynchronousOnlyOperation

from events.exceptions import (
    InputPending,
    JobCancelled,
    ProducerFenced,
    RedisCommandError,
    RedisUnavailable,
)
from events.publisher import RedisStreamPublisher, SyncRedisStreamPublisher, get_publisher
from events.streams.clients import get_async_redis

logger = logging.getLogger(__name__)

TASK_ENQUEUED: Final = "task_enqueued"

# How long it takes at most until a worker knows that its job was cancelled.
CONTROL_SECONDS: Final = 1.0


class Reason(StrEnum):
    """Why a task failed, or was revoked, when it was not by an error of its own."""

    WORKER_LOST = "worker_lost"
    TIMED_OUT = "timed_out"
    QUEUE_TIMEOUT = "queue_timeout"
    REVOKED = "revoked"
    TERMINATED = "terminated"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a queue asks a worker to run, or is asked to have run.

    `external_id` is the queue's own id of the task: the same when it comes again. `attempt` is
    the job's
    attempt for which it was sent, if it says. `relatives` are the keys of the tasks that it came
    from, and of its group. `time_limit` are the seconds after which the queue ends it.
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
    again: int = 0
    beats: bool = True


@dataclass(frozen=True, slots=True)
class Question:
    """What a task asks a person: `name` is of the form of a job_id, `prompt` any JSON."""

    name: str
    prompt: Any
    choices: tuple[str, ...] = ()


class RunTracker(Protocol):
    """Who knows the jobs, and what becomes of their tasks."""

    given_up: tuple[type[Exception], ...]
    """What is raised to a worker whose job is over, or at a later attempt."""

    def attempt_of(self, job_id: str) -> int | None:
        """The attempt that the job is at."""

    def enqueued(self, delivery: Delivery) -> None:
        """A queue has a task; raises LookupError if there is no such job."""

    def announce(self, delivery: Delivery) -> None:
        """A task of a group is sent: the job is not over before it is."""

    def begin(self, delivery: Delivery) -> tuple[int, int]:
        """A worker takes up a task: the job's attempt, and a number that is higher each time.

        Raises DeliveryRejected; LookupError if there is no such job.
        """

    def beat(self, runs: Sequence["TaskRun"]) -> Collection["TaskRun"]:
        """These are alive; returns those that are to stop."""

    def complete(self, run: "TaskRun", result: Any, *, more: bool) -> None:
        """The task is done; `more` says that another of its job follows."""

    def fail(
        self, run: "TaskRun", error: BaseException, reason: Reason | None, message: str
    ) -> None:
        """The task failed, and with it the job; without a message, the error's is told."""

    def schedule_retry(self, run: "TaskRun", error: object, seconds: float) -> None:
        """The queue will bring the task again after some seconds; without an error, silently."""

    def answer(self, run: "TaskRun", name: str) -> tuple[bool, Any]:
        """Whether a person has answered a question of this attempt, and what."""

    def ask(self, run: "TaskRun", questions: Sequence[Question], resume: Any) -> None:
        """The task waits for a person; with `resume` its adapter has it run again."""

    def abort(self, run: "TaskRun", error: BaseException) -> None:
        """The task is over, but what was to follow could not be sent."""

    def lose(self, delivery: Delivery, reason: Reason, error: str) -> None:
        """The worker of a task is dead, as somebody else has seen."""

    def release(self, delivery: Delivery) -> None:
        """The worker of a task is dead, and the queue brings the task again at once."""

    def revoke(self, delivery: Delivery, reason: Reason) -> None:
        """Somebody told the queue not to run the task, or to end it."""


class TaskRun:
    """A task of a job while a worker runs it: what its code uses to speak of it."""

    __slots__ = (
        "_asked_at",
        "_keeper",
        "_publisher",
        "asked",
        "attempt",
        "beaten_at",
        "delivery",
        "delivery_count",
        "followers",
        "outer",
        "stopped",
    )  # fmt: skip

    def __init__(
        self,
        delivery: Delivery,
        attempt: int,
        delivery_count: int,
        keeper: RunTracker,
        *,
        outer: "TaskRun | None" = None,
    ) -> None:
        self.outer = outer
        self.delivery = delivery
        self.attempt = attempt
        self.delivery_count = delivery_count
        self.stopped = False
        self.asked = 0
        self.followers: list[Callable[[], Any]] = []
        self.beaten_at = self._asked_at = monotonic()
        self._keeper = keeper
        self._publisher: SyncRedisStreamPublisher | None = None

    @property
    def job_id(self) -> str:
        """The job's."""
        return self.delivery.job_id

    @property
    def task_type(self) -> str:
        """The task's name in the log."""
        return self.delivery.task_type

    @property
    def publisher(self) -> SyncRedisStreamPublisher:
        """Publishes for this attempt at the job; once there is a later one, it is refused."""
        if self._publisher is None:
            self._publisher = get_publisher(epoch=self.attempt)
        return self._publisher

    def async_publisher(self) -> RedisStreamPublisher:
        """The same for the running event loop, by its connection to the project's Redis."""
        return RedisStreamPublisher(get_async_redis(), epoch=self.attempt)

    def progress(self, progress: float, message: str = "", **data: Any) -> str | None:
        """Say how far the task is, from 0 to 100; returns the event's id.

        None if Redis did not take it: a task does not fail because nobody can be told of it.
        Raises JobCancelled once the job is at a later attempt, InvalidEvent.
        """
        said = {"attempt": self.attempt, **({"message": message} if message else {}), **data}
        try:
            return self.publisher.publish_task_progress(
                self.job_id, self.task_type, progress, **said
            )
        except ProducerFenced as error:
            self.stopped = True
            raise JobCancelled from error
        except (RedisUnavailable, RedisCommandError) as error:
            extra = {"job_id": self.job_id, "error": str(error)}
            logger.warning("progress_not_published", extra=extra)
            return None

    def should_cancel(self) -> bool:
        """Whether the task is to stop: its job was cancelled, or given to another worker.

        Known within a second, and asked of nobody: call it as often as you like.
        """
        if not self.stopped and not self.delivery.beats:
            self._ask()
        return self.stopped

    def check_cancelled(self) -> None:
        """Raise JobCancelled if the task is to stop."""
        if self.should_cancel():
            raise JobCancelled

    def ask(self, prompt: Any, *, choices: Sequence[str] = (), name: str = "") -> Any:
        """What a person answers; raises InputPending until they have.

        The task is then to end, keeping no worker, and is run again from its beginning with the
        answer. `prompt` is text, or any JSON; with `choices` the answer is one of them. `name` says
        which question of the attempt it is: by default the first one that has none, the second, ...
        """
        if not name:
            self.asked += 1
            name = f"input-{self.asked}"
        return self.ask_all([Question(name, prompt, tuple(choices))])[0]

    def ask_all(self, questions: Sequence[Question]) -> list[Any]:
        """What persons answer to several questions; raises InputPending until all are answered."""
        answers = [self._keeper.answer(self, each.name) for each in questions]
        pending = [each for each, (known, _) in zip(questions, answers, strict=True) if not known]
        if pending:
            raise InputPending(pending)
        return [value for _, value in answers]

    def _ask(self) -> None:
        """For a task that has no heartbeat, such as one that runs in its caller's thread."""
        if monotonic() >= self._asked_at + CONTROL_SECONDS:
            self._asked_at = monotonic()
            with suppress(SynchronousOnlyOperation):  # a coroutine may not ask the database
                self.stopped = self in self._keeper.beat([self])


_current: ContextVar[TaskRun | None] = ContextVar("job_run", default=None)


def current_run() -> TaskRun | None:
    """The run in whose task this is called; None outside of one."""
    return _current.get()


def set_current(run: TaskRun | None) -> None:
    """Let it be the current one."""
    _current.set(run)


def keeper() -> RunTracker:
    """Who keeps the jobs of this project."""
    return cast(RunTracker, cast(Any, apps.get_app_config("job_events")).keeper)
