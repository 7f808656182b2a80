"""Run tracker for projects without the app `jobs`: publishes lifecycle events, keeps no state.

It cannot detect that a job has finished, so it rejects no delivery; it reports a dead worker only
if the queue does.
"""

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

from events.error_report import redacted_error
from events.exceptions import DeliveryRejected, EventsError, LogDeleted
from events.execution.run import (
    TASK_ENQUEUED,
    TASK_STOPPED,
    Delivery,
    Reason,
    TaskRun,
    queue_fields,
    span_id,
)
from events.execution.tracker import RunTracker
from events.history import read_events
from events.json_values import event_of_values
from events.outbox.writer import publish_event
from events.publisher import get_publisher
from events.spans import current_span, seconds_between, span_fields
from events.types import EventType

_RUNNING: Final = {"job_status": "running"}
# Starts of tasks among which the one of a dead worker is searched.
_MAX_STARTS: Final = 200


class StreamRunTracker(RunTracker):
    """Publishes to the log of the job."""

    fencing_errors: tuple[type[Exception], ...] = (LogDeleted,)

    def record_enqueued(self, delivery: Delivery) -> None:
        """Publish `task_enqueued` in the transaction that enqueues the task."""
        event = {"event_type": TASK_ENQUEUED, "task_type": delivery.task_type}
        data = {"queue": delivery.queue, "external_id": delivery.external_id}
        publish_event(delivery.job_id, {**event, **data})

    def claim(self, delivery: Delivery) -> tuple[int, int]:
        """Publish `task_started`; every delivery is accepted, unless the log was deleted.

        The delivery count is the time in microseconds, because earlier deliveries are unknown.
        """
        now = datetime.now(UTC)
        delivery_count = round(now.timestamp() * 1_000_000)
        run_id = span_id(delivery.external_id, delivery_count)
        parent_run_id = current_span(delivery.job_id)
        data = span_fields(run_id, parent_run_id, **queue_fields(delivery.enqueued_at, now))
        try:
            get_publisher().publish_task_started(delivery.job_id, delivery.task_type, **data)
        except LogDeleted as error:
            raise DeliveryRejected(str(error)) from error
        return 0, delivery_count

    def complete(self, run: TaskRun, result: Any, *, continues: bool | None) -> None:
        data = {**run.span_end("done"), **({} if continues is False else _RUNNING)}
        run.publisher.publish_task_completed(run.job_id, run.task_type, result, **data)

    def fail(self, run: TaskRun, error: BaseException, reason: Reason | None, message: str) -> None:
        self._fail(run.delivery, reason, message or redacted_error(error), run.span_failure(error))

    def schedule_retry(
        self, run: TaskRun, error: object, seconds: float, reason: Reason | None = None
    ) -> None:
        data: dict[str, Any] = {"error": redacted_error(error)} if error is not None else {}
        data |= {"reason": reason} if reason else {}
        data |= {"retry_in": seconds, **run.span_end("retry"), **_RUNNING}
        self._publish(run.delivery, "task_retry", **data)

    def cancel(self, run: TaskRun, reason: Reason, message: str) -> None:
        data: dict[str, Any] = {"message": redacted_error(message)} if message else {}
        data |= {"reason": reason, "job_status": "cancelled", **run.span_end("cancelled")}
        self._publish(run.delivery, "task_revoked", **data)

    def stop(self, run: TaskRun) -> None:
        with suppress(LogDeleted):
            self._publish(run.delivery, TASK_STOPPED, **run.span_end("cancelled"), **_RUNNING)

    def mark_lost(self, delivery: Delivery, reason: Reason, error: str) -> None:
        self._fail(delivery, reason, error, _open_span(delivery, "failed"))

    def revoke(self, delivery: Delivery, reason: Reason) -> None:
        data = {"reason": reason, "job_status": "cancelled", **_open_span(delivery, "cancelled")}
        self._publish(delivery, "task_revoked", **data)

    def _fail(
        self, delivery: Delivery, reason: Reason | None, error: str, data: Mapping[str, Any]
    ) -> None:
        if reason:
            data = {**data, "reason": reason}
        self._publish(delivery, EventType.TASK_FAILED, status="failed", error=error, **data)

    def _publish(self, delivery: Delivery, event_type: str, **data: Any) -> None:
        event = {"event_type": event_type, "task_type": delivery.task_type, **data}
        publisher = get_publisher()
        event = event_of_values(event, publisher.max_event_bytes)
        publisher.publish_event(delivery.job_id, event)


def _open_span(delivery: Delivery, status: str) -> dict[str, Any]:
    """Return the fields that end the latest span of a task whose worker is dead, if it is found."""
    with suppress(EventsError):
        for event in read_events(
            delivery.job_id,
            order="desc",
            limit=_MAX_STARTS,
            event_types=(EventType.TASK_STARTED,),
        ):
            data = event.data.get("data")
            run_id = data.get("run_id") if isinstance(data, dict) else None
            if isinstance(run_id, str) and run_id.rpartition(".")[0] == delivery.external_id:
                started_at = datetime.fromisoformat(event.timestamp).astimezone(UTC)
                seconds = seconds_between(started_at, datetime.now(UTC))
                return span_fields(run_id, None, status=status, seconds=seconds)
    return {}
