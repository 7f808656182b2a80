"""Events of a worker's main process: a dead pool child, a time limit, a revoked task."""

import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from billiard.exceptions import TimeLimitExceeded, WorkerLostError
from celery import signals
from celery.app.task import Context
from celery.worker.request import Request

from events.database import close_before_fork
from events.error_report import error_text
from events.execution.run import Delivery, Reason
from events.execution.tracker import run_tracker
from events.integrations.celery.messages import (
    ATTEMPT_HEADER,
    JOB_HEADER,
    QUEUE,
    attempt_of,
    is_decorated,
    is_followed,
    job_id_of,
    task_type_of,
)

logger = logging.getLogger(__name__)

Record = Callable[[Delivery], None]


class JobRequest(Request):
    """Request of a `JobTask` in the main process, which detects the death of a pool child."""

    def on_failure(self, exc_info: Any, *args: Any, **kwargs: Any) -> Any:
        """Record a dead child; release its task if the broker redelivers it."""
        error = getattr(exc_info.exception, "exc", exc_info.exception)
        if isinstance(error, (WorkerLostError, SystemExit, KeyboardInterrupt)):
            # A cold shutdown returns a task that it cancels to the broker.
            is_cancelled = getattr(self, "_already_cancelled", False)
            is_returned = self.task.reject_on_worker_lost or is_cancelled
            is_redelivered = self.task.acks_late and is_returned
            self._record(run_tracker().release if is_redelivered else _mark_lost(error))
        return super().on_failure(exc_info, *args, **kwargs)

    def on_timeout(self, soft: bool, timeout: float) -> Any:
        """Record that the hard time limit terminated the task."""
        super().on_timeout(soft, timeout)
        if not soft:
            self._record(_mark_lost(TimeLimitExceeded(timeout)))

    def _record(self, record: Record) -> None:
        attempt = self.request_dict.get(ATTEMPT_HEADER)
        _record_outcome(record, self.task, self, attempt, self.hostname or "")


def _record_outcome(
    record: Record, task: Any, request: Any, attempt: int | None, worker: str = ""
) -> None:
    with suppress(TypeError):  # the task has no argument for a job
        job_id = job_id_of(task, request.args or (), request.kwargs or {})
        if job_id is not None:
            task_type = task_type_of(task)
            _record(record, Delivery(QUEUE, request.id, job_id, task_type, attempt, worker))


def _record(record: Record, delivery: Delivery) -> None:
    """Call a method of the run tracker; an error must not stop the main process."""
    try:
        record(delivery)
    except Exception:
        logger.exception("task_outcome_not_recorded", extra={"external_id": delivery.external_id})
    finally:
        # Pool children are forked from this process and must not inherit its connections.
        close_before_fork()


def _mark_lost(error: BaseException) -> Record:
    if isinstance(error, TimeLimitExceeded):
        reason, message = Reason.TIMED_OUT, "The task exceeded its time limit and was terminated."
    else:
        reason, message = Reason.WORKER_LOST, str(error) or "The worker was lost."
    return partial(run_tracker().mark_lost, reason=reason, error=message)


@signals.task_failure.connect(dispatch_uid="job_events")
def _on_failure(sender: Any, exception: BaseException, **kwargs: Any) -> None:
    """Record a dead child for decorated tasks, which have no `JobRequest`."""
    if not is_decorated(sender) or not isinstance(exception, (WorkerLostError, TimeLimitExceeded)):
        return
    request = Context(id=kwargs["task_id"], args=kwargs["args"], kwargs=kwargs["kwargs"])
    _record_outcome(_mark_lost(exception), sender, request, attempt_of(sender.request))


@signals.task_unknown.connect(dispatch_uid="job_events")
@signals.task_rejected.connect(dispatch_uid="job_events")
def _on_rejected(message: Any, exc: BaseException | None = None, **_kwargs: Any) -> None:
    """Fail the job of a message that the worker discards, such as that of an unknown task."""
    headers = message.headers or {}
    job_id, name = headers.get(JOB_HEADER), str(headers.get("task"))
    if job_id is None:
        return
    if isinstance(exc, KeyError):
        error = f"The worker does not know the task {name}."
    else:
        error = f"The worker rejected the message of {name}: {error_text(exc)}"
    task_type, attempt = name.rsplit(".", 1)[-1], headers.get(ATTEMPT_HEADER)
    record = partial(run_tracker().mark_lost, reason=Reason.REJECTED, error=error)
    _record(record, Delivery(QUEUE, headers["id"], job_id, task_type, attempt))


@signals.task_revoked.connect(dispatch_uid="job_events")
def _on_revoked(sender: Any, request: Any, terminated: bool, expired: bool, **_kwargs: Any) -> None:
    """Cancel the job of a task that was revoked, terminated, or expired before its start."""
    if not is_followed(sender):
        return
    reason = Reason.TERMINATED if terminated else Reason.REVOKED
    reason = Reason.EXPIRED if expired else reason
    record = partial(run_tracker().revoke, reason=reason)
    _record_outcome(record, sender, request, attempt_of(request))
