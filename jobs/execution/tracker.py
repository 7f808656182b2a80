"""Run tracker that keeps the rows of jobs and their tasks.

States of a task: *queued* (announced, or scheduled for a retry) -> *running* (claimed by a worker
that sends heartbeats) -> *finished*, or *awaiting input* in between. A running task whose worker
dies becomes *released* (the queue redelivers it immediately) or *lost* (its job has failed). Every
step locks the job first, which serializes the steps of a job.
Failures: docs/explanation.md, "Tasks and their workers".
"""

import logging
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from time import monotonic
from typing import Any, Final

from django.db.models import Q, QuerySet

from events.conf import DAY_SECONDS
from events.database import atomic, database_now, now_expression
from events.error_report import error_type, shortened_error
from events.exceptions import DeliveryRejected, LogDeleted, ProducerFenced
from events.execution.run import (
    TASK_ENQUEUED,
    TASK_STOPPED,
    TASK_SUSPENDED,
    Delivery,
    Question,
    Reason,
    TaskRun,
)
from events.execution.tracker import RunTracker
from events.types import EventType
from jobs import inputs, services, transitions
from jobs.conf import job_settings
from jobs.exceptions import InvalidTransition, JobError, JobNotFound, StaleAttempt
from jobs.execution.claims import (
    check_claimable,
    check_lease_expired,
    is_nested,
    lock_claimed_job,
)
from jobs.execution.deliveries import (
    TASK_RETRY,
    end_span,
    fail_job,
    fail_lost_task,
    start_attempt,
    start_task,
    worker_name,
)
from jobs.models import InputRequest, Job, Task

logger = logging.getLogger(__name__)

State = Task.State
Status = Job.Status

TASK_REVOKED: Final = "task_revoked"

# Deliveries of a task that kills its worker each time.
MAX_DELIVERIES: Final = 5
# A group is sent task by task: its first task may end before the last one is announced.
_GROUP_SECONDS: Final = 3.0
_MAX_DELAY_SECONDS: Final = 10 * 365 * DAY_SECONDS
_HEARTBEATS_PER_TIMEOUT: Final = 6
_STARTED: Final = (State.RUNNING, State.AWAITING_INPUT, State.FINISHED)
_CLAIM_FIELDS: Final = ("job__job_id", "external_id", "delivery_count", "job__attempt")


