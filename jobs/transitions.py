"""The steps of the state machine: from which status each may be taken, and how one is taken.

A step locks the job's row, checks the transition, writes its event to the outbox and saves.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import orjson
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from events.codec import dump_json
from events.exceptions import InvalidEvent
from events.outbox import publish_event
from events.types import check_job_id
from jobs import signals
from jobs.exceptions import InvalidJob, InvalidTransition, JobNotFound, StaleAttempt
from jobs.models import Job, Task

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

Status = Job.Status


@dataclass(frozen=True, slots=True)
class Transition:
    """A step of the state machine: from which statuses it may be taken, and the refusal."""

    allowed_from: tuple[Status, ...]
    refusal: "_StrPromise"


START: Final = Transition(
    (Status.PENDING,),
    _("Job %(job_id)s is %(status)s: it cannot be started; only a pending job can."),
)
PROGRESS: Final = Transition(
    (Status.RUNNING,),
    _("Job %(job_id)s is %(status)s: it cannot be given progress; only a running job can."),
)
COMPLETE: Final = Transition(
    (Status.RUNNING,),
    _("Job %(job_id)s is %(status)s: it cannot be completed; only a running job can."),
)
FAIL: Final = Transition(
    (Status.PENDING, Status.RUNNING),
    _("Job %(job_id)s is %(status)s: it cannot be failed; only a pending or running job can."),
)
CANCEL: Final = Transition(
    (Status.PENDING, Status.RUNNING),
    _("Job %(job_id)s is %(status)s: it cannot be cancelled; only a pending or running job can."),
)
RETRY: Final = Transition(
    (Status.FAILED, Status.CANCELLED),
    _("Job %(job_id)s is %(status)s: it cannot be retried; only a failed or cancelled job can."),
)

_MUTABLE: Final = (
    "status", "attempt", "progress", "error", "started_at", "finished_at", "deadline_at",
    "deadline_status",
)  # fmt: skip


@contextmanager
def transition(
    step: Transition, job_id: str, attempt: int | None, locked_job: Job | None = None
) -> Iterator[Job]:
    """Lock the job, check that the step may be taken, and save what the body did to it.

    `locked_job` is the job if the caller's transaction has locked it.
    """
    with transaction.atomic(savepoint=locked_job is None):
        job = locked_job or lock_job(check_job_id(job_id))
        if attempt is not None and attempt != job.attempt:
            raise StaleAttempt(f"Job {job_id} is at attempt {job.attempt}, not at {attempt}.")
        old_status = Status(job.status)
        if old_status not in step.allowed_from:
            raise InvalidTransition(step.refusal % {"job_id": job_id, "status": old_status})
        yield job
        if job.is_terminal:
            job.clear_deadline()
            job.tasks.filter(state__in=Task.OPEN).update(state=Task.State.FINISHED)
        # What it had before is not read, and may be large.
        result = () if "result" in job.get_deferred_fields() else ("result",)
        job.save(update_fields=(*_MUTABLE, *result))
        if job.status != old_status:
            _signal_on_commit(job, old_status)


def lock_job(job_id: str, *, wait: bool = True) -> Job:
    """The job, which nobody else changes until the transaction ends; raises JobNotFound.

    Without `wait` one that somebody else has locked is not found either, on databases that can.
    """
    if not connection.features.has_select_for_update:
        # SQLite has one lock, for writers: taken by the first statement, it is waited for; asked
        # for after a read, it may be refused at once.
        Job.objects.filter(job_id=job_id).update(progress=F("progress"))
    skip = not wait and connection.features.has_select_for_update_skip_locked
    jobs = Job.objects.select_for_update(skip_locked=skip).defer("payload", "result")
    try:
        return jobs.get(job_id=job_id)
    except Job.DoesNotExist as error:
        raise JobNotFound(f"There is no job {job_id}.") from error


def publish(job: Job, event_type: str, **data: Any) -> None:
    """Write the event in the job's transaction; on commit it is appended to the log."""
    event_data = {"event_type": event_type, **job.lifecycle(), **data}
    try:
        publish_event(job.job_id, event_data, epoch=job.attempt)
    except InvalidEvent as error:
        raise InvalidJob("event", str(error)) from error


def finish_time(job: Job) -> Any:
    """Now, or the start if the clock has gone back since."""
    return max(timezone.now(), job.started_at or job.created_at)


def normalized_json(field: str, value: object, limit: int) -> Any:
    """`value` as JSON has it: a date as text, a tuple as a list; InvalidJob for what it has not."""
    try:
        data = dump_json(value, "it")
    except InvalidEvent as error:
        raise InvalidJob(field, str(error)) from error
    if len(data) > limit:
        raise InvalidJob(field, f"is {len(data)} bytes of JSON; the limit is {limit}.")
    return orjson.loads(data)


def _signal_on_commit(job: Job, old_status: Status) -> None:
    send = partial(
        signals.job_status_changed.send_robust,
        sender=Job,
        job=job,
        old_status=old_status,
        new_status=Status(job.status),
    )
    transaction.on_commit(send)
