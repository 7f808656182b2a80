"""Checks whether a worker may claim a task, or whether its message is late or duplicated."""

from datetime import timedelta

from django.db.models import Q, QuerySet

from events.archive.reader import is_deleted
from events.database import now_expression
from events.exceptions import DeliveryRejected
from events.execution.run import Delivery
from jobs import transitions
from jobs.conf import job_settings
from jobs.exceptions import JobNotFound
from jobs.models import Job, Task

State = Task.State
Status = Job.Status


def lock_claimed_job(job_id: str) -> Job:
    """Lock the job of a message; raise DeliveryRejected if it was deleted, else JobNotFound."""
    try:
        return transitions.lock_job(job_id)
    except JobNotFound as error:
        if is_deleted(job_id):
            raise DeliveryRejected(f"Job {job_id} was deleted.") from error
        raise


def check_claimable(job: Job, task: Task | None, delivery: Delivery) -> None:
    """Raise DeliveryRejected for a finished job, another attempt or a duplicate message."""
    if task is None and delivery.attempt not in (None, job.attempt):
        raise DeliveryRejected(
            f"The task was sent for attempt {delivery.attempt}, not {job.attempt}."
        )
    if job.is_terminal and (task is None or task.state != State.LOST or _has_siblings(job, task)):
        raise DeliveryRejected(f"Job {job.job_id} is {job.status}.")
    if task is None and job.status == Status.RUNNING and _is_duplicate(job, delivery):
        raise DeliveryRejected(
            f"Another message has started {delivery.task_type} of job {job.job_id}."
        )


def is_nested(task: Task, delivery: Delivery) -> bool:
    """Return whether a task runs within itself, as Celery's `replace` does without a worker."""
    is_local = task.heartbeat_at is None and not delivery.sends_heartbeats
    return task.state == State.RUNNING and is_local


def _is_duplicate(job: Job, delivery: Delivery) -> bool:
    """Return whether the task was sent twice, and not as two steps of one canvas."""
    if not delivery.sends_heartbeats:  # without a queue, there are no messages
        return False
    tasks = job.current_tasks.order_by()
    if tasks.filter(Q(external_id__in=delivery.relatives) | _in_group(delivery.group)).exists():
        return False
    return tasks.filter(task_type=delivery.task_type).exists()


def _has_siblings(job: Job, task: Task) -> bool:
    """Return whether a task's group has other tasks, which no message redelivers."""
    return job.current_tasks.filter(_in_group(task.group_key)).exclude(pk=task.pk).exists()


def _in_group(group: str) -> Q:
    return Q(group_key=group) if group else Q(pk=None)


def check_lease_expired(job: Job, task: Task) -> None:
    """Raise DeliveryRejected for a redelivered task, unless its worker is dead."""
    if task.state == State.RUNNING and (seconds := _lease_seconds(task)) > 0:
        raise DeliveryRejected(f"Worker {task.worker} has the task and sends heartbeats.", seconds)
    if task.state == State.AWAITING_INPUT:
        raise DeliveryRejected("The task awaits input.")
    if task.state == State.FINISHED and not _is_stuck(job):
        raise DeliveryRejected("The task is finished.")


def _is_stuck(job: Job) -> bool:
    """Return whether a running job has no unfinished task."""
    return (
        job.status == Status.RUNNING and not job.current_tasks.filter(state__in=Task.OPEN).exists()
    )


def _lease_seconds(task: Task) -> float:
    """Return after how many seconds to check a running task again; 0 if its worker is dead."""
    timeout = job_settings.WORKER_TIMEOUT
    if task.heartbeat_at is None or not silent_tasks(timeout).filter(pk=task.pk).exists():
        return timeout / 2
    return 0.0


def silent_tasks(seconds: float) -> QuerySet[Task]:
    """Return tasks of running jobs without heartbeats for some seconds, by the database's clock."""
    active = Task.objects.filter(state__in=Task.ACTIVE, job__status=Status.RUNNING)
    span = timedelta(seconds=seconds)
    # A heartbeat in the future was sent before the clock was turned back.
    now = now_expression()
    is_silent = Q(heartbeat_at__lt=now - span) | Q(heartbeat_at__gt=now + span)
    return active.filter(is_silent)
