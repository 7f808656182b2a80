"""Queue adapter of Celery."""

import json
from typing import Any, ClassVar, Final, cast

from billiard.exceptions import SoftTimeLimitExceeded
from billiard.process import current_process
from celery import current_app, current_task, signature
from celery import exceptions as celery_exceptions
from kombu.utils import json as kombu_json

from events.error_report import error_text
from events.execution.adapter import (
    EXITS,
    Cancelled,
    Completed,
    Failed,
    Lost,
    Outcome,
    QueueAdapter,
    Retry,
    Unknown,
)
from events.execution.run import Delivery, Reason, TaskRun, current_run
from events.integrations.celery.canvas import Sent, sent_by
from events.integrations.celery.messages import (
    ATTEMPT_HEADER,
    QUEUE,
    group_of_request,
    is_decorated,
    seconds_until,
)

_NOT_FOLLOWING: Final = (
    "The task was replaced by {}, which does not follow the job. Use JobTask or follows_job for it,"
    " and pass the job_id."
)


class CeleryAdapter(QueueAdapter):
    """Queue adapter of Celery."""

    name: ClassVar[str] = QUEUE

    def outcome(self, error: BaseException) -> Outcome:
        """Map an exception of a task; Celery raises its own ones for retries and `replace`."""
        if isinstance(error, celery_exceptions.Ignore):
            return _ignored(error)
        return _retried(error) or _ended(error) or super().outcome(error)

    def unfinished(self, run: TaskRun) -> Outcome | None:
        """Return Retry if the task has sent itself again, as by `retry(throw=False)`."""
        delay = sent_by(run).resent_in
        return None if delay is None else Retry(delay)

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
        if not task or task.request.id != run.delivery.external_id:
            raise RuntimeError("A task that is called directly cannot wait for input.")
        request = task.request
        # The task began in time: an answer may arrive after its `expires`.
        data = dict(task.signature_from_request(request, retries=request.retries, expires=None))
        try:
            # As Celery sends it: arguments such as Decimal keep their type.
            return json.loads(kombu_json.dumps(data))
        except (TypeError, ValueError) as error:
            raise TypeError(f"The arguments of the task cannot be stored: {error}") from error

    def resume(self, data: Any, attempt: int) -> None:
        data = kombu_json.loads(json.dumps(data))
        task = cast(Any, signature(data, app=current_app))
        headers = task.options.get("headers") or {}
        task.apply_async(headers={**headers, ATTEMPT_HEADER: attempt})

    def stop(self, external_id: str) -> None:
        """Revoke the task and terminate it with SIGTERM, which only prefork pools support."""
        current_app.control.revoke(external_id, terminate=True)


def _ended(error: BaseException) -> Outcome | None:
    """Return the outcome of an exception of Celery or of the process."""
    if isinstance(error, SoftTimeLimitExceeded):
        return Failed(Reason.TIMED_OUT, "The task exceeded its soft time limit.")
    if isinstance(error, celery_exceptions.Reject):
        return _rejected(error)
    return _exited(error) if isinstance(error, EXITS) else None


def _rejected(error: Any) -> Outcome:
    """Return Retry if the broker delivers a rejected message again, which needs a late ack."""
    run = current_run()
    has_message = run is not None and run.delivery.sends_heartbeats  # not eager or called
    if error.requeue and has_message and cast(Any, current_task).acks_late:
        return Retry(0.0, reason=Reason.REQUEUED)
    return Failed(Reason.REJECTED, error_text(error.reason or "") or "The task was rejected.")


def _ignored(error: BaseException) -> Outcome:
    """Return what a task means that ends without a result: is there another message of the job?

    The message of `replace` has the id of the task. A chain or chord ends with an ignored task,
    while the other tasks of a group continue.
    """
    run = current_run()
    sent = Sent() if run is None else sent_by(run)
    if sent.resent_in is not None:
        return Retry(sent.resent_in, reason=Reason.REPLACED)
    if sent.others:
        return Completed()
    if sent.replacement:
        return Failed(Reason.REPLACED, _NOT_FOLLOWING.format(sent.replacement))
    if run is not None and run.delivery.group:
        _, is_followed = group_of_request(cast(Any, current_task).request)
        if not is_followed:
            return Completed()
    return Cancelled(Reason.IGNORED, error_text(error))


def _exited(error: BaseException) -> Outcome:
    """Return Unknown in a child of a pool, whose main process reports its end."""
    is_child = current_process().name != "MainProcess"
    return Unknown() if is_child else Lost(f"The task raised {error!r}.")


def _retried(error: BaseException) -> Retry | None:
    """Return a Retry if Celery runs the task again.

    It does not if the task raises Retry itself, instead of calling `retry`, which adds the `sig`.
    In eager mode it may raise Retry to its caller instead.
    """
    task = cast(Any, current_task)
    if task and task.request.is_eager and task.app.conf.task_eager_propagates:
        return None
    if isinstance(error, celery_exceptions.Retry) and cast(Any, error).sig is not None:
        return Retry(seconds_until(error.when), error.exc or error)
    return _autoretry(error)


def _autoretry(error: BaseException) -> Retry | None:
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
