"""Services: the only functions that change the state of jobs, each in one transaction.

A service writes its event to the outbox and saves the job. On commit the event is appended to the
log, signals are sent, and a new attempt is passed to its runner; a rollback undoes all of it.
Every function raises JobNotFound, InvalidJobId and InvalidTransition, and StaleAttempt if
`attempt` is given and is not the current one.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import partial
from typing import Any, SupportsFloat, cast

from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.db.models import Max
from django.utils.functional import Promise

from events.codec import THE_TOP_LEVEL, dump_json
from events.conf import is_number
from events.database import atomic, database_now, on_commit
from events.erasure import delete_log
from events.error_report import error_type, redacted_traceback, shortened_error
from events.error_text import ErrorText
from events.exceptions import InvalidEvent, LogDeleted
from events.json_values import convert, marked_paths, number
from events.types import EventType, check_job_id, shown
from jobs import signals, transitions
from jobs.conf import job_settings
from jobs.exceptions import AlreadyCreated, InvalidJob, JobError, JobExists, JobNotFound
from jobs.execution import dispatch
from jobs.models import Job, Task
from jobs.transitions import IT, transition
from jobs.validators import clean_reason

logger = logging.getLogger(__name__)

Status = Job.Status


def job_create(
    *,
    task_type: str,
    owner: AbstractBaseUser | None = None,
    payload: Mapping[str, Any] | None = None,
    title: str = "",
    job_id: str | None = None,
    creation: tuple[str, str] | None = None,
) -> Job:
    """Create a pending job, and dispatch it on commit if its task_type has a runner.

    `creation` is the owner's idempotency key and the fingerprint of the request. Raises
    AlreadyCreated for a known key, JobExists, InvalidJob, InvalidJobId.
    """
    job = Job(task_type=task_type, owner=cast(Any, owner), title=title)
    job.payload = {} if payload is None else payload
    if creation is not None:
        job.idempotency_key, job.request_fingerprint = creation
    if job_id is not None:
        job.job_id = check_job_id(job_id)
    _check_fields(job)
    if job.task_type in job_settings.RUNNERS:
        set_pickup_deadline(job)
    with atomic():
        _insert(job)
        try:
            transitions.publish(job, "job_created", title=job.title)
        except LogDeleted as error:
            raise JobExists(
                ErrorText("The job_id %(job_id)s is not available.", job_id=job.job_id)
            ) from error
        signals.send_on_commit(signals.job_created, job)
        on_commit(partial(_dispatch, job))
    return job


def job_start(
    *,
    job_id: str,
    attempt: int | None = None,
    locked_job: Job | None = None,
    started_at: datetime | None = None,
    has_deadline: bool = True,
    **data: Any,
) -> Job:
    """Change pending to running; with a deadline, if the setting RUN_TIMEOUT defines one.

    `data` is added to the event, and `locked_job` is the job if the transaction of the caller has
    locked it, here and below.
    """
    with transition(transitions.START, job_id, attempt, locked_job) as job:
        job.status = Status.RUNNING
        job.started_at = started_at or database_now()
        if has_deadline:
            job.set_run_deadline(job.started_at)
        else:
            job.clear_deadline()
        transitions.publish(job, EventType.TASK_STARTED, **{"status": "started", **data})
    return job


def job_progress(
    *, job_id: str, progress: SupportsFloat, attempt: int | None = None, **data: Any
) -> Job:
    """Set the progress of a running job in per cent. Raises InvalidJob unless it is 0 to 100.

    `data`, here and below, are any values: what JSON cannot represent is converted.
    """
    progress = number(progress)
    if not is_number(progress, most=100):
        raise InvalidJob(
            "progress",
            ErrorText("must be a number from 0 to 100. Given: %(value)s.", value=shown(progress)),
        )
    with transition(transitions.PROGRESS, job_id, attempt) as job:
        job.progress = float(progress)
        event = {"status": "running", "progress": progress, **data}
        transitions.publish(job, EventType.TASK_PROGRESS, **event)
        signals.send_on_commit(signals.job_progressed, job)
    return job


def job_complete(
    *,
    job_id: str,
    result: Any = None,
    attempt: int | None = None,
    locked_job: Job | None = None,
    **data: Any,
) -> Job:
    """Change running to completed. `result` is any value, shortened if an event cannot hold it."""
    result = transitions.converted_result(result)
    with transition(transitions.COMPLETE, job_id, attempt, locked_job) as job:
        job.status = Status.COMPLETED
        job.progress = 100.0
        job.result = result
        event = {"status": "completed", "result": result, **data}
        transitions.publish_end(job, EventType.TASK_COMPLETED, **event)
    return job


def job_fail(*, job_id: str, error: object, attempt: int | None = None, **data: Any) -> Job:
    """Change pending or running to failed. `error` is a message or an exception.

    The event has type and traceback of an exception, unless `data` has its type.
    """
    if isinstance(error, BaseException) and "error_type" not in data:
        trace = {"traceback": text} if (text := redacted_traceback(error)) else {}
        data |= {"error_type": error_type(error), **trace}
    with transition(transitions.FAIL, job_id, attempt) as job:
        job.status = Status.FAILED
        job.error, job.end_reason = shortened_error(error), clean_reason(data)
        event = {"status": "failed", "error": job.error, **data}
        transitions.publish_end(job, EventType.TASK_FAILED, **event)
    return job


def job_cancel(
    *,
    job_id: str,
    by: AbstractBaseUser | None = None,
    attempt: int | None = None,
    terminate: bool = False,
    event_type: str = "job_cancelled",
    **data: Any,
) -> Job:
    """Cancel a pending or running job.

    Its tasks are notified within a second, and stop at their next check. With `terminate` their
    queues are also requested to kill them, if they can.
    """
    with transition(transitions.CANCEL, job_id, attempt) as job:
        tasks = job.open_tasks if terminate else []
        job.status = Status.CANCELLED
        job.end_reason = clean_reason(data)
        how = {"terminate": True} if terminate else {}
        transitions.publish_end(job, event_type, **_by(by), **how, **data)
        on_commit(partial(dispatch.stop_tasks, tasks))
    return job


def job_retry(
    *,
    job_id: str,
    by: AbstractBaseUser | None = None,
    attempt: int | None = None,
    dispatch: bool = True,
    **data: Any,
) -> Job:
    """Change failed or cancelled to pending, as a new attempt in the same log.

    The attempt is passed to the runner; with `dispatch=False` the caller runs it.
    """
    with transition(transitions.RETRY, job_id, attempt) as job:
        transitions.stop_tasks(job)
        job.status = Status.PENDING
        job.attempt += 1
        job.progress = 0.0
        job.result = None
        job.error = job.phase = ""
        job.started_at = job.finished_at = None
        if job.task_type in job_settings.RUNNERS:
            set_pickup_deadline(job)
        transitions.publish(job, "job_retried", **_by(by), **data)
    # After the transition: its signals precede those of a runner that runs synchronously.
    if dispatch:
        on_commit(partial(_dispatch, job))
    return job


def job_delete(*, job_id: str, by: AbstractBaseUser | None = None) -> None:
    """Delete a job of any status with its tasks, questions and log, for good.

    Its tasks are notified within a second, and stop at their next check. See `events.erasure`.
    """
    with atomic():
        job = transitions.lock_job(check_job_id(job_id))
        job.deleted_by = by
        job.delete()


def on_job_delete(instance: Job, **_kwargs: Any) -> None:
    """Receiver of `pre_delete`: delete the log with the row, for example with that of its owner."""
    with suppress(JobNotFound):  # the row is locked before the log, as in the other services
        transitions.lock_job(instance.job_id)
    delete_log(instance.job_id)
    extra = {"job_id": instance.job_id, **_by(instance.deleted_by)}
    on_commit(partial(logger.info, "job_deleted", extra=extra))
    signals.send_on_commit(signals.job_deleted, instance, by=instance.deleted_by)


def await_worker(job: Job) -> None:
    """Set the deadline for the next claim, unless a task awaits input, which may take any time."""
    if job.current_tasks.filter(state=Task.State.AWAITING_INPUT).exists():
        return
    set_pickup_deadline(job)
    queued = job.current_tasks.filter(state=Task.State.QUEUED)
    delayed = queued.aggregate(until=Max("deadline"))["until"]
    if job.deadline_at and delayed:
        job.deadline_at = max(job.deadline_at, delayed)
    job.save_deadline()


def set_pickup_deadline(job: Job) -> None:
    """Fail the job after QUEUE_TIMEOUT, in case the message to a worker is lost."""
    job.clear_deadline()
    timeout = job_settings.QUEUE_TIMEOUT
    if timeout is not None:
        job.set_deadline(in_seconds=timeout, status=Status.FAILED)


def _by(user: AbstractBaseUser | None) -> dict[str, str]:
    return {"by": str(user.get_username())} if user is not None else {}


def _insert(job: Job) -> None:
    try:
        with atomic():
            job.save(force_insert=True)
    except IntegrityError as error:
        if job.idempotency_key is not None:
            jobs = Job.objects.filter(owner_id=job.owner_id, idempotency_key=job.idempotency_key)
            if (created := jobs.first()) is not None:
                raise AlreadyCreated(created) from error
        if not Job.objects.filter(job_id=job.job_id).exists():
            raise
        raise JobExists(
            ErrorText("The job_id %(job_id)s is not available.", job_id=job.job_id)
        ) from error


def _check_fields(job: Job) -> None:
    if not isinstance(job.payload, Mapping) or not all(isinstance(k, str) for k in job.payload):
        raise InvalidJob(
            "payload", ErrorText("must be an object whose keys are arguments of the runner.")
        )
    if isinstance(job.title, Promise):  # a lazy translation
        job.title = str(job.title)
    if not isinstance(job.title, str):
        raise InvalidJob(
            "title", ErrorText("must be a string. Given: %(value)s.", value=shown(job.title))
        )
    limit = job_settings.MAX_PAYLOAD_BYTES
    job.payload = transitions.normalized_json("payload", _arguments(job.payload), limit)
    try:
        job.clean_fields(exclude={"owner", "result"})
    except ValidationError as error:
        field, messages = next(iter(error.message_dict.items()))
        raise InvalidJob(field, messages[0]) from error
    dispatch.check_payload(job.task_type, job.payload)


def _arguments(payload: Mapping[str, Any]) -> Any:
    """Return the payload with its values converted; raise InvalidJob if one would be lost."""
    try:
        dump_json(payload, IT)
    except InvalidEvent as error:
        converted = convert(payload)
        for path in marked_paths(converted):
            reason = ErrorText(
                "has a value at %(place)s that JSON cannot represent: %(error)s",
                place=path or THE_TOP_LEVEL,
                error=error.args[0],
            )
            raise InvalidJob("payload", reason) from error
        return converted
    return payload


def _dispatch(job: Job) -> None:
    with fail_on_dispatch_error(job):
        dispatch.run(job.job_id, job.task_type, job.payload)


@contextmanager
def fail_on_dispatch_error(job: Job) -> Iterator[None]:
    """Fail a committed job if the body, which passes it to a queue, raises."""
    try:
        yield
    except Exception as error:
        logger.exception("job_dispatch_failed", extra={"job_id": job.job_id})
        reason = f"Dispatch failed: {shortened_error(error)}"
        try:
            job_fail(job_id=job.job_id, attempt=job.attempt, error=reason)
        except JobError:
            logger.info("job_finished_before_dispatch_failed", extra={"job_id": job.job_id})
