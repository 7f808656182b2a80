"""Writing jobs: the state machine, each step in one transaction.

A step locks the job's row, checks the transition, writes its event to the outbox and saves; on
commit the event is appended to the log, signals are sent and, for a new attempt, the job is handed
to its runner. Rolled back, none of this happens. Every function raises JobNotFound, InvalidJobId,
InvalidTransition, and StaleAttempt when it is given an `attempt` that is not the job's.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

import orjson
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from events.checks import is_number
from events.codec import dump_json
from events.conf import event_settings
from events.exceptions import InvalidEvent
from events.outbox import publish_event
from events.types import EventType, check_job_id, shown
from jobs import runners, signals
from jobs.conf import job_settings
from jobs.exceptions import (
    AlreadyCreated,
    InvalidJob,
    InvalidTransition,
    JobError,
    JobExists,
    JobNotFound,
    StaleAttempt,
)
from jobs.models import Job
from jobs.validators import clean_error

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

logger = logging.getLogger(__name__)

Status = Job.Status

JOB_CREATED: Final = "job_created"
JOB_CANCELLED: Final = "job_cancelled"
JOB_RETRIED: Final = "job_retried"


@dataclass(frozen=True, slots=True)
class _Step:
    """A step of the state machine: from which statuses it may be taken, and the refusal."""

    allowed_from: tuple[Status, ...]
    refusal: "_StrPromise"


_START: Final = _Step(
    (Status.PENDING,),
    _("Job %(job_id)s is %(status)s: it cannot be started; only a pending job can."),
)
_PROGRESS: Final = _Step(
    (Status.RUNNING,),
    _("Job %(job_id)s is %(status)s: it cannot be given progress; only a running job can."),
)
_COMPLETE: Final = _Step(
    (Status.RUNNING,),
    _("Job %(job_id)s is %(status)s: it cannot be completed; only a running job can."),
)
_FAIL: Final = _Step(
    (Status.PENDING, Status.RUNNING),
    _("Job %(job_id)s is %(status)s: it cannot be failed; only a pending or running job can."),
)
_CANCEL: Final = _Step(
    (Status.PENDING, Status.RUNNING),
    _("Job %(job_id)s is %(status)s: it cannot be cancelled; only a pending or running job can."),
)
_RETRY: Final = _Step(
    (Status.FAILED, Status.CANCELLED),
    _("Job %(job_id)s is %(status)s: it cannot be retried; only a failed or cancelled job can."),
)

_MUTABLE: Final = (
    "status", "attempt", "progress", "result", "error", "started_at", "finished_at",
)  # fmt: skip


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
        job.creation_key, job.creation_digest = creation
    if job_id is not None:
        job.job_id = check_job_id(job_id)
    _check_fields(job)
    with transaction.atomic():
        _insert(job)
        _publish(job, JOB_CREATED, title=job.title)
        transaction.on_commit(partial(signals.job_created.send_robust, sender=Job, job=job))
        transaction.on_commit(partial(_dispatch, job))
    return job


def job_start(*, job_id: str, attempt: int | None = None, **data: Any) -> Job:
    """A worker begins: pending -> running. `data` is added to the event, here and below."""
    with _step(_START, job_id, attempt) as job:
        job.status = Status.RUNNING
        job.started_at = timezone.now()
        _publish(job, EventType.TASK_STARTED, **{"status": "started", **data})
    return job


def job_progress(*, job_id: str, progress: float, attempt: int | None = None, **data: Any) -> Job:
    """A running job is at `progress` per cent. Raises InvalidJob for a number outside 0 to 100."""
    if not is_number(progress, most=100):
        raise InvalidJob("progress", f"is a number from 0 to 100. Given: {shown(progress)}.")
    with _step(_PROGRESS, job_id, attempt) as job:
        job.progress = float(progress)
        event = {"status": "running", "progress": progress, **data}
        _publish(job, EventType.TASK_PROGRESS, **event)
        transaction.on_commit(partial(signals.job_progressed.send_robust, sender=Job, job=job))
    return job


def job_complete(
    *, job_id: str, result: Any = None, attempt: int | None = None, **data: Any
) -> Job:
    """The job is done: running -> completed. Raises InvalidJob for a result that is not JSON."""
    with _step(_COMPLETE, job_id, attempt) as job:
        job.status = Status.COMPLETED
        job.progress = 100.0
        job.result = _as_read_back("result", result, event_settings.MAX_EVENT_BYTES)
        job.finished_at = _finish_time(job)
        event = {"status": "completed", "result": job.result, **data}
        _publish(job, EventType.TASK_COMPLETED, **event)
    return job


def job_fail(*, job_id: str, error: object, attempt: int | None = None, **data: Any) -> Job:
    """The job failed: pending or running -> failed. `error` is a message or an exception."""
    with _step(_FAIL, job_id, attempt) as job:
        job.status = Status.FAILED
        job.error = clean_error(error)
        job.finished_at = _finish_time(job)
        event = {"status": "failed", "error": job.error, **data}
        _publish(job, EventType.TASK_FAILED, **event)
    return job


def job_cancel(
    *, job_id: str, by: AbstractBaseUser | None = None, attempt: int | None = None
) -> Job:
    """Somebody no longer wants it: pending or running -> cancelled."""
    with _step(_CANCEL, job_id, attempt) as job:
        job.status = Status.CANCELLED
        job.finished_at = _finish_time(job)
        _publish(job, JOB_CANCELLED, **_by(by))
    return job


def job_retry(
    *, job_id: str, by: AbstractBaseUser | None = None, attempt: int | None = None
) -> Job:
    """Try again, in the same log: failed or cancelled -> pending, as a new attempt."""
    with _step(_RETRY, job_id, attempt) as job:
        job.status = Status.PENDING
        job.attempt += 1
        job.progress = 0.0
        job.result = None
        job.error = ""
        job.started_at = job.finished_at = None
        _publish(job, JOB_RETRIED, **_by(by))
    # After the step, so that its signals come before those of a runner that works at once.
    transaction.on_commit(partial(_dispatch, job))
    return job


def _by(user: AbstractBaseUser | None) -> dict[str, str]:
    return {"by": user.get_username()} if user is not None else {}


def _finish_time(job: Job) -> Any:
    """Now, or the start if the clock has gone back since."""
    return max(timezone.now(), job.started_at or job.created_at)


@contextmanager
def _step(step: _Step, job_id: str, attempt: int | None) -> Iterator[Job]:
    """Lock the job, check that the step may be taken, and save what the body did to it."""
    with transaction.atomic():
        job = _locked(check_job_id(job_id))
        if attempt is not None and attempt != job.attempt:
            raise StaleAttempt(f"Job {job_id} is at attempt {job.attempt}, not at {attempt}.")
        old_status = Status(job.status)
        if old_status not in step.allowed_from:
            raise InvalidTransition(step.refusal % {"job_id": job_id, "status": old_status})
        yield job
        job.save(update_fields=_MUTABLE)
        if job.status != old_status:
            _signal_on_commit(job, old_status)


def _locked(job_id: str) -> Job:
    if not connection.features.has_select_for_update:
        # SQLite has one lock, for writers: taken by the first statement, it is waited for; asked
        # for after a read, it may be refused at once.
        Job.objects.filter(job_id=job_id).update(progress=F("progress"))
    try:
        return Job.objects.select_for_update().defer("payload", "result").get(job_id=job_id)
    except Job.DoesNotExist as error:
        raise JobNotFound(f"There is no job {job_id}.") from error


def _insert(job: Job) -> None:
    try:
        with transaction.atomic():
            job.save(force_insert=True)
    except IntegrityError as error:
        if job.creation_key is not None:
            created = Job.objects.filter(owner_id=job.owner_id, creation_key=job.creation_key)
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
    job.payload = _as_read_back("payload", job.payload, job_settings.MAX_PAYLOAD_BYTES)
    try:
        job.clean_fields(exclude={"owner", "result"})
    except ValidationError as error:
        field, messages = next(iter(error.message_dict.items()))
        raise InvalidJob(field, messages[0]) from error
    runners.check_payload(job.task_type, job.payload)


def _as_read_back(field: str, value: object, limit: int) -> Any:
    """`value` as JSON has it: a date as text, a tuple as a list; InvalidJob for what it has not."""
    try:
        data = dump_json(value, "it")
    except InvalidEvent as error:
        raise InvalidJob(field, str(error)) from error
    if len(data) > limit:
        raise InvalidJob(field, f"is {len(data)} bytes of JSON; the limit is {limit}.")
    return orjson.loads(data)


def _publish(job: Job, event_type: str, **data: Any) -> None:
    """Write the event in the job's transaction; on commit it is appended to the log."""
    event_data = {"event_type": event_type, **job.lifecycle(), **data}
    try:
        publish_event(job.job_id, event_data, epoch=job.attempt)
    except InvalidEvent as error:
        raise InvalidJob("event", str(error)) from error


def _signal_on_commit(job: Job, old_status: Status) -> None:
    send = partial(
        signals.job_status_changed.send_robust,
        sender=Job,
        job=job,
        old_status=old_status,
        new_status=Status(job.status),
    )
    transaction.on_commit(send)


def _dispatch(job: Job) -> None:
    try:
        runners.run(job.job_id, job.task_type, job.payload)
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
