"""RQ tasks."""

import time
from typing import Any

from rq import Queue, Retry, get_current_job

from events.streams.clients import get_redis
from tests.support import queue_work
from tests.support.rq_adapter import job_task


@job_task
def steps(job_id: str, count: int = 3) -> dict[str, Any]:
    return queue_work.steps(job_id, count)


@job_task
def fails(job_id: str) -> None:
    raise ValueError("out of paper")


@job_task
def gate(job_id: str, cancellable: bool = True) -> str:
    return queue_work.wait_at_gate(job_id, cancellable=cancellable)


@job_task
def tries_again(job_id: str) -> str:
    if get_current_job().should_retry:
        raise ValueError("not yet")
    return "second try"


@job_task
def sleeps(job_id: str) -> None:
    time.sleep(60)


def with_retry(job_id: str) -> None:
    Queue(connection=get_redis()).enqueue(tries_again, job_id, retry=Retry(max=1))


def with_timeout(job_id: str) -> None:
    Queue(connection=get_redis()).enqueue(sleeps, job_id, job_timeout=1)
