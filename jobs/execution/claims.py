"""Which messages of tasks are not begun: of those that come twice, or too late."""

from datetime import timedelta

from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from events.exceptions import DeliveryRejected
from events.execution.run import Delivery
from jobs.conf import job_settings
from jobs.models import Job, Task

State = Task.State
Status = Job.Status


def check_claimable(job: Job, task: Task | None, delivery: Delivery) -> None:
    """Refuse a message of another attempt, or of a job that is over."""
    if task is None and delivery.attempt not in (None, job.attempt):
        raise DeliveryRejected(
            f"The task was sent for attempt {delivery.attempt}, not {job.attempt}."
        )
    if job.is_terminal and (task is None or task.state != State.LOST or _has_others(job, task)):
        raise DeliveryRejected(f"Job {job.job_id} is {job.status}.")
    if task is None and job.status == Status.RUNNING and _is_twice(job, delivery):
        raise DeliveryRejected(
            f"Another message has begun {delivery.task_type} of job {job.job_id}."
        )


def is_nested(task: Task, delivery: Delivery) -> bool:
    """Whether a task is run within itself, as Celery's `replace` does where there is no worker."""
    return task.state == State.RUNNING and task.heartbeat_at is None and not delivery.beats


def _is_twice(job: Job, delivery: Delivery) -> bool:
    """Whether the same task was sent twice, and not as two steps of one canvas."""
    of_job = job.tasks.order_by()
    if not delivery.beats:  # where there is no queue, nothing is sent
        return False
    if of_job.filter(Q(external_id__in=delivery.relatives) | _of_group(delivery.group)).exists():
        return False
    return of_job.filter(task_type=delivery.task_type).exists()


def _has_others(job: Job, task: Task) -> bool:
    """Whether a task is one of a group, the rest of which no message brings again."""
    others = job.tasks.filter(_of_group(task.group_key)).exclude(pk=task.pk)
    return others.exists()


def _of_group(group: str) -> Q:
    return Q(group_key=group) if group else Q(pk=None)


def refuse_unless_dead(job: Job, task: Task) -> None:
    """Refuse a message that comes again, unless its task was begun and nobody works on it."""
    if task.state == State.RUNNING and (left := _seconds_left(task)) > 0:
        raise DeliveryRejected(f"Worker {task.worker} has the task, and is heard of.", left)
    if task.state == State.AWAITING_INPUT:
        raise DeliveryRejected("The task waits for a person.")
    if task.state == State.FINISHED and not _is_stuck(job):
        raise DeliveryRejected("The task is over.")


def _is_stuck(job: Job) -> bool:
    """Whether the job waits for a step of which nothing was heard."""
    return job.status == Status.RUNNING and not job.tasks.filter(state__in=Task.OPEN).exists()


def _seconds_left(task: Task) -> float:
    """How long the worker of a running task may still be silent."""
    timeout = job_settings.WORKER_TIMEOUT
    if task.heartbeat_at is None or not silent_tasks(timeout).filter(pk=task.pk).exists():
        return timeout / 2
    return 0.0


def silent_tasks(seconds: float) -> QuerySet[Task]:
    """The tasks of running jobs whose workers were not heard of for so long, by the database."""
    at_work = Task.objects.filter(state__in=Task.ACTIVE, job__status=Status.RUNNING)
    return at_work.filter(heartbeat_at__lt=Now() - timedelta(seconds=seconds))
