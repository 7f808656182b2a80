"""Writing jobs: the state machine, each step in one transaction.

A step (`jobs.transitions`) writes its event to the outbox and saves the job; on commit the event is
appended to the log, signals are sent and, for a new attempt, the job is handed to its runner.
Rolled back, none of this happens. Every function raises JobNotFound, InvalidJobId,
InvalidTransition, and StaleAttempt when it is given an `attempt` that is not the job's.
"""

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, cast

from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from events.conf import event_settings, is_number
from events.types import EventType, check_job_id, shown
from jobs import signals, transitions
from jobs.conf import job_settings
from jobs.exceptions import AlreadyCreated, InvalidJob, JobError, JobExists
from jobs.execution import dispatch
from jobs.models import Job, Task
from jobs.validators import clean_error

logger = logging.getLogger(__name__)

Status = Job.Status

JOB_CREATED: Final = "job_created"
JOB_CANCELLED: Final = "job_cancelled"
JOB_RETRIED: Final = "job_retried"


def job_create(
    *,
    task_type: str,
    owner: AbstractBaseUser | None = None,
    payload: Mapping[str, Any] | None = None,
    title: str = "",
    job_id: str | None = None,
    creation: tuple[str, str] | None = None,
) -> Job:
    """Create a pending job; one whose task_type has a runner is handed to it on commit.

    `creation` is by what the request of an owner is recognised that may come again, and a digest
    of what it asks for: raises AlreadyCreated if it has come, with the job that there is. Raises
    InvalidJob, JobExists, InvalidJobId, too.
    """
    job = Job(
        task_type=task_type, owner=cast(Any, owner), payload={} if payload is None else payload
    )
    job.title = title
    if creation is not None:
        job.idempotency_key, job.request_fingerprint = creation
    if job_id is not None:
        job.job_id = check_job_id(job_id)
    _check_fields(job)
    if job.task_type in job_settings.RUNNERS:
        set_pickup_deadline(job)
    with transaction.atomic():
        _insert(job)
        transitions.publish(job, JOB_CREATED, title=job.title)
        transaction.on_commit(partial(signals.job_created.send_robust, sender=Job, job=job))
        transaction.on_commit(partial(_dispatch, job))
    return job


def job_start(
    *, job_id: str, attempt: int | None = None, locked_job: Job | None = None, **data: Any
) -> Job:
    """A worker begins: pending -> running. `data` is added to the event, here and below.

    `locked_job` is the job if the caller's transaction has locked it, here and below.
    """
    with transitions.transition(transitions.START, job_id, attempt, locked_job) as job:
        job.status = Status.RUNNING
        job.started_at = timezone.now()
        job.clear_deadline()
        transitions.publish(job, EventType.TASK_STARTED, **{"status": "started", **data})
    return job


def job_progress(*, job_id: str, progress: float, attempt: int | None = None, **data: Any) -> Job:
    """A running job is at `progress` per cent. Raises InvalidJob for a number outside 0 to 100."""
    if not is_number(progress, most=100):
        raise InvalidJob("progress", f"is a number from 0 to 100. Given: {shown(progress)}.")
    with transitions.transition(transitions.PROGRESS, job_id, attempt) as job:
        job.progress = float(progress)
        event = {"status": "running", "progress": progress, **data}
        transitions.publish(job, EventType.TASK_PROGRESS, **event)
        transaction.on_commit(partial(signals.job_progressed.send_robust, sender=Job, job=job))
    return job


def job_complete(
    *,
    job_id: str,
    result: Any = None,
    attempt: int | None = None,
    locked_job: Job | None = None,
    **data: Any,
) -> Job:
    """The job is done: running -> completed. Raises InvalidJob for a result that is not JSON."""
    with transitions.transition(transitions.COMPLETE, job_id, attempt, locked_job) as job:
        job.status = Status.COMPLETED
        job.progress = 100.0
        job.result = transitions.normalized_json("result", result, event_settings.MAX_EVENT_BYTES)
        job.finished_at = transitions.finish_time(job)
        event = {"status": "completed", "result": job.result, **data}
        transitions.publish(job, EventType.TASK_COMPLETED, **event)
    return job


def job_fail(*, job_id: str, error: object, attempt: int | None = None, **data: Any) -> Job:
    """The job failed: pending or running -> failed. `error` is a message or an exception."""
    with transitions.transition(transitions.FAIL, job_id, attempt) as job:
        job.status = Status.FAILED
        job.error = clean_error(error)
        job.finished_at = transitions.finish_time(job)
        event = {"status": "failed", "error": job.error, **data}
        transitions.publish(job, EventType.TASK_FAILED, **event)
    return job


