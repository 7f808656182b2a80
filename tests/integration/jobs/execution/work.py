"""Deliveries of tasks of the job `abc`, and their claims."""

from events.execution.run import Delivery, TaskRun
from jobs.execution.tracker import JobRunTracker
from jobs.models import Job

TRACKER = JobRunTracker()


def message(key="k1", **fields):
    return Delivery(**{
        "queue": "test", "external_id": key, "job_id": "abc", "task_type": "work",
        "worker": "w1", **fields,
    })  # fmt: skip


def claim(key="k1", **fields):
    delivery = message(key, **fields)
    return TaskRun(delivery, *TRACKER.claim(delivery), TRACKER)


def row():
    return Job.objects.get(job_id="abc")
