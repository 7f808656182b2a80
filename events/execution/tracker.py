"""Run trackers: record the state of task runs. The app `jobs` registers its own tracker."""

import logging
from collections.abc import Callable, Collection, Sequence
from time import monotonic, sleep
from typing import Any, Final, Protocol, TypeVar

from django.utils.module_loading import import_string

from events.database import UNAVAILABLE, close_connections, write_connection
from events.execution.run import Delivery, Question, Reason, TaskRun
from events.log_format import log_failure

logger = logging.getLogger(__name__)

T = TypeVar("T")

_MAX_OUTAGE_SECONDS: Final = 60.0
_RETRY_SECONDS: Final = 1.0

# Imported on first use: it needs the models, and this module is imported before they are loaded.
_DEFAULT: Final = "events.execution.stream_tracker.StreamRunTracker"


class RunTracker(Protocol):
    """Records what happens to the tasks of jobs. The defaults are those of a stateless tracker."""

    fencing_errors: tuple[type[Exception], ...] = ()
    """Raised to a worker whose job has finished, is at a later attempt or was deleted."""

    def current_attempt(self, job_id: str) -> int | None:
        """Return the current attempt of a job; None if unknown."""
        return None

    def record_enqueued(self, delivery: Delivery) -> None:
        """Record that a queue has accepted a task. Raises LookupError if the job is unknown."""

    def announce(self, delivery: Delivery, delay: float = 0.0) -> None:
        """Record that a task is about to be sent; the job does not complete before its end.

        `delay` is the number of seconds for which its queue keeps it back.
        """

    def postpone(self, job_id: str, delay: float) -> None:
        """Record that the queue keeps back the next task of a job for some seconds."""

    def claim(self, delivery: Delivery) -> tuple[int, int]:
        """Claim a task for a worker; return the job's attempt and the delivery count of the task.

        Raises DeliveryRejected, and LookupError if the job is unknown.
        """

    def send_heartbeats(self, runs: Sequence[TaskRun]) -> Collection[TaskRun]:
        """Record that runs are alive; return those that have to stop."""
        return ()

    def complete(self, run: TaskRun, result: Any, *, continues: bool | None) -> None:
        """Record that a task completed; with `continues`, another task of the job follows.

        None: other tasks of the job were sent, which may have ended.
        """

    def fail(self, run: TaskRun, error: BaseException, reason: Reason | None, message: str) -> None:
        """Record that a task failed, and fail its job. An empty message means `str(error)`."""

    def schedule_retry(
        self, run: TaskRun, error: object, seconds: float, reason: Reason | None = None
    ) -> None:
        """Record that the queue delivers a task again after a delay."""

    def cancel(self, run: TaskRun, reason: Reason, message: str) -> None:
        """Record that the queue discards a task, and cancel its job."""

    def stop(self, run: TaskRun) -> None:
        """Record that a task returned after its job had ended; other tasks are not recorded."""

    def find_answer(self, run: TaskRun, question: Question) -> tuple[bool, Any]:
        """Return whether a question is answered, and the answer."""
        raise NotImplementedError("Requests for input need the app `jobs`.")

    def request_input(self, run: TaskRun, questions: Sequence[Question], resume: Any) -> None:
        """Suspend a task until questions are answered; its adapter resumes it with `resume`."""
        raise NotImplementedError("Requests for input need the app `jobs`.")

    def abort(self, run: TaskRun, error: BaseException) -> None:
        """Fail the job of a completed task because a following task could not be sent."""
        self.fail(run, error, None, "")

    def mark_lost(self, delivery: Delivery, reason: Reason, error: str) -> None:
        """Record that the worker of a task is dead, and fail its job."""

    def release(self, delivery: Delivery) -> None:
        """Release the claim of a dead worker whose task the queue redelivers immediately."""

    def revoke(self, delivery: Delivery, reason: Reason) -> None:
        """Record that a task was revoked or terminated in the queue, and cancel its job."""


def persist(record: Callable[..., T], *arguments: Any, **named: Any) -> T:
    """Call a method of a tracker, again and again for a minute while the database is unavailable.

    A call that has committed although it raised is fenced when it is repeated.
    """
    give_up_at = monotonic() + _MAX_OUTAGE_SECONDS
    while True:
        try:
            return record(*arguments, **named)
        except UNAVAILABLE as error:
            if monotonic() > give_up_at or write_connection().in_atomic_block:
                raise
            log_failure(logger, "task_record_deferred", error)
        close_connections()
        sleep(_RETRY_SECONDS)


class RunTrackerRegistry:
    """Registry of the run tracker of this process."""

    tracker: RunTracker | None = None


registry = RunTrackerRegistry()


def run_tracker() -> RunTracker:
    """Return the registered run tracker, by default a `StreamRunTracker`."""
    if registry.tracker is None:
        registry.tracker = import_string(_DEFAULT)()
    return registry.tracker


def register_run_tracker(tracker: RunTracker) -> None:
    """Register the run tracker of this process."""
    registry.tracker = tracker
