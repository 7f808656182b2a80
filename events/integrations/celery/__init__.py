"""Celery tasks that publish lifecycle events and update their job.

task            `JobTask` and `follows_job`
adapter         queue adapter of Celery
messages        job, attempt and options of task messages
canvas          tasks of the same job in what a task sends and in what follows it
worker_events   lost workers and revoked tasks, reported by the main process of a worker

Allowed imports: `events.execution` and the packages below it.
"""

try:
    from events.integrations.celery import worker_events  # noqa: F401 - connects signals
    from events.integrations.celery.adapter import CeleryAdapter
    from events.integrations.celery.messages import ATTEMPT_HEADER
    from events.integrations.celery.task import JobTask, follows_job
except ImportError as error:
    raise ImportError(
        "Celery is not installed. Install it with: pip install 'django-job-events[celery]'"
    ) from error

__all__ = ["ATTEMPT_HEADER", "CeleryAdapter", "JobTask", "follows_job"]