class JobRunTracker(RunTracker):
    """`RunTracker` of the app `jobs`."""

    fencing_errors: tuple[type[Exception], ...] = (
        InvalidTransition, StaleAttempt, ProducerFenced, JobNotFound, LogDeleted,
    )  # fmt: skip

    def current_attempt(self, job_id: str) -> int | None:
        return Job.objects.filter(job_id=job_id).values_list("attempt", flat=True).first()

    def record_enqueued(self, delivery: Delivery) -> None:
        """Publish `task_enqueued`, unless a worker has claimed the task. Raises JobNotFound."""
        with atomic():
            job = transitions.lock_job(delivery.job_id)
            if not job.is_terminal and not _tasks(job, delivery).exists():
                data = {"queue": delivery.queue, "external_id": delivery.external_id}
                transitions.publish(job, TASK_ENQUEUED, task_type=delivery.task_type, **data)

    def announce(self, delivery: Delivery, delay: float = 0.0) -> None:
        defaults = {
            "queue": delivery.queue,
            "task_type": delivery.task_type,
            "group_key": delivery.group,
            "state": State.QUEUED,
            "deadline": _pickup_deadline(delay) if delay else None,
        }
        with atomic():
            job = transitions.lock_job(delivery.job_id)
            if not job.is_terminal:
                job.tasks.get_or_create(
                    attempt_id=job.attempt_key, external_id=delivery.external_id, defaults=defaults
                )
                if job.deadline_status == Status.COMPLETED:  # the group was taken for complete
                    services.await_worker(job)

    def postpone(self, job_id: str, delay: float) -> None:
        """Extend the deadline of a job that waits for a worker."""
        with atomic():
            job, until = transitions.lock_job(job_id), _pickup_deadline(delay)
            if until and job.deadline_at and job.deadline_at < until:
                job.deadline_at = until
                job.save_deadline()

    def claim(self, delivery: Delivery) -> tuple[int, int]:
        """Claim a task, unless it is claimed by a worker that sends heartbeats, or has ended.

        A redelivered task starts a new attempt, so that log and row fence the former worker. A task
        of a group stays in the attempt, because the other tasks of the group still run in it.
        """
        with atomic():
            job = lock_claimed_job(delivery.job_id)
            rows = list(job.tasks.filter(external_id=delivery.external_id))  # of all attempts
            count = max((each.delivery_count for each in rows), default=0)
            task = next((each for each in rows if each.attempt_id == job.attempt_key), None)
            check_claimable(job, task, delivery)
            if task is None or task.state == State.QUEUED or is_nested(task, delivery):
                return job.attempt, start_task(job, task, delivery, count)
            check_lease_expired(job, task)
            if task.delivery_count < MAX_DELIVERIES:
                delivery = replace(delivery, enqueued_at=None)
                if job.is_terminal or not task.group_key:
                    start_attempt(job, task)
                    task = None
                    job = transitions.lock_job(delivery.job_id)
                return job.attempt, start_task(job, task, delivery, count)
            error = f"The worker died {task.delivery_count} times."
            fail_lost_task(job, task, Reason.WORKER_LOST, error)
        raise DeliveryRejected(f"The task was delivered {task.delivery_count} times.")

    def send_heartbeats(self, runs: Sequence[TaskRun]) -> Collection[TaskRun]:
        """Update `heartbeat_at`; return the runs that have lost their claim."""
        claims = Q()
        for run in runs:
            claims |= Q(job__job_id=run.job_id, external_id=run.delivery.external_id)
        rows = Task.objects.filter(claims, state=State.RUNNING, job__status=Status.RUNNING)
        keys = {tuple(claim): pk for *claim, pk in rows.values_list(*_CLAIM_FIELDS, "pk")}
        held = {run: keys[_claim(run)] for run in runs if _claim(run) in keys}
        at = monotonic()
        until = at - job_settings.WORKER_TIMEOUT / _HEARTBEATS_PER_TIMEOUT
        due = [run for run in held if run.delivery.sends_heartbeats and run.last_heartbeat <= until]
        if due:
            claimed = Task.objects.filter(pk__in=[held[run] for run in due], state=State.RUNNING)
            claimed.update(heartbeat_at=now_expression())
            for run in due:  # after the update: if it fails, the next call repeats it
                run.last_heartbeat = at
        return [run for run in runs if run not in held]

    def complete(self, run: TaskRun, result: Any, *, continues: bool | None) -> None:
        # Before the transaction: methods of the result may take long, query, or fail a query.
        result = transitions.converted_result(result)
        with atomic():
            job = _finish_task(run)
            data = {"task_type": run.task_type, "result": result, **run.span_end("done")}
            continues = continues or bool(job.open_tasks)
            if not continues and not run.delivery.group:
                services.job_complete(
                    job_id=job.job_id, attempt=run.attempt, locked_job=job, **data
                )
                return
            transitions.publish(job, EventType.TASK_COMPLETED, **{"status": "completed", **data})
            if continues:
                services.await_worker(job)
            else:  # probably the last task of its group
                job.set_deadline(in_seconds=_GROUP_SECONDS, status=Status.COMPLETED)
                job.save_deadline()

    def fail(self, run: TaskRun, error: BaseException, reason: Reason | None, message: str) -> None:
        data = {"task_type": run.task_type, "error_type": error_type(error)}
        data |= run.span_failure(error)
        if reason is not None:
            data["reason"] = reason
        with atomic():
            fail_job(_finish_task(run), message or error, **data)

    def find_answer(self, run: TaskRun, question: Question) -> tuple[bool, Any]:
        requests = InputRequest.objects.filter(job__job_id=run.job_id, attempt=run.attempt)
        request = inputs.find_request(requests, question, run.delivery.external_id)
        if request is None or request.answered_at is None:
            return False, None
        return True, request.value

    def request_input(self, run: TaskRun, questions: Sequence[Question], resume: Any) -> None:
        questions = [inputs.checked(each) for each in questions]
        with atomic():
            job = _finish_task(run, State.AWAITING_INPUT)
            limit = job_settings.MAX_PAYLOAD_BYTES
            arguments = transitions.normalized_json("arguments", resume, limit)
            _tasks(job, run.delivery).update(resume=arguments)
            data = run.span_end("interrupted")
            transitions.publish(job, TASK_SUSPENDED, task_type=run.task_type, **data)
            for question in questions:
                inputs.ask(job, question, run.delivery.external_id, task_type=run.task_type)
            job.clear_deadline()
            job.save_deadline()
            inputs.resume_if_answered(job)  # the answer may be older than this transaction

    def schedule_retry(
        self, run: TaskRun, error: object, seconds: float, reason: Reason | None = None
    ) -> None:
        data: dict[str, Any] = {"error": shortened_error(error)} if error is not None else {}
        data |= {"reason": reason} if reason else {}
        with atomic():
            job = _finish_task(run, State.QUEUED, deadline=_pickup_deadline(seconds))
            data |= {"retry_in": round(seconds, 3), **run.span_end("retry")}
            transitions.publish(job, TASK_RETRY, task_type=run.task_type, **data)
            services.await_worker(job)

    def cancel(self, run: TaskRun, reason: Reason, message: str) -> None:
        data: dict[str, Any] = {"task_type": run.task_type, "reason": reason}
        data |= {"message": shortened_error(message)} if message else {}
        data |= run.span_end("cancelled")
        with atomic():
            job = _finish_task(run)
            services.job_cancel(
                job_id=job.job_id, attempt=run.attempt, event_type=TASK_REVOKED, **data
            )

    def stop(self, run: TaskRun) -> None:
        """Publish the end of the task's span, unless that of its job was in another transaction."""
        with suppress(JobNotFound, StaleAttempt, LogDeleted), atomic():
            job = _finish_task(run)
            data = run.span_end(transitions.SPAN_STATUSES.get(Status(job.status), "cancelled"))
            transitions.publish(job, TASK_STOPPED, task_type=run.task_type, **data)

    def abort(self, run: TaskRun, error: BaseException) -> None:
        services.job_fail(
            job_id=run.job_id, attempt=run.attempt, error=error, task_type=run.task_type
        )

    def mark_lost(self, delivery: Delivery, reason: Reason, error: str) -> None:
        """Fail the job, if the worker had claimed the task or was about to."""
        with atomic():
            job, task = _lock_active(delivery)
            if job is None:
                return
            if task is not None:
                fail_lost_task(job, task, reason, error)
            elif _is_unclaimed(job, delivery, is_rejected=reason == Reason.REJECTED):
                fail_job(job, error, task_type=delivery.task_type, reason=reason)

    def release(self, delivery: Delivery) -> None:
        """Release the task, so that the next delivery claims it without waiting."""
        with atomic():
            _job, task = _lock_active(delivery)
            if task is not None:
                Task.objects.filter(pk=task.pk).update(state=State.RELEASED)

    def revoke(self, delivery: Delivery, reason: Reason) -> None:
        """Cancel the job, unless it has finished or the message is of an earlier attempt.

        A message that expires after the start of its task is a duplicate.
        """
        data: dict[str, Any] = {"task_type": delivery.task_type, "reason": reason}
        try:
            with atomic():
                job = transitions.lock_job(delivery.job_id)
                task = _tasks(job, delivery).first()
                if reason == Reason.EXPIRED and task is not None and task.state in _STARTED:
                    return
                if task is not None:
                    data |= end_span(task, "cancelled", State.FINISHED)
                if task is not None or delivery.attempt in (None, job.attempt):
                    services.job_cancel(job_id=job.job_id, event_type=TASK_REVOKED, **data)
        except (InvalidTransition, JobNotFound) as error:
            extra = {"job_id": delivery.job_id, "reason": str(error)}
            logger.info("task_revocation_ignored", extra=extra)


