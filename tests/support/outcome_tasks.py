"""Celery tasks that end without a result."""

import asyncio
import sys
import time
from typing import Any

from celery import chain, chord, group, shared_task
from celery.exceptions import Ignore, Reject, Retry, WorkerShutdown

from events.integrations.celery import JobTask, follows_job
from events.streams.clients import get_redis
from tests.support.queue_work import wait_at_gate

ERRORS = {
    "retry": lambda: Retry("raised by the task"),
    "ignore": lambda: Ignore("done by another worker"),
    "reject": lambda: Reject("busy", requeue=False),
    "requeue": lambda: Reject("busy", requeue=True),
    "exit": lambda: SystemExit(3),
    "shutdown": lambda: WorkerShutdown(0),
    "cancelled": lambda: asyncio.CancelledError("by itself"),
}


def is_first(job_id: str) -> bool:
    return get_redis().incr(f"runs:{job_id}") == 1


@shared_task(base=JobTask, bind=True)
def raises(self, job_id: str, error: str) -> None:
    raise ERRORS[error]()


@shared_task
@follows_job
def decorated_raises(job_id: str, error: str) -> None:
    raise ERRORS[error]()


@shared_task(base=JobTask, bind=True, acks_late=True)
def late_raises_once(self, job_id: str, error: str) -> str:
    if is_first(job_id):
        raise ERRORS[error]()
    return "again"


class Prepared(JobTask):
    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        raise ERRORS[kwargs["error"]]()


@shared_task(base=Prepared)
def prepared(job_id: str, error: str) -> None:
    """Is never called."""


@shared_task(base=JobTask, bind=True)
def part(self, previous: Any, job_id: str, name: str) -> str:
    return f"{previous or ''}{name}"


@shared_task
@follows_job
def decorated_part(previous: Any, job_id: str, name: str) -> str:
    return f"{previous or ''}{name}"


@shared_task
def plain(*args: Any) -> str:
    time.sleep(0.5)  # the task that it replaces ends first: the job has the result of the last one
    return "plain"


@shared_task(base=JobTask, bind=True)
def replaces(self, job_id: str, by: str) -> Any:
    one, two = part.s("", job_id, "1"), part.s(job_id, "2")
    signatures = {
        "task": lambda: one,
        "decorated": lambda: decorated_part.s("", job_id, "1"),
        "plain": plain.s,
        "chain": lambda: chain(one, two),
        "chain to plain": lambda: chain(one, plain.s()),
        "chain from plain": lambda: chain(plain.s(), two),
        "chain around": lambda: chain(plain.s(), two, plain.s()),
        "group": lambda: group(one, part.s("", job_id, "3")),
        "chord": lambda: chord([one, one.clone()], two),
        "chord to plain": lambda: chord([one, one.clone()], plain.s()),
        "chord from plain": lambda: chord([plain.s(), plain.s()], two),
    }
    return self.replace(signatures[by]())


@shared_task(bind=True)
@follows_job
def decorated_replaces(self, job_id: str, by: str) -> Any:
    return replaces.run.__func__(self, job_id, by)


def replaced_in_chain(job_id: str, by: str) -> None:
    chain(replaces.si(job_id, by), part.s(job_id, "last")).delay()


@shared_task(base=JobTask, bind=True)
def sends_and_ignores(self, job_id: str, how: str) -> None:
    if how == "other":
        part.apply_async(("", job_id, "sent"), countdown=0.5)
    elif how == "own id":
        part.apply_async(("", job_id, "sent"), task_id=self.request.id, countdown=0.5)
    elif how == "plain":
        plain.delay(job_id)
    raise Ignore


def canvas(job_id: str, how: str) -> None:
    one, ignored = part.si("", job_id, "1"), raises.si(job_id, "ignore")
    two = chain(one.clone(), part.s(job_id, "2"))
    {
        "chain to plain": lambda: chain(one, plain.s()),
        "chord to plain": lambda: chord([one, one.clone()], plain.si()),
        "link": lambda: one.clone().set(link=part.s(job_id, "linked")),
        "link to plain": lambda: one.clone().set(link=plain.s()),
        "ignored in chain": lambda: chain(ignored, one),
        "ignored in group": lambda: group(ignored, one, one.clone()),
        "group of chains": lambda: group(chain(one, part.s(job_id, "2")), one.clone()),
        "chord of chains": lambda: chord([two, two.clone()], part.s(job_id, "body")),
        "chord of chords": lambda: chord(
            [chord([one, one.clone()], part.s(job_id, "inner")), one.clone()],
            part.s(job_id, "body"),
        ),
        "ignored in chord of chains": lambda: chord(
            [chain(ignored, one), two], part.s(job_id, "body")
        ),
        "ignored in chord": lambda: chord([ignored, one], part.s(job_id, "body")),
    }[how]().delay()


@shared_task(base=JobTask, bind=True)
def retries_and_returns(self, job_id: str) -> str:
    if not self.request.retries:
        self.retry(countdown=0.2, throw=False)
    return f"retried {self.request.retries}"


@shared_task(bind=True, autoretry_for=(Exception,), retry_kwargs={"countdown": 0})
@follows_job
def retries_rejected(self, job_id: str) -> str:
    if not self.request.retries:
        raise Reject("busy")
    return "accepted"


@shared_task(base=JobTask)
def unserializable(job_id: str) -> Any:
    return object()


def unserializable_in_chain(job_id: str) -> None:
    chain(unserializable.si(job_id), part.s(job_id, "next")).delay()


def unserializable_in_chord(job_id: str) -> None:
    chord([unserializable.si(job_id), part.si("", job_id, "1")], part.s(job_id, "body")).delay()


@shared_task(base=JobTask, bind=True)
def sends_ahead(self, job_id: str) -> str:
    chain(plain.s(), part.s(job_id, " later")).delay()
    return "sent"


@shared_task(base=JobTask, bind=True)
def asks(self, job_id: str) -> str:
    return self.ask("Who?")


def asks_before_expiry(job_id: str) -> None:
    asks.apply_async((job_id,), expires=2)


@shared_task(base=JobTask, bind=True, acks_late=True, reject_on_worker_lost=True)
def long(self, job_id: str) -> str:
    return wait_at_gate(job_id)


def long_with_expiry(job_id: str) -> None:
    long.apply_async((job_id,), expires=2)


@shared_task(base=JobTask, bind=True, acks_late=True)
def late_waits(self, job_id: str) -> str:
    return wait_at_gate(job_id)


if "worker" not in sys.argv:  # the web server is newer than the worker

    @shared_task(base=JobTask)
    def added(job_id: str) -> None:
        time.sleep(0)
