"""Celery tasks of the tests, which can kill their process at given points.

`kill:{job_id}` in Redis is a list of `<process> at <point>`. When a process reaches the point of
the first entry, SIGKILL is sent to it (a `child` of the pool) or to the whole `worker`.
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from functools import wraps
from typing import Any

import redis
from celery import chain, chord, group, shared_task

from events.execution.run import current_run
from events.integrations.celery import JobTask, follows_job
from events.publisher import RedisStreamPublisher
from events.streams.clients import get_async_redis, get_redis
from jobs.execution.tracker import JobRunTracker
from tests.support.queue_work import wait_at_gate


def kill_at(job_id: str, point: str) -> None:
    key = f"kill:{job_id}"
    try:
        first = get_redis().lindex(key, 0)
    except redis.ConnectionError:  # the test has killed the server
        return
    process, _, expected = (first or b"").decode().partition(" at ")
    if expected == point:
        get_redis().lpop(key)
        if process == "worker":
            os.killpg(os.getpgid(0), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)


def kill_around(name: str, job_of: Callable[[Any], str]) -> None:
    """Add kill points before and after a method of the run tracker."""
    original = getattr(JobRunTracker, name)

    @wraps(original)
    def patched(self: JobRunTracker, subject: Any, *args: Any, **kwargs: Any) -> Any:
        kill_at(job_of(subject), f"before {name}")
        result = original(self, subject, *args, **kwargs)
        kill_at(job_of(subject), f"after {name}")
        return result

    setattr(JobRunTracker, name, patched)


kill_around("claim", lambda delivery: delivery.job_id)
kill_around("complete", lambda run: run.job_id)


@shared_task(base=JobTask, bind=True)
def steps(self, job_id: str, count: int = 3, **_kwargs: Any) -> dict:
    for number in range(count):
        self.progress(100 * (number + 1) / count, f"step {number}")
        kill_at(job_id, "work")
    self.publisher.publish_event(job_id, {"event_type": "worked", "pid": os.getpid()})
    return {"steps": count}


@shared_task(base=JobTask, bind=True)
def fails(self, job_id: str) -> None:
    raise ValueError("out of paper")


@shared_task(base=JobTask, bind=True, max_retries=2)
def tries_again(self, job_id: str, times: int = 2, countdown: float = 0.2) -> str:
    if self.request.retries < times:
        raise self.retry(countdown=countdown, exc=ValueError(f"try {self.request.retries}"))
    return f"after {times}"


@shared_task(base=JobTask, bind=True, soft_time_limit=1)
def soft(self, job_id: str) -> None:
    time.sleep(30)


@shared_task(base=JobTask, bind=True, time_limit=1)
def hard(self, job_id: str) -> None:
    time.sleep(30)


@shared_task(base=JobTask, bind=True)
def gate(self, job_id: str, cancellable: bool = True) -> str:
    return wait_at_gate(job_id, cancellable=cancellable)


@shared_task(base=JobTask, bind=True)
def waits_for_file(self, job_id: str, path: str) -> str:
    """Use only the database until a file exists."""
    self.publisher.publish_event(job_id, {"event_type": "waits_for_file"})
    while not os.path.exists(path):
        self.check_cancelled()
        time.sleep(0.05)
    return "held"


@shared_task(base=JobTask, bind=True, acks_late=True, reject_on_worker_lost=True)
def late_gate(self, job_id: str) -> str:
    return wait_at_gate(job_id)


@shared_task(base=JobTask, bind=True, acks_late=True, reject_on_worker_lost=True)
def late(self, job_id: str) -> str:
    return steps.run(job_id)


@shared_task(base=JobTask, bind=True)
async def coroutine(self, job_id: str, wait: float = 0.0) -> str:
    publisher = RedisStreamPublisher(get_async_redis(), epoch=self.job_run.attempt)
    try:
        for number in range(3):
            await publisher.publish_event(job_id, {"event_type": "awaited", "number": number})
        await asyncio.sleep(wait)
    except asyncio.CancelledError:
        self.publisher.publish_event(job_id, {"event_type": "unwound"})
        raise
    return "awaited"


@shared_task(base=JobTask, bind=True)
def loops(self, job_id: str, count: int = 20) -> int:
    """Publish through asyncio.run; return the number of connections opened."""

    async def publish() -> None:
        publisher = RedisStreamPublisher(get_async_redis())
        for number in range(count):
            await publisher.publish_event(job_id, {"event_type": "looped", "number": number})

    before = get_redis().info("stats")["total_connections_received"]
    asyncio.run(publish())
    return int(get_redis().info("stats")["total_connections_received"]) - int(before)


@shared_task
@follows_job(task_type="decorated_work")
def decorated(job_id: str) -> str:
    current_run().progress(50)
    return "decorated"


@shared_task(bind=True, autoretry_for=(ValueError,), max_retries=1, default_retry_delay=0)
@follows_job
def decorated_tries(self, job_id: str) -> str:
    if not self.request.retries:
        raise ValueError("not yet")
    return "decorated"


@shared_task(base=JobTask, bind=True)
def link(self, previous: Any, job_id: str, name: str, fail: bool = False) -> str:
    self.publisher.publish_event(job_id, {"event_type": "linked", "name": name})
    if fail:
        raise ValueError(f"{name} failed")
    return f"{previous or ''}{name}"


@shared_task(base=JobTask, bind=True)
def gather(self, previous: list[str], job_id: str) -> str:
    return "+".join(sorted(previous))


@shared_task(base=JobTask, bind=True, autoretry_for=(Exception,), max_retries=1)
def requests_input(self, job_id: str) -> str:
    self.publisher.publish_event(job_id, {"event_type": "begun"})
    name = self.ask("What is your name?")
    sure = self.ask({"text": "Are you sure?", "of": name}, choices=["yes", "no"], name="sure")
    return f"{name}: {sure}"


def requests_input_in_chain(job_id: str) -> None:
    chain(requests_input.si(job_id), link.s(job_id, "!")).delay()


def chained(job_id: str) -> None:
    chain(link.s("", job_id, "a"), link.s(job_id, "b"), link.s(job_id, "c")).delay()


def chain_fails(job_id: str) -> None:
    chain(link.s("", job_id, "a"), link.s(job_id, "b", fail=True), link.s(job_id, "c")).delay()


def grouped(job_id: str, count: int = 4) -> None:
    group(link.s("", job_id, str(number)) for number in range(count)).delay()


def chorded(job_id: str, count: int = 4) -> None:
    header = [link.s("", job_id, str(number)) for number in range(count)]
    chord(header, gather.s(job_id)).delay()


def chord_in_chain(job_id: str) -> None:
    header = group(link.s(job_id, str(number)) for number in range(3))
    chain(link.s("", job_id, "first"), header, gather.s(job_id), link.s(job_id, "last")).delay()


@shared_task(base=JobTask, bind=True)
def nested(self, job_id: str) -> str:
    # Its result is that of the job if it ends last.
    link.apply_async(("", job_id, "inner"), countdown=2)
    return "outer"
