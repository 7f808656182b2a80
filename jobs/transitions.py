"""State machine of jobs: the transitions, and how one is applied.

A transition locks the row of the job, checks the status, writes an event to the outbox and saves.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import orjson
from django.db.models import F
from django.utils.translation import gettext_noop

from events.codec import dump_json, time_text
from events.conf import event_settings
from events.database import atomic, database_now, locks_at_begin, write_connection
from events.error_text import ErrorText
from events.exceptions import InvalidEvent
from events.execution.run import TASK_STOPPED, span_id
from events.json_values import event_of_values, to_json
from events.outbox import publish_event
from events.spans import seconds_between, span_fields
from events.types import check_job_id
from jobs import signals
from jobs.exceptions import InvalidJob, InvalidTransition, JobNotFound, StaleAttempt
from jobs.models import Attempt, Job, Task

Status = Job.Status

_EVENT_FIELDS_BYTES: Final = 4 * 1024


class Transition(NamedTuple):
    """A transition: the text about a job that it is refused for, and the statuses that allow it."""

    refusal: str
    allowed_from: tuple[Status, ...]


# Whole sentences: a translation of the participle alone may fit no sentence.
START: Final = Transition(
    gettext_noop("Job %(job_id)s cannot be started: it is %(status)s, not %(allowed)s."),
    (Status.PENDING,),
)
PROGRESS: Final = Transition(
    gettext_noop("Job %(job_id)s cannot be given progress: it is %(status)s, not %(allowed)s."),
    (Status.RUNNING,),
)
COMPLETE: Final = Transition(
    gettext_noop("Job %(job_id)s cannot be completed: it is %(status)s, not %(allowed)s."),
    (Status.RUNNING,),
)
FAIL: Final = Transition(
    gettext_noop("Job %(job_id)s cannot be failed: it is %(status)s, not %(allowed)s."),
    (Status.PENDING, Status.RUNNING),
)
INPUT: Final = Transition(
    gettext_noop("Job %(job_id)s cannot be given input: it is %(status)s, not %(allowed)s."),
    (Status.RUNNING,),
)
CANCEL: Final = Transition(
    gettext_noop("Job %(job_id)s cannot be cancelled: it is %(status)s, not %(allowed)s."),
    (Status.PENDING, Status.RUNNING),
)
RETRY: Final = Transition(
    gettext_noop("Job %(job_id)s cannot be retried: it is %(status)s, not %(allowed)s."),
    (Status.FAILED, Status.CANCELLED),
)
_WORDS: Final = {
    Status.PENDING: ErrorText("pending"),
    Status.RUNNING: ErrorText("running"),
    Status.COMPLETED: ErrorText("completed"),
    Status.FAILED: ErrorText("failed"),
    Status.CANCELLED: ErrorText("cancelled"),
}
# The subject of errors whose field is named before them.
IT: Final = ErrorText("it")

# Status of the spans that the end of a job ends.
SPAN_STATUSES: Final = {
    Status.COMPLETED: "done",
    Status.FAILED: "failed",
    Status.CANCELLED: "cancelled",
}

_MUTABLE: Final = (
    "status", "attempt", "progress", "phase", "error", "started_at", "finished_at", "deadline_at",
    "deadline_status",
)  # fmt: skip


@contextmanager
def transition(
    kind: Transition, job_id: str, attempt: int | None, locked_job: Job | None = None
) -> Iterator[Job]:
    """Lock and check the job, run the body, and save its changes.

    A job that the body ends gets a finish time, no deadline and no open tasks. `locked_job` is the
    job if the transaction of the caller has locked it already.
    """
    with atomic(savepoint=locked_job is None):
        job = locked_job or lock_job(check_job_id(job_id))
        check_allowed(kind, job, attempt)
        old_status, old_attempt = Status(job.status), job.attempt
        yield job
        if job.is_terminal:
            now = database_now()
            # Not before the start, even if the clock has gone backwards.
            job.finished_at = max(now, job.started_at or now)
            job.clear_deadline()
        # An unchanged result is not loaded: it may be large.
        result = () if "result" in job.get_deferred_fields() else ("result",)
        job.save(update_fields=(*_MUTABLE, *result))
        if job.attempt != old_attempt:
            Attempt.of(job, database_now()).save(force_insert=True)
        elif job.status != old_status:
            save_attempts([job])
        if job.status != old_status:
            change = {"old_status": old_status, "new_status": Status(job.status)}
            signals.send_on_commit(signals.job_status_changed, job, **change)


def save_attempts(jobs: Iterable[Job]) -> None:
    """Copy status, times and error of jobs to the rows of their attempts, in one statement."""
    Attempt.objects.bulk_create(
        [Attempt.of(job) for job in jobs],
        update_conflicts=True,
        unique_fields=("key",),
        update_fields=(*Attempt.FOLLOWED, "reason"),
    )


def publish_end(job: Job, event_type: str, **data: Any) -> None:
    """Publish the event that ends an attempt, and finish its open tasks.

    The event also ends the span of a task that runs, if it has no other span.
    """
    running = [task for task in job.open_tasks if task.state in Task.ACTIVE]
    if running and "data" not in data:
        data |= span_end(running.pop(0), SPAN_STATUSES[Status(job.status)])
    _stop(job, running)
    publish(job, event_type, **data)


def stop_tasks(job: Job) -> None:
    """Finish the open tasks of an attempt that its log has ended."""
    _stop(job, [task for task in job.open_tasks if task.state in Task.ACTIVE])


def _stop(job: Job, running: Sequence[Task]) -> None:
    for task in reversed(running):  # a nested task before the one that called it
        # `job_status` keeps subscribers connected: the log continues.
        data = {"job_status": Status.RUNNING, **span_end(task, SPAN_STATUSES[Status(job.status)])}
        publish(job, TASK_STOPPED, **{"task_type": task.task_type, **data})
    if job.open_tasks:
        job.current_tasks.filter(state__in=Task.OPEN).update(state=Task.State.FINISHED)


def span_end(task: Task, status: str) -> dict[str, Any]:
    """Return the fields of the event that ends the span of a task whose worker does not."""
    now = database_now()
    seconds = seconds_between(task.started_at or now, now)
    run_id = span_id(task.external_id, task.delivery_count)
    return span_fields(run_id, task.parent_run_id or None, status=status, seconds=seconds)


def check_allowed(kind: Transition, job: Job, attempt: int | None) -> None:
    """Raise StaleAttempt for another attempt, InvalidTransition for another status."""
    if attempt not in (None, job.attempt):
        raise StaleAttempt(
            ErrorText(
                "Job %(job_id)s is at attempt %(current)s, not at %(attempt)s.",
                job_id=job.job_id,
                current=job.attempt,
                attempt=attempt,
            )
        )
    if job.status not in kind.allowed_from:
        words = [_WORDS[each] for each in kind.allowed_from]
        allowed = words[0]
        if len(words) > 1:
            allowed = ErrorText("%(one)s or %(other)s", one=words[0], other=words[1])
        status = _WORDS[Status(job.status)]
        raise InvalidTransition(
            ErrorText(kind.refusal, job_id=job.job_id, status=status, allowed=allowed)
        )


def lock_job(job_id: str, *, wait: bool = True) -> Job:
    """Return the job, locked until the transaction ends. Raises JobNotFound.

    Without `wait`, also if another transaction has locked it, on databases with SKIP LOCKED.
    """
    if not (write_connection().features.has_select_for_update or locks_at_begin()):
        # SQLite has one write lock. A transaction whose first statement takes it waits; one that
        # requests it after a read may fail at once.
        Job.objects.filter(job_id=job_id).update(progress=F("progress"))
    skip = not wait and write_connection().features.has_select_for_update_skip_locked
    jobs = Job.objects.select_for_update(skip_locked=skip).defer("payload", "result")
    try:
        return jobs.get(job_id=job_id)
    except Job.DoesNotExist as error:
        raise JobNotFound(
            ErrorText("The job_id %(job_id)s is not available.", job_id=job_id)
        ) from error


def publish(job: Job, event_type: str, **data: Any) -> None:
    """Publish an event with any values if the transaction commits. Raises InvalidJob."""
    state = {"task_type": job.task_type, "job_status": job.status, "attempt": job.attempt}
    event = {"event_type": event_type, **state, **data}
    try:
        event = event_of_values(event, event_settings.MAX_EVENT_BYTES)
        publish_event(job.job_id, event, epoch=job.attempt)
    except InvalidEvent as error:
        raise InvalidJob("event", error.args[0]) from error


def converted_json(value: object, limit: int) -> Any:
    """Return any value as JSON of at most `limit` bytes, for a column."""
    return orjson.loads(orjson.dumps(to_json(value, limit), time_text))


def converted_result(result: object) -> Any:
    """Return any value as JSON that an event can hold besides its other fields."""
    limit = event_settings.MAX_EVENT_BYTES
    return converted_json(result, max(limit - _EVENT_FIELDS_BYTES, limit // 2))


def normalized_json(field: str, value: object, limit: int) -> Any:
    """Return `value` as a JSON decoder would return it: a tuple as a list, a date as a string.

    Raises InvalidJob for a value that is not JSON or larger than `limit` bytes.
    """
    try:
        data = dump_json(value, IT)
    except InvalidEvent as error:
        raise InvalidJob(field, error.args[0]) from error
    if len(data) > limit:
        text = ErrorText(
            "is %(size)d bytes of JSON; the limit is %(limit)d.", size=len(data), limit=limit
        )
        raise InvalidJob(field, text)
    return orjson.loads(data)
