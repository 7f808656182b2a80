"""Queue adapter of RQ; the example of docs/how-to.md, "Use another queue"."""

from functools import wraps
from math import ceil

import rq
from rq.command import send_stop_job_command
from rq.timeouts import JobTimeoutException

from events.execution import (
    Delivery,
    Failed,
    QueueAdapter,
    Reason,
    Retry,
    register_adapter,
    run_tracker,
)
from events.streams.clients import get_redis


@register_adapter
class RQAdapter(QueueAdapter):
    name = "rq"

    def outcome(self, error):
        message = rq.get_current_job()
        if isinstance(error, Exception) and message.should_retry:
            return Retry(message.get_retry_interval(), error)
        if isinstance(error, JobTimeoutException):
            return Failed(Reason.TIMED_OUT, "The task took longer than its timeout.")
        return super().outcome(error)

    def refuse(self, delivery, refusal):
        if refusal.retry_in is not None:
            return rq.Retry(max=10, interval=ceil(refusal.retry_in))  # needs RQ's scheduler
        return None

    def stop(self, external_id):
        send_stop_job_command(get_redis(), external_id)


def job_task(function):
    """Make a function a task; its first argument is the job_id."""

    @wraps(function)
    def task(job_id, **payload):
        message = rq.get_current_job()
        delivery = Delivery(
            queue=RQAdapter.name,
            external_id=message.id,
            job_id=job_id,
            task_type=function.__name__,
            attempt=message.meta.get("attempt"),
            worker=message.worker_name or "",
            enqueued_at=message.enqueued_at,
        )
        return RQAdapter().run(delivery, lambda: function(job_id, **payload))

    def enqueue(job_id, **payload):
        meta = {"attempt": run_tracker().current_attempt(job_id)}
        queue = rq.Queue(connection=get_redis())
        return queue.enqueue(task, args=(job_id,), kwargs=payload, meta=meta)

    task.enqueue = enqueue
    return task
