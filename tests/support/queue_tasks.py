"""Tasks of `django.tasks` or of its backport, whichever is installed."""

import asyncio
from typing import Any

try:
    from django.tasks import task

    FRAMEWORK = "django.tasks"
except ModuleNotFoundError:
    from django_tasks import task

    FRAMEWORK = "django_tasks"

from events.execution.run import current_run
from events.integrations.django_tasks import follows_job
from tests.support import queue_work


@task
def steps(job_id: str, count: int = 3) -> dict[str, Any]:
    return queue_work.steps(job_id, count)


@task
def fails(job_id: str) -> None:
    raise ValueError("out of paper")


@task
def gate(job_id: str, cancellable: bool = True) -> str:
    return queue_work.wait_at_gate(job_id, cancellable=cancellable)


@task(takes_context=True)
def uses_context(context: Any, job_id: str, words: str) -> str:
    return f"{words} {current_run().delivery.external_id == context.task_result.id}"


@task
@follows_job(job_argument="report_id", task_type="reporting")
def report(report_id: str) -> str:
    return current_run().task_type


@task
@follows_job(job_argument=None)
def unfollowed(job_id: str) -> bool:
    return current_run() is None


@task
@follows_job(ends_job=False)
def first(job_id: str) -> str:
    return "first"


@task
def enqueues_another(job_id: str) -> str:
    steps.using(backend="dummy").enqueue(job_id)
    return "outer"


@task
def nests(job_id: str) -> str:
    steps.enqueue(job_id)
    return f"outer of {current_run().task_type}"


@task
@follows_job
async def sleeps(job_id: str) -> None:
    current_run().publisher.publish_event(job_id, {"event_type": "asleep"})
    await asyncio.sleep(60)


@task
@follows_job
async def checks_cancelled(job_id: str) -> bool:
    return current_run().should_cancel()


@task
def leaves(job_id: str) -> None:
    raise SystemExit(1)


@task
def raises_cancelled(job_id: str) -> None:
    raise asyncio.CancelledError


@task
def requests_input(job_id: str) -> None:
    current_run().ask("What is your name?")
