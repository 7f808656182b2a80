"""The tasks of jobs: who may run one, and what its end is for its job.

A task of a job is *waiting* (told of before it was taken up, or to be tried again later) ->
*running* (a worker has it, and is heard of) -> *over*; or *asked* on the way, while a person is to
answer. Instead of over it may be *released* (its worker is dead, and the queue brings it again at
once) or *lost* (its worker is dead, and its job has failed of it). Each step locks the job first,
so that two of them follow one another.

A message may come twice, or again after its worker died. By the row of its task it is known, and

- refused, if the job is over, or at another attempt, or the task is over;
- put off, while another worker has the task and is heard of;
- run again otherwise: as a new attempt at the job, so that the log and the row refuse the former
  worker should it wake up; a task of a group in the same attempt, for the others still run in it.
"""

import logging
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from time import monotonic
from typing import Any, Final

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from events.conf import event_settings
from events.exceptions import DeliveryRejected, ProducerFenced
from events.execution.run import TASK_ENQUEUED, Delivery, Question, Reason, TaskRun
from events.types import EventType
from jobs import inputs, services, transitions
from jobs.conf import job_settings
from jobs.exceptions import InvalidJob, InvalidTransition, JobError, JobNotFound, StaleAttempt
from jobs.execution.claims import check_claimable, is_nested, refuse_unless_dead
from jobs.models import InputRequest, Job, Task
from jobs.validators import clean_error, clean_text

logger = logging.getLogger(__name__)

State = Task.State
Status = Job.Status

TASK_RETRY: Final = "task_retry"
TASK_REVOKED: Final = "task_revoked"

# How often a task is taken up whose worker dies of it again and again.
MOST_RUNS: Final = 5
_LONGEST: Final = 255
# A group is sent task by task: the first may be over before the last is told of.
_GROUP_SECONDS: Final = 3.0
_BEATS: Final = 6  # in the time after which a worker is taken for dead


