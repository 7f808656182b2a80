"""A Celery task of 100 progress steps, and of 1,000: `python -m bench.celery_tasks`.

Compares `JobTask.progress` with Celery's `update_state`, whose results are in the same Redis, and
with a task that reports nothing. A worker of the pool `solo` runs them. The measured time is that
from sending to the end of the task, including all writes to the log and the row. The job is created
before. Its start and its end are one transaction each, which matter less with more steps.
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
    # Signals the end of a task, after all other reports of the worker.
    task_postrun.connect(lambda **_kwargs: get_redis().rpush(DONE, "1"), weak=False)
    tasks_by_steps = {steps: tasks(app, steps) for steps in (chosen.steps, 10 * chosen.steps)}
    with worker(app):
        for steps, variants in tasks_by_steps.items():
            compare_tasks(steps, variants, chosen)


def compare_tasks(steps: int, variants: tuple[Any, Any, Any], chosen: argparse.Namespace) -> None:
    followed, updating, silent = variants
    numbers = count()

    def ours() -> None:
        run_task(followed, f"job-{steps}-{next(numbers)}")

    def make_job() -> None:
        from jobs import services

        numbers_now = next(numbers)
        services.job_create(job_id=f"job-{steps}-{numbers_now + 1}", task_type="manual")

    def theirs() -> None:
        next(numbers)
        run_task(updating, "none")

    def bare() -> None:
        next(numbers)
        run_task(silent, "none")

    name = f"a task of {steps} progress steps on {chosen.on}"
    claim = f"{name}, rate against update_state (at least 2)"
    compare(claim, ours, theirs, pairs=chosen.pairs, prepare=make_job)
    claim = f"{name}, rate against one without reports"
    compare(claim, ours, bare, pairs=chosen.pairs, prepare=make_job)


def tasks(app: Any, steps: int) -> tuple[Any, Any, Any]:
    from events.integrations.celery import JobTask

    @app.task(base=JobTask, bind=True, name=f"bench.followed_{steps}")
    def followed(self: Any, job_id: str) -> None:  # noqa: ARG001 - JobTask reads it
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


def run_task(task: Any, job_id: str) -> None:
    """Send a task, and wait for its end."""
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
