"""Telling queues to end tasks, or to go on, by the adapters of `events.integrations`."""

import logging
from collections.abc import Iterable

from events.execution.adapter import get_adapter
from jobs.models import Task

logger = logging.getLogger(__name__)


def stop(tasks: Iterable[Task]) -> None:
    """Have their queues end them; where that cannot be, they stop when they look."""
    for task in tasks:
        try:
            get_adapter(task.queue).stop(task.external_id)
        except Exception:
            # A queue that is away, or cannot: the job is cancelled all the same.
            extra = {
                "job_id": task.job.job_id,
                "queue": task.queue,
                "external_id": task.external_id,
            }
            logger.exception("task_not_stopped", extra=extra)


def resume(task: Task, attempt: int) -> None:
    """Have its queue bring a task to a worker again; raises what the queue raises."""
    get_adapter(task.queue).resume(task.resume, attempt)
