"""The keeper of a project without the app of the jobs: it says in the log what becomes of a task.

Nobody knows there whether a job is over, so nothing is refused, and no death is noticed that the
queue itself does not tell of.
"""

from collections.abc import Collection, Sequence
from typing import Any, Final

from events.execution.run import TASK_ENQUEUED, Delivery, Question, Reason, TaskRun
from events.outbox.writer import publish_event
from events.publisher import get_publisher
from events.redaction import DEFAULT_REDACTOR
from events.types import EventType

RUNNING: Final = {"job_status": "running"}


class StreamRunTracker:
    """Publishes; an `events.execution.run.RunTracker`."""

    given_up: tuple[type[Exception], ...] = ()

    def attempt_of(self, job_id: str) -> int | None:
        """Nobody knows."""
        return None

    def enqueued(self, delivery: Delivery) -> None:
        """Say so, if the transaction commits in which the queue was asked."""
        said = {
            "task_type": delivery.task_type,
            "queue": delivery.queue,
            "external_id": delivery.external_id,
        }
        publish_event(delivery.job_id, {"event_type": TASK_ENQUEUED, **said})

    def announce(self, delivery: Delivery) -> None:
        """It is not waited for."""

    def begin(self, delivery: Delivery) -> tuple[int, int]:
        """Whoever comes may begin."""
        get_publisher().publish_task_started(delivery.job_id, delivery.task_type)
        return 0, 1

    def beat(self, runs: Sequence[TaskRun]) -> Collection[TaskRun]:
        """Nobody is stopped."""
        return ()

    def complete(self, run: TaskRun, result: Any, *, more: bool) -> None:
        """Say so."""
        goes_on = RUNNING if more else {}
        run.publisher.publish_task_completed(run.job_id, run.task_type, result, **goes_on)

    def fail(self, run: TaskRun, error: BaseException, reason: Reason | None, message: str) -> None:
        """Say so, and why."""
        self._fail(run.delivery, message or _said(error), reason)

    def schedule_retry(self, run: TaskRun, error: object, seconds: float) -> None:
        """Say when it is tried again."""
        if error is not None:
            said = {"error": _said(error), "retry_in": seconds, **RUNNING}
            self._say(run.delivery, "task_retry", **said)

    def answer(self, run: TaskRun, name: str) -> tuple[bool, Any]:
        """Nobody can."""
        raise NotImplementedError("Only the jobs of the app `jobs` can ask a person.")

    def ask(self, run: TaskRun, questions: Sequence[Question], resume: Any) -> None:
        """Nobody can be asked."""
        raise NotImplementedError("Only the jobs of the app `jobs` can ask a person.")

    def abort(self, run: TaskRun, error: BaseException) -> None:
        """Say so, and why."""
        self._fail(run.delivery, _said(error), None)

    def lose(self, delivery: Delivery, reason: Reason, error: str) -> None:
        """Say so."""
        self._fail(delivery, error, reason)

    def release(self, delivery: Delivery) -> None:
        """It goes on."""

    def revoke(self, delivery: Delivery, reason: Reason) -> None:
        """Say so."""
        self._say(delivery, "task_revoked", reason=reason, job_status="cancelled")

    def _fail(self, delivery: Delivery, error: str, reason: Reason | None) -> None:
        why = {"reason": reason} if reason else {}
        self._say(delivery, EventType.TASK_FAILED, status="failed", error=error, **why)

    def _say(self, delivery: Delivery, event_type: str, **data: Any) -> None:
        event = {"event_type": event_type, "task_type": delivery.task_type, **data}
        get_publisher().publish_event(delivery.job_id, event)


def _said(error: object) -> str:
    return DEFAULT_REDACTOR.text(str(error)) or type(error).__name__
