"""Deliveries of tasks to workers: the start of one, and its end if its worker dies."""

import logging
from datetime import datetime, timedelta
from typing import Any, Final

from events.codec import replace_invalid
from events.database import aware_time, database_now, now_expression
from events.execution.run import TASK_STOPPED, Delivery, Reason, queue_fields, span_id
from events.spans import current_span, span_fields
from events.types import EventType
from jobs import services, transitions
from jobs.exceptions import InvalidTransition
from jobs.models import Job, Task

logger = logging.getLogger(__name__)

State = Task.State
Status = Job.Status

TASK_RETRY: Final = "task_retry"

_MAX_WORKER_CHARACTERS: Final = 255


def fail_lost_task(job: Job, task: Task, reason: Reason, error: str) -> None:
    """Fail a locked job because the worker of a task is dead."""
    data = {"task_type": task.task_type, **end_span(task, "failed", State.LOST)}
    try:
        fail_job(job, error, reason=reason, worker=task.worker, **data)
    except InvalidTransition:
        # The log has already ended the job: a redelivery must not start a new attempt.
        logger.info("task_lost_after_end", extra={"job_id": job.job_id})
        Task.objects.filter(pk=task.pk).update(state=State.FINISHED)
        if "data" in data:
            transitions.publish(job, TASK_STOPPED, reason=reason, **data)


def end_span(task: Task, status: str, state: State) -> dict[str, Any]:
    """Set the state of a task whose worker is dead; return the end of its span, if it is open."""
    Task.objects.filter(pk=task.pk).update(state=state)
    return transitions.span_end(task, status) if task.state in Task.ACTIVE else {}


def fail_job(job: Job, error: object, **data: Any) -> None:
    """Fail the current attempt of a job."""
    services.job_fail(job_id=job.job_id, attempt=job.attempt, error=error, **data)


def start_attempt(job: Job, task: Task) -> None:
    """Start a new attempt of the job for a redelivered task."""
    if not job.is_terminal:
        error = f"Worker {task.worker} was lost; the queue redelivered the task."
        # `job_status` keeps subscribers connected: the log continues.
        data = {"reason": Reason.WORKER_LOST, "job_status": Status.RUNNING, "worker": task.worker}
        is_active = task.state in Task.ACTIVE  # else its next task was never sent
        data |= end_span(task, "failed", State.LOST if is_active else State(task.state))
        fail_job(job, error, task_type=task.task_type, **data)
    services.job_retry(job_id=job.job_id, dispatch=False, reason="redelivered")


def start_task(job: Job, task: Task | None, delivery: Delivery, count: int) -> int:
    """Save a task as running, after `count` deliveries; return its delivery count."""
    if task is None:
        task = Task(job=job, attempt_id=job.attempt_key, external_id=delivery.external_id)
    elif task.state in Task.ACTIVE:  # the attempt continues without its last worker
        end = transitions.span_end(task, "retry")
        transitions.publish(job, TASK_RETRY, task_type=task.task_type, **end)
    now, limit = database_now(), delivery.time_limit
    task.queue, task.task_type = delivery.queue, delivery.task_type
    task.group_key, task.worker = delivery.group, worker_name(delivery)
    task.state = State.RUNNING
    task.delivery_count = count + 1
    task.started_at = now
    task.heartbeat_at = now_expression() if delivery.sends_heartbeats else None
    task.deadline = None if limit is None else now + timedelta(seconds=limit)
    optional = {"worker": delivery.worker, "retries": delivery.retries}
    data: dict[str, Any] = {"task_type": delivery.task_type}
    data |= {name: value for name, value in optional.items() if value}
    run_id, parent_run_id = span_id(task.external_id, count + 1), current_span(job.job_id)
    task.parent_run_id = parent_run_id or ""
    data |= span_fields(run_id, parent_run_id, **_queue_fields(job, delivery, now))
    if job.status == Status.PENDING:
        data |= {"started_at": now, "has_deadline": not delivery.sends_heartbeats}
        services.job_start(job_id=job.job_id, attempt=job.attempt, locked_job=job, **data)
    else:
        transitions.publish(job, EventType.TASK_STARTED, **{"status": "started", **data})
        if delivery.sends_heartbeats:
            job.clear_deadline()
        else:
            job.set_run_deadline(now)
        job.save_deadline()
    task.save()
    return task.delivery_count


def _queue_fields(job: Job, delivery: Delivery, now: datetime) -> dict[str, float]:
    """Return how long a task waited; the first one waits from the creation of its attempt."""
    enqueued_at = delivery.enqueued_at
    if enqueued_at is None and job.status == Status.PENDING:
        times = job.attempts.filter(number=job.attempt).values_list("created_at", flat=True)
        created_at = job.created_at if job.attempt == 1 else times.first()
        enqueued_at = created_at and aware_time(created_at)
    return queue_fields(enqueued_at, aware_time(now))


def worker_name(delivery: Delivery) -> str:
    """Return the name of the worker as the column stores it."""
    return replace_invalid(delivery.worker)[:_MAX_WORKER_CHARACTERS]
