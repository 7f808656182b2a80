"""Run tracker for projects without the app `jobs`: publishes lifecycle events, keeps no state.

It cannot detect that a job has finished, so it rejects no delivery; it reports a dead worker only
if the queue does.
"""

from typing import Any, Final

from events.error_report import error_message, error_type
from events.exceptions import DeliveryRejected, LogDeleted
from events.execution.run import TASK_ENQUEUED, Delivery, Reason, TaskRun
from events.execution.tracker import RunTracker
from events.outbox.writer import publish_event
from events.publisher import get_publisher
from events.redaction import DEFAULT_REDACTOR
from events.types import EventType

_RUNNING: Final = {"job_status": "running"}


class StreamRunTracker(RunTracker):
    """Publishes to the log of the job."""

    fencing_errors: tuple[type[Exception], ...] = (LogDeleted,)

    def record_enqueued(self, delivery: Delivery) -> None:
        """Publish `task_enqueued` in the transaction that enqueues the task."""
        event = {"event_type": TASK_ENQUEUED, "task_type": delivery.task_type}
        data = {"queue": delivery.queue, "external_id": delivery.external_id}
        publish_event(delivery.job_id, {**event, **data})

    def claim(self, delivery: Delivery) -> tuple[int, int]:
        """Publish `task_started`; every delivery is accepted, unless the log was deleted."""
        try:
            get_publisher().publish_task_started(delivery.job_id, delivery.task_type)
        except LogDeleted as error:
            raise DeliveryRejected(str(error)) from error
        return 0, 1

    def complete(self, run: TaskRun, result: Any, *, continues: bool | None) -> None:
        data = {} if continues is False else _RUNNING
        run.publisher.publish_task_completed(run.job_id, run.task_type, result, **data)

    def fail(self, run: TaskRun, error: BaseException, reason: Reason | None, message: str) -> None:
        self.mark_lost(run.delivery, reason, message or _redacted(error))

    def schedule_retry(
        self, run: TaskRun, error: object, seconds: float, reason: Reason | None = None
    ) -> None:
        data = {"error": _redacted(error)} if error is not None else {}
        data |= {"reason": reason} if reason else {}
        self._publish(run.delivery, "task_retry", retry_in=seconds, **data, **_RUNNING)

    def cancel(self, run: TaskRun, reason: Reason, message: str) -> None:
        data = {"message": DEFAULT_REDACTOR.text(message)} if message else {}
        self._publish(run.delivery, "task_revoked", reason=reason, job_status="cancelled", **data)

    def mark_lost(self, delivery: Delivery, reason: Reason | None, error: str) -> None:
        data = {"reason": reason} if reason else {}
        self._publish(delivery, EventType.TASK_FAILED, status="failed", error=error, **data)

    def revoke(self, delivery: Delivery, reason: Reason) -> None:
        self._publish(delivery, "task_revoked", reason=reason, job_status="cancelled")

    def _publish(self, delivery: Delivery, event_type: str, **data: Any) -> None:
        event = {"event_type": event_type, "task_type": delivery.task_type, **data}
        get_publisher().publish_event(delivery.job_id, event)


def _redacted(error: object) -> str:
    return DEFAULT_REDACTOR.text(error_message(error, with_causes=True)) or error_type(error)
