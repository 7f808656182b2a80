"""Celery tasks that report 100 and 1,000 progress steps: `python -m bench.celery_tasks`.

Compares `JobTask.progress` with Celery's `update_state`, with its result backend in the same Redis,
and with a task without reports. A worker with the `solo` pool runs the tasks. The measured time
covers sending, running and ending the task, including all writes to the log and the row. Creating
the job is excluded. Start and end take one transaction each, a cost that is fixed per task.
"""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

from bench.databases import run_benchmark, set_up_django
from bench.ratio import compare

DONE = "bench:done"


def measure(options: argparse.Namespace) -> None:
    set_up_django()
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
    # Signal the end of a task after the worker has written everything else.
    task_postrun.connect(lambda **_kwargs: get_redis().rpush(DONE, "1"), weak=False)
    tasks_by_steps = {steps: tasks(app, steps) for steps in (options.steps, 10 * options.steps)}
    with worker(app):
        for steps, variants in tasks_by_steps.items():
            compare_tasks(steps, variants, options)


def compare_tasks(steps: int, variants: tuple[Any, Any, Any], options: argparse.Namespace) -> None:
    job_task, updating, silent = variants
    numbers = count()

    def ours() -> None:
        run_task(job_task, f"job-{steps}-{next(numbers)}")

    def make_job() -> None:
        from jobs import services

        services.job_create(job_id=f"job-{steps}-{next(numbers) + 1}", task_type="manual")

    def update_state() -> None:
        next(numbers)
        run_task(updating, "none")

    def no_reports() -> None:
        next(numbers)
        run_task(silent, "none")

    name = f"task of {steps} progress steps on {options.on}"
    claim = f"{name}, rate against update_state (at least 2)"
    compare(claim, ours, update_state, pairs=options.pairs, prepare=make_job)
    claim = f"{name}, rate against a task without reports"
    compare(claim, ours, no_reports, pairs=options.pairs, prepare=make_job)


def tasks(app: Any, steps: int) -> tuple[Any, Any, Any]:
    from events.integrations.celery import JobTask

    @app.task(base=JobTask, bind=True, name=f"bench.job_task_{steps}")
    def job_task(self: Any, job_id: str) -> None:  # noqa: ARG001 - read by JobTask
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

    return job_task, updating, silent


def run_task(task: Any, job_id: str) -> None:
    """Send a task and wait for its end."""
    from events.streams.clients import get_redis

    task.delay(job_id)
    if get_redis().blpop([DONE], timeout=60) is None:
        raise RuntimeError(f"{task.name} did not end")


@contextmanager
def worker(app: Any) -> Iterator[None]:
    from celery.contrib.testing.worker import start_worker

    start: Callable[..., Any] = start_worker
    with start(app, pool="solo", perform_ping_check=False, loglevel="ERROR"):
        yield


if __name__ == "__main__":
    run_benchmark("bench.celery_tasks", measure, steps=100, pairs=15)