def job_cancel(
    *,
    job_id: str,
    by: AbstractBaseUser | None = None,
    attempt: int | None = None,
    terminate: bool = False,
    event_type: str = JOB_CANCELLED,
    **data: Any,
) -> Job:
    """Somebody no longer wants it: pending or running -> cancelled.

    Its tasks are told within a second, and stop when they look. With `terminate` their queue is
    told, too, to end them where they stand, if it can.
    """
    with transitions.transition(transitions.CANCEL, job_id, attempt) as job:
        tasks = [] if not terminate else list(job.tasks.filter(state__in=Task.OPEN))
        job.status = Status.CANCELLED
        job.finished_at = transitions.finish_time(job)
        how = {"terminate": True} if terminate else {}
        transitions.publish(job, event_type, **_by(by), **how, **data)
        transaction.on_commit(partial(dispatch.stop_tasks, tasks))
    return job


def job_retry(
    *,
    job_id: str,
    by: AbstractBaseUser | None = None,
    attempt: int | None = None,
    dispatch: bool = True,
    **data: Any,
) -> Job:
    """Try again, in the same log: failed or cancelled -> pending, as a new attempt.

    It is handed to its runner, unless `dispatch` is False: then the caller runs it.
    """
    with transitions.transition(transitions.RETRY, job_id, attempt) as job:
        job.status = Status.PENDING
        job.attempt += 1
        job.progress = 0.0
        job.result = None
        job.error = ""
        job.started_at = job.finished_at = None
        job.tasks.all().delete()
        if job.task_type in job_settings.RUNNERS:
            set_pickup_deadline(job)
        transitions.publish(job, JOB_RETRIED, **_by(by), **data)
    # After the step, so that its signals come before those of a runner that works at once.
    if dispatch:
        transaction.on_commit(partial(_dispatch, job))
    return job


def set_pickup_deadline(job: Job, since: datetime | None = None) -> None:
    """Whatever happens to the message that is sent to a worker, the job does not wait for ever."""
    timeout = job_settings.QUEUE_TIMEOUT
    job.clear_deadline()
    if timeout is not None:
        due = (since or timezone.now()) + timedelta(seconds=timeout)
        job.set_deadline(at=due, status=Status.FAILED)


def _by(user: AbstractBaseUser | None) -> dict[str, str]:
    return {"by": user.get_username()} if user is not None else {}


def _insert(job: Job) -> None:
    try:
        with transaction.atomic():
            job.save(force_insert=True)
    except IntegrityError as error:
        if job.idempotency_key is not None:
            created = Job.objects.filter(owner_id=job.owner_id, idempotency_key=job.idempotency_key)
            if (same := created.first()) is not None:
                raise AlreadyCreated(same) from error
        if not Job.objects.filter(job_id=job.job_id).exists():
            raise
        raise JobExists(f"There is a job {job.job_id} already.") from error


def _check_fields(job: Job) -> None:
    if not isinstance(job.payload, Mapping):
        raise InvalidJob("payload", "must be an object, whose keys are its runner's arguments.")
    if not isinstance(job.title, str):
        raise InvalidJob("title", f"is text. Given: {shown(job.title)}.")
    job.payload = transitions.normalized_json(
        "payload", job.payload, job_settings.MAX_PAYLOAD_BYTES
    )
    try:
        job.clean_fields(exclude={"owner", "result"})
    except ValidationError as error:
        field, messages = next(iter(error.message_dict.items()))
        raise InvalidJob(field, messages[0]) from error
    dispatch.check_payload(job.task_type, job.payload)


def _dispatch(job: Job) -> None:
    try:
        dispatch.run(job.job_id, job.task_type, job.payload)
    except Exception as error:
        # A runner is anybody's code, and the job exists: what went wrong is said in its log.
        logger.exception("job_dispatch_failed", extra={"job_id": job.job_id})
        _fail_undispatched(job, error)


def _fail_undispatched(job: Job, error: Exception) -> None:
    try:
        reason = f"Could not be run: {clean_error(error)}"
        job_fail(job_id=job.job_id, attempt=job.attempt, error=reason)
    except JobError:
        logger.info("job_over_before_dispatch_failed", extra={"job_id": job.job_id})