def _tasks(job: Job, delivery: Delivery) -> QuerySet[Task]:
    return job.current_tasks.filter(external_id=delivery.external_id)


def _finish_task(run: TaskRun, state: State = State.FINISHED, **fields: Any) -> Job:
    """Lock the job and set the state of the task; raise StaleAttempt if the run lost its claim."""
    job = transitions.lock_job(run.job_id)
    held = _tasks(job, run.delivery).filter(delivery_count=run.delivery_count, state=State.RUNNING)
    if job.attempt != run.attempt or not held.update(state=state, **fields):
        raise StaleAttempt(f"Job {run.job_id} has finished or was given to another worker.")
    return job


def _pickup_deadline(delay: float) -> datetime | None:
    """Return until when a worker must claim a task that its queue keeps back for some seconds."""
    if (timeout := job_settings.QUEUE_TIMEOUT) is None:
        return None
    return database_now() + timedelta(seconds=min(delay, _MAX_DELAY_SECONDS) + timeout)


def _lock_active(delivery: Delivery) -> tuple[Job | None, Task | None]:
    """Lock the job; return it and the task, if the delivery's worker (or any) has claimed it."""
    try:
        job = transitions.lock_job(delivery.job_id)
    except JobError:
        return None, None
    tasks = _tasks(job, delivery).filter(state__in=Task.ACTIVE)
    return job, (tasks.filter(worker=worker_name(delivery)) if delivery.worker else tasks).first()


def _is_unclaimed(job: Job, delivery: Delivery, *, is_rejected: bool) -> bool:
    """Return whether the job waits for a message that no worker has claimed.

    A process that dies may have claimed a message and scheduled a retry.
    """
    fields = {} if is_rejected else {"delivery_count": 0}
    claimed = _tasks(job, delivery).exclude(state=State.QUEUED, **fields)
    return not job.is_terminal and delivery.attempt == job.attempt and not claimed.exists()


def _claim(run: TaskRun) -> tuple[str, str, int, int]:
    return run.job_id, run.delivery.external_id, run.delivery_count, run.attempt