class JobRunTracker:
    """The keeper of the tasks of jobs: an `events.execution.run.RunTracker`."""

    given_up: tuple[type[Exception], ...] = (InvalidTransition, StaleAttempt, ProducerFenced)

    def attempt_of(self, job_id: str) -> int | None:
        """The attempt that the job is at; None if there is no such job."""
        return Job.objects.filter(job_id=job_id).values_list("attempt", flat=True).first()

    def enqueued(self, delivery: Delivery) -> None:
        """Say that a queue has the task, unless a worker was faster; raises JobNotFound."""
        said = {
            "task_type": delivery.task_type,
            "queue": delivery.queue,
            "external_id": delivery.external_id,
        }
        with transaction.atomic():
            job = transitions.lock_job(delivery.job_id)
            if (
                not job.is_terminal
                and not job.tasks.filter(external_id=delivery.external_id).exists()
            ):
                transitions.publish(job, TASK_ENQUEUED, **said)

    def announce(self, delivery: Delivery) -> None:
        """Remember that the task is still to come."""
        with transaction.atomic():
            job = transitions.lock_job(delivery.job_id)
            if not job.is_terminal:
                Task.objects.get_or_create(
                    job=job, external_id=delivery.external_id, defaults=_told(delivery)
                )
                if job.deadline_status == Status.COMPLETED:  # another task seemed to be the last
                    _await_worker(job, timezone.now())

    def begin(self, delivery: Delivery) -> tuple[int, int]:
        """Let a worker have the task; raises DeliveryRejected and JobNotFound."""
        with transaction.atomic():
            job = transitions.lock_job(delivery.job_id)
            task = Task.objects.filter(job=job, external_id=delivery.external_id).first()
            check_claimable(job, task, delivery)
            if task is None or task.state == State.QUEUED or is_nested(task, delivery):
                return job.attempt, _begin(job, task, delivery)
            refuse_unless_dead(job, task)
            if task.delivery_count < MOST_RUNS:
                task = task if task.group_key and not job.is_terminal else _new_attempt(job, task)
                job = transitions.lock_job(delivery.job_id)
                return job.attempt, _begin(job, task, delivery)
            lose_task(
                job, task, Reason.WORKER_LOST, f"Its worker died {task.delivery_count} times."
            )
        raise DeliveryRejected(f"The task was begun {task.delivery_count} times.")

    def beat(self, runs: Sequence[TaskRun]) -> Collection[TaskRun]:
        """Write that the workers live; returns the runs whose job or task is theirs no more."""
        wanted = Q()
        for run in runs:
            wanted |= Q(job__job_id=run.job_id, external_id=run.delivery.external_id)
        columns = (
            "job__job_id",
            "external_id",
            "pk",
            "delivery_count",
            "state",
            "job__status",
            "job__attempt",
        )
        rows = {
            (row[0], row[1]): row[2:] for row in Task.objects.filter(wanted).values_list(*columns)
        }
        due, stopped = dict[TaskRun, int](), list[TaskRun]()
        for run in runs:
            row = rows.get((run.job_id, run.delivery.external_id))
            if row is None or row[1:] != (
                run.delivery_count,
                State.RUNNING,
                Status.RUNNING,
                run.attempt,
            ):
                stopped.append(run)
            elif run.delivery.beats and _is_due(run):
                due[run] = row[0]
        if due:
            at = monotonic()
            Task.objects.filter(pk__in=due.values(), state=State.RUNNING).update(heartbeat_at=Now())
            for run in due:  # only now: what the database did not take is said at the next beat
                run.beaten_at = at
        return stopped

    def complete(self, run: TaskRun, result: Any, *, more: bool) -> None:
        """End the task; with the last one, the job is completed."""
        with transaction.atomic():
            job = _held(run)
            data = {"task_type": run.task_type, **_kept(result)}
            more = more or job.tasks.filter(state__in=Task.OPEN).exists()
            if not more and not run.delivery.group:
                services.job_complete(
                    job_id=job.job_id, attempt=run.attempt, locked_job=job, **data
                )
                return
            event = {"status": "completed", **data}
            transitions.publish(job, EventType.TASK_COMPLETED, **event)
            _await_next(job, is_last=not more)

    def fail(self, run: TaskRun, error: BaseException, reason: Reason | None, message: str) -> None:
        """End the task, and the job with it."""
        said = {"task_type": run.task_type, "error_type": type(error).__name__}
        if reason is not None:
            said["reason"] = reason
        with transaction.atomic():
            _held(run)
            services.job_fail(
                job_id=run.job_id, attempt=run.attempt, error=message or error, **said
            )

    def answer(self, run: TaskRun, name: str) -> tuple[bool, Any]:
        """Whether a person has answered what this attempt asked by this name, and what."""
        asked = InputRequest.objects.filter(
            job__job_id=run.job_id, attempt=run.attempt, name=name, answered_at__isnull=False
        )
        found = list(asked.values_list("value", flat=True))
        return bool(found), found[0] if found else None

    def ask(self, run: TaskRun, questions: Sequence[Question], resume: Any) -> None:
        """Let the task wait for a person: without a worker, and for as long as it takes."""
        with transaction.atomic():
            job = _held(run, State.AWAITING_INPUT)
            kept = transitions.normalized_json("arguments", resume, job_settings.MAX_PAYLOAD_BYTES)
            job.tasks.filter(external_id=run.delivery.external_id).update(resume=kept)
            for each in questions:
                inputs.input_request(
                    job_id=job.job_id,
                    name=each.name,
                    prompt=each.prompt,
                    choices=each.choices,
                    task_type=run.task_type,
                )
            job.clear_deadline()
            job.save_deadline()
            inputs.go_on(job)  # the answer may have come meanwhile

    def schedule_retry(self, run: TaskRun, error: object, seconds: float) -> None:
        """Let the task wait for its next try."""
        with transaction.atomic():
            job = _held(run, State.QUEUED)
            if error is not None:
                said = {"error": clean_error(error), "retry_in": round(seconds, 3)}
                transitions.publish(job, TASK_RETRY, task_type=run.task_type, **said)
            _await_worker(job, timezone.now() + timedelta(seconds=seconds))

    def abort(self, run: TaskRun, error: BaseException) -> None:
        """Fail the job, whose next task nobody was asked to run."""
        services.job_fail(
            job_id=run.job_id, attempt=run.attempt, error=error, task_type=run.task_type
        )

    def lose(self, delivery: Delivery, reason: Reason, error: str) -> None:
        """The job fails, if the task is still at work, or was about to begin it."""
        with transaction.atomic():
            job, task = _at_work(delivery)
            if job is None:
                return
            if task is not None:
                lose_task(job, task, reason, error)
            elif _is_not_begun(job, delivery):
                said = {"task_type": delivery.task_type, "reason": reason}
                services.job_fail(job_id=job.job_id, attempt=job.attempt, error=error, **said)

    def release(self, delivery: Delivery) -> None:
        """Let whoever is brought the task next have it at once."""
        with transaction.atomic():
            _job, task = _at_work(delivery)
            if task is not None:
                _set(task, state=State.RELEASED)

    def revoke(self, delivery: Delivery, reason: Reason) -> None:
        """The job is cancelled, unless it is over."""
        try:
            with transaction.atomic():
                job = transitions.lock_job(delivery.job_id)
                is_of_attempt = delivery.attempt in (None, job.attempt)
                if (
                    not is_of_attempt
                    and not job.tasks.filter(external_id=delivery.external_id).exists()
                ):
                    return
                services.job_cancel(
                    job_id=job.job_id,
                    event_type=TASK_REVOKED,
                    task_type=delivery.task_type,
                    reason=reason,
                )
        except (InvalidTransition, JobNotFound) as error:
            logger.info("task_revoked_late", extra={"job_id": delivery.job_id, "why": str(error)})


def lose_task(job: Job, task: Task, reason: Reason, error: str) -> None:
    """The job, which is locked, fails of the death of the worker of one of its tasks."""
    said = {"task_type": task.task_type, "reason": reason, "worker": task.worker}
    try:
        services.job_fail(job_id=job.job_id, attempt=job.attempt, error=error, **said)
    except InvalidTransition:
        # It is over by what its log says, and no message is to begin it again.
        logger.info("task_lost_late", extra={"job_id": job.job_id})
        _set(task, state=State.FINISHED)
    else:
        _set(task, state=State.LOST)


