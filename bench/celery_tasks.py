"""A Celery task of 100 progress steps, and of 1,000: `python -m bench.celery_tasks`.

The same task three times: with `JobTask.progress`, with Celery's own `update_state`, whose results
are in the same Redis, and without saying anything. A real worker runs them, of the pool `solo`; a
time is that from the sending to the end of the task, with all that is written of it in the log and
in the row. The job is made before. Its start and its end are a transaction each: with more steps
they matter less.
"""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

from bench.databases import measured, set_up
from bench.ratio import compare

DONE = "bench:done"


def measure(chosen: argparse.Namespace) -> None:
    set_up()
    from celery.signals import task_postrun

    from config.celery import app
    from config.celery_broker import broker_url
    from events.conf import event_settings
    from events.streams.clients import get_redis

    app.conf.update(
        result_backend=broker_url(event_settings.REDIS_URL),
        task_ignore_result=False,
        worker_prefetch_multiplier=1,
    )
    # What each says when it is over: after all that is said of it in the worker.
    task_postrun.connect(lambda **_sent: get_redis().rpush(DONE, "1"), weak=False)
    compared = {steps: tasks(app, steps) for steps in (chosen.steps, 10 * chosen.steps)}
    with worker(app):
        for steps, some in compared.items():
            compare_tasks(steps, some, chosen)


def compare_tasks(steps: int, some: tuple[Any, Any, Any], chosen: argparse.Namespace) -> None:
    followed, updating, silent = some
    numbers = count()

    def ours() -> None:
        done(followed, f"job-{steps}-{next(numbers)}")

    def make_job() -> None:
        from jobs import services

        numbers_now = next(numbers)
        services.job_create(job_id=f"job-{steps}-{numbers_now + 1}", task_type="manual")

    def theirs() -> None:
        next(numbers)
        done(updating, "none")

    def bare() -> None:
        next(numbers)
        done(silent, "none")

    name = f"a task of {steps} progress steps on {chosen.on}"
    claim = f"{name}, rate against update_state (at least 2)"
    compare(claim, ours, theirs, pairs=chosen.pairs, prepare=make_job)
    claim = f"{name}, rate against one that says nothing"
    compare(claim, ours, bare, pairs=chosen.pairs, prepare=make_job)


def tasks(app: Any, steps: int) -> tuple[Any, Any, Any]:
    from events.integrations.celery import JobTask

    @app.task(base=JobTask, bind=True, name=f"bench.followed_{steps}")
    def followed(self: Any, job_id: str) -> None:  # noqa: ARG001 - by it the job is known
        for number in range(steps):
            self.progress(100 * number / steps, "working")

    @app.task(bind=True, name=f"bench.updating_{steps}")
    def updating(self: Any, _job_id: str) -> None:
        for number in range(steps):
            meta = {"progress": 100 * number / steps, "message": "working"}
            self.update_state(state="PROGRESS", meta=meta)

    @app.task(bind=True, name=f"bench.silent_{steps}")
    def silent(_self: Any, _job_id: str) -> None:
        for number in range(steps):
            _ = 100 * number / steps

    return followed, updating, silent


def done(task: Any, job_id: str) -> None:
    """Send a task, and wait until it is over."""
    from events.streams.clients import get_redis

    task.delay(job_id)
    if get_redis().blpop([DONE], timeout=60) is None:
        raise RuntimeError(f"{task.name} did not end")


@contextmanager
def worker(app: Any) -> Iterator[None]:
    from celery.contrib.testing.worker import start_worker

    running: Callable[..., Any] = start_worker
    with running(app, pool="solo", perform_ping_check=False, loglevel="ERROR"):
        yield


if __name__ == "__main__":
    measured("bench.celery_tasks", measure, steps=100, pairs=15)
