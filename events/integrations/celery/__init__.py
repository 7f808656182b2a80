"""Celery tasks that publish lifecycle events and update their job.

task            `JobTask`, `follows_job` and the queue adapter
messages        headers and arguments of task messages
worker_events   lost workers and revoked messages
"""

from events.integrations.celery.messages import ATTEMPT_HEADER
from events.integrations.celery.task import CeleryAdapter, JobTask, follows_job

__all__ = ["ATTEMPT_HEADER", "CeleryAdapter", "JobTask", "follows_job"]