def _told(delivery: Delivery) -> dict[str, Any]:
    return {
        "queue": delivery.queue,
        "task_type": delivery.task_type,
        "group_key": delivery.group,
        "state": State.QUEUED,
    }


def _new_attempt(job: Job, task: Task) -> Task:
    number, external_id, queue = task.delivery_count, task.external_id, task.queue
    if not job.is_terminal:
        error = f"Worker {task.worker} was lost; the task was brought again."
        # The log goes on: whoever views it is not to be sent away.
        said = {"reason": Reason.WORKER_LOST, "job_status": Status.RUNNING}
        data = {"task_type": task.task_type, "worker": task.worker, **said}
        services.job_fail(job_id=job.job_id, attempt=job.attempt, error=error, **data)
    services.job_retry(job_id=job.job_id, dispatch=False, reason="redelivered")
    return Task(
        job=job,
        external_id=external_id,
        queue=queue,
        delivery_count=number,
        task_type=task.task_type,
    )


def _begin(job: Job, task: Task | None, delivery: Delivery) -> int:
    """Write that the task runs; returns its number."""
    task = task or Task(job=job, external_id=delivery.external_id)
    task.queue, task.task_type = delivery.queue, delivery.task_type
    task.group_key = delivery.group
    task.delivery_count += 1
    task.state = State.RUNNING
    task.worker = _name(delivery)
    now, limit = timezone.now(), delivery.time_limit
    task.started_at = now
    task.heartbeat_at = Now() if delivery.beats else None
    task.deadline = None if limit is None else now + timedelta(seconds=limit)
    said = {"task_type": delivery.task_type, **_asides(delivery)}
    if job.status == Status.PENDING:
        services.job_start(job_id=job.job_id, attempt=job.attempt, locked_job=job, **said)
    else:
        transitions.publish(job, EventType.TASK_STARTED, **{"status": "started", **said})
        job.clear_deadline()
        job.save_deadline()
    task.save()
    return task.delivery_count


def _asides(delivery: Delivery) -> dict[str, Any]:
    said: dict[str, Any] = {"worker": delivery.worker} if delivery.worker else {}
    return {**said, **({"retries": delivery.again} if delivery.again else {})}


def _held(run: TaskRun, state: State = State.FINISHED) -> Job:
    """End the task with the job locked; raises StaleAttempt if somebody else has it by now."""
    job = transitions.lock_job(run.job_id)
    mine = Task.objects.filter(
        job=job,
        external_id=run.delivery.external_id,
        delivery_count=run.delivery_count,
        state=State.RUNNING,
    )
    if job.attempt != run.attempt or not mine.update(state=state):
        raise StaleAttempt(f"Job {run.job_id} was given to another worker, or is over.")
    return job


def _kept(result: Any) -> dict[str, Any]:
    """The result as an event and a row can hold it; a task does not fail of what it returns."""
    try:
        return {
            "result": transitions.normalized_json(
                "result", result, event_settings.MAX_EVENT_BYTES // 2
            )
        }
    except InvalidJob as error:
        return {"result": None, "result_omitted": error.message}


def _await_next(job: Job, *, is_last: bool) -> None:
    """Another task is to come; after what seems to be the last of a group, for a moment only."""
    if is_last:
        job.set_deadline(
            at=timezone.now() + timedelta(seconds=_GROUP_SECONDS), status=Status.COMPLETED
        )
        job.save_deadline()
    else:
        _await_worker(job, timezone.now())


def _await_worker(job: Job, since: datetime) -> None:
    """Somebody is to come, unless it is a person who takes their time."""
    if not job.tasks.filter(state=State.AWAITING_INPUT).exists():
        services.set_pickup_deadline(job, since)
        job.save_deadline()


def _at_work(delivery: Delivery) -> tuple[Job | None, Task | None]:
    """The job, locked, and its task, if a worker has it: that worker, if it says which."""
    try:
        job = transitions.lock_job(delivery.job_id)
    except JobError:
        return None, None
    tasks = job.tasks.filter(external_id=delivery.external_id, state__in=Task.ACTIVE)
    return job, (tasks.filter(worker=_name(delivery)) if delivery.worker else tasks).first()


def _is_not_begun(job: Job, delivery: Delivery) -> bool:
    """Whether the job waits for this very message, which nobody has begun."""
    begun = job.tasks.filter(external_id=delivery.external_id).exclude(
        state=State.QUEUED, delivery_count=0
    )
    return not job.is_terminal and delivery.attempt == job.attempt and not begun.exists()


def _name(delivery: Delivery) -> str:
    return clean_text(delivery.worker)[:_LONGEST]


def _set(task: Task, **values: Any) -> None:
    for name, value in values.items():
        setattr(task, name, value)
    task.save(update_fields=values)


def _is_due(run: TaskRun) -> bool:
    return monotonic() >= run.beaten_at + job_settings.WORKER_TIMEOUT / _BEATS
