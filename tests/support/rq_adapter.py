"""RQ, as a queue of tasks of jobs; the example of docs/how-to.md, "Use another queue"."""

from functools import wraps
from math import ceil

from rq import Queue, Retry, get_current_job
from rq.command import send_stop_job_command
from rq.timeouts import JobTimeoutException

from events.execution.adapter import Failed, PutBack, QueueAdapter, register_adapter
from events.execution.run import Delivery, Reason, keeper
from events.streams.clients import get_redis


@register_adapter
class RQAdapter(QueueAdapter):
    name = "rq"

    def outcome(self, error):
        message = get_current_job()
        if isinstance(error, Exception) and message.should_retry:
            return PutBack(message.get_retry_interval(), error)
        if isinstance(error, JobTimeoutException):
            return Failed(Reason.TIMED_OUT, "The task took longer than its timeout.")
        return super().outcome(error)

    def refuse(self, delivery, refusal):
        if refusal.retry_in is not None:
            return Retry(max=10, interval=ceil(refusal.retry_in))  # takes RQ's scheduler
        return None

    def stop(self, key):
        send_stop_job_command(get_redis(), key)


def job_task(function):
    """Let a function be a task of the job that its first argument names."""

    @wraps(function)
    def task(job_id, **payload):
        message = get_current_job()
        delivery = Delivery(
            queue=RQAdapter.name,
            external_id=message.id,
            job_id=job_id,
            task_type=function.__name__,
            attempt=message.meta.get("attempt"),
            worker=message.worker_name or "",
        )
        return RQAdapter().run(delivery, lambda: function(job_id, **payload))

    def enqueue(job_id, **payload):
        meta = {"attempt": keeper().attempt_of(job_id)}
        queue = Queue(connection=get_redis())
        return queue.enqueue(task, args=(job_id,), kwargs=payload, meta=meta)

    task.enqueue = enqueue
    return task
