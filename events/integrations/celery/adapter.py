"""Queue adapter of Celery."""

from datetime import UTC, datetime
from typing import Any, ClassVar, cast

from billiard.exceptions import SoftTimeLimitExceeded
from celery import current_app, current_task, signature
from celery import exceptions as celery_exceptions

from events.database import aware_time
from events.execution.adapter import Failed, Outcome, QueueAdapter, Retry, Unknown
from events.execution.run import Delivery, Reason, TaskRun
from events.integrations.celery.messages import ATTEMPT_HEADER, QUEUE, is_decorated


class CeleryAdapter(QueueAdapter):
    """Queue adapter of Celery."""

    name: ClassVar[str] = QUEUE

    def outcome(self, error: BaseException) -> Outcome:
        """Map an exception of a task; Celery raises its own ones for retries and `replace`."""
        if isinstance(error, celery_exceptions.Retry):
            return Retry(_seconds_until(error.when), error.exc or error)
        if isinstance(error, SoftTimeLimitExceeded):
            return Failed(Reason.TIMED_OUT, "The task exceeded its soft time limit.")
        is_requeued = isinstance(error, celery_exceptions.Reject) and cast(Any, error).requeue
        if isinstance(error, celery_exceptions.Ignore) or is_requeued:
            return Retry(0.0)  # `replace` sends a task with the same id
        if not isinstance(error, Exception):
            return Unknown()
        return _autoretry(error) or Failed()

    def refuse(self, delivery: Delivery, refusal: Any) -> Any:
        """Acknowledge the message; send it again if another worker still has the task."""
        task = cast(Any, current_task)
        if not task:  # called directly: the caller expects a result
            return None
        request = task.request
        if refusal.retry_in is not None and not request.is_eager:
            task.signature_from_request(
                request, countdown=refusal.retry_in, retries=request.retries
            ).apply_async()
        raise celery_exceptions.Ignore(str(refusal))

    def give_up(self, run: TaskRun, error: BaseException) -> Any:
        if not cast(Any, current_task):
            return None
        raise celery_exceptions.Ignore(str(error)) from error

    def resume_data(self, run: TaskRun) -> Any:
        """Return the signature of the task, with its chain and chord."""
        task = cast(Any, current_task)
        if not task:
            raise RuntimeError("A task that is called directly cannot wait for input.")
        return dict(task.signature_from_request(task.request, retries=task.request.retries))

    def resume(self, data: Any, attempt: int) -> None:
        task = cast(Any, signature(data, app=current_app))
        headers = task.options.get("headers") or {}
        task.apply_async(headers={**headers, ATTEMPT_HEADER: attempt})

    def stop(self, external_id: str) -> None:
        """Revoke the task and terminate it with SIGTERM, which only prefork pools support."""
        current_app.control.revoke(external_id, terminate=True)


def _autoretry(error: Exception) -> Retry | None:
    """Return a Retry if `autoretry_for` applies to an exception of a decorated task.

    Celery's wrapper is outside of `follows_job`, which sees the original exception.
    """
    task = cast(Any, current_task)
    if not task or not is_decorated(task):
        return None
    retried = tuple(getattr(task, "autoretry_for", ()))
    excluded = tuple(getattr(task, "dont_autoretry_for", ()))
    if not isinstance(error, retried) or isinstance(error, excluded):
        return None
    limit = _max_retries(task)
    return Retry(0.0, error) if limit is None or task.request.retries < limit else None


def _max_retries(task: Any) -> int | None:
    """Return the retry limit of `autoretry_for` as `Task.retry` computes it; None: unlimited."""
    limit = (getattr(task, "retry_kwargs", None) or {}).get("max_retries")
    limit = getattr(task, "override_max_retries", limit)
    return cast(int | None, task.max_retries if limit is None else limit)


def _seconds_until(when: Any) -> float:
    """Return the delay of a retry, given as a datetime or in seconds."""
    if isinstance(when, datetime):
        return max((aware_time(when) - datetime.now(UTC)).total_seconds(), 0.0)
    return float(when or 0)
