"""What a worker's main process sees: a child that dies, a time limit, a task that is revoked."""

import logging
from collections.abc import Callable
from typing import Any, Final

from billiard.exceptions import TimeLimitExceeded, WorkerLostError
from celery import signals
from celery.worker.request import Request
from django.db import connections

from events.execution.run import Delivery, Reason, keeper
from events.integrations.celery.messages import (
    ATTEMPT_HEADER,
    QUEUE,
    attempt_of,
    is_decorated,
    is_followed,
    job_id_of,
    task_type_of,
)

logger = logging.getLogger(__name__)

_TOO_LONG: Final = "The task took longer than its time limit, and was ended."


class JobRequest(Request):
    """A task in the eyes of the worker's main process, which sees its child die."""

    def on_failure(self, exc_info: Any, *args: Any, **kwargs: Any) -> Any:
        """Say that the child is dead; if the broker brings the task again, the next may have it."""
        error = getattr(exc_info.exception, "exc", exc_info.exception)
        is_lost = isinstance(error, (WorkerLostError, SystemExit, KeyboardInterrupt))
        comes_again = self.task.acks_late and self.task.reject_on_worker_lost
        if is_lost and comes_again:
            _tell_of(self, keeper().release)
        elif is_lost:
            _lose(self, Reason.WORKER_LOST, str(error) or "The worker was lost.")
        return super().on_failure(exc_info, *args, **kwargs)

    def on_timeout(self, soft: bool, timeout: float) -> Any:
        """Say at once that the hard limit has ended it."""
        super().on_timeout(soft, timeout)
        if not soft:
            _lose(self, Reason.TIMED_OUT, _TOO_LONG)


def _tell_of(request: Any, tell: Callable[[Delivery], None]) -> None:
    """Tell of a task from the worker's main process, whose loop must not fail of it."""
    try:
        task = request.task
        job_id = job_id_of(task, request.args or (), request.kwargs or {})
        if job_id is not None:
            worker = getattr(request, "hostname", None) or ""
            sent_for = _sent_for(request)
            tell(Delivery(QUEUE, request.id, job_id, task_type_of(task), sent_for, worker))
    except Exception:
        logger.exception("task_end_not_told", extra={"key": request.id})
    finally:
        # Its children are forked, and must not have its connections.
        connections.close_all()


def _sent_for(request: Any) -> int | None:
    headers = getattr(request, "request_dict", None)
    return (headers or {}).get(ATTEMPT_HEADER)


def _lose(request: Any, reason: Reason, error: str) -> None:
    _tell_of(request, lambda delivery: keeper().lose(delivery, reason, error))


class _Ended:
    """What a signal says of a task, as a request has it."""

    def __init__(
        self, task: Any, key: str, args: Any, kwargs: Any, attempt: int | None = None
    ) -> None:
        self.task, self.id, self.args, self.kwargs = task, key, args, kwargs
        self.request_dict = {ATTEMPT_HEADER: attempt}


@signals.task_failure.connect(dispatch_uid="job_events")
def _on_failure(
    sender: Any = None,
    task_id: str = "",
    exception: BaseException | None = None,
    args: Any = None,
    kwargs: Any = None,
    **_rest: Any,
) -> None:
    """A child died: the main process says so, here of tasks that have no `JobRequest`."""
    if not is_decorated(sender) or not isinstance(exception, (WorkerLostError, TimeLimitExceeded)):
        return
    ended = _Ended(sender, task_id, args, kwargs, attempt_of(sender.request))
    if isinstance(exception, TimeLimitExceeded):
        _lose(ended, Reason.TIMED_OUT, _TOO_LONG)
    else:
        _lose(ended, Reason.WORKER_LOST, str(exception) or "The worker was lost.")


@signals.task_revoked.connect(dispatch_uid="job_events")
def _on_revoked(
    sender: Any = None,
    request: Any = None,
    terminated: bool = False,
    expired: bool = False,
    **_rest: Any,
) -> None:
    """Somebody told Celery to end it, or its time to begin was over."""
    if not is_followed(sender):
        return
    ended = Reason.TERMINATED if terminated else Reason.REVOKED
    reason = Reason.EXPIRED if expired else ended
    known = _Ended(sender, request.id, request.args, request.kwargs, attempt_of(request))
    _tell_of(known, lambda delivery: keeper().revoke(delivery, reason))
