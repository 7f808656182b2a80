"""Dispatch of jobs to the runners of the setting RUNNERS, and control of their queued tasks.

A runner is a Celery task (`apply_async`), an object with `enqueue(job_id, **payload)`, such as a
task of `django.tasks`, or a callable with these arguments.
"""

import inspect
import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from django.utils.module_loading import import_string

from events.execution.adapter import get_adapter
from jobs.conf import is_runner, job_settings
from jobs.exceptions import InvalidJob, RunnerNotFound

if TYPE_CHECKING:  # `jobs.checks` imports this module before models are loaded
    from jobs.models import Task

logger = logging.getLogger(__name__)

Runner = Callable[..., Any]


def get_runner(task_type: str) -> Runner | None:
    """Return the runner of a task_type, or None if it has none. Raises RunnerNotFound."""
    runner = job_settings.RUNNERS.get(task_type)
    if not isinstance(runner, str):
        return runner
    try:
        imported: Runner = import_string(runner)
    except (ImportError, TypeError, ValueError) as error:
        raise RunnerNotFound(
            f"The runner {runner!r} of {task_type!r} cannot be imported: {error}."
        ) from error
    if not is_runner(imported):
        raise RunnerNotFound(f"The runner {runner!r} of {task_type!r} is not callable.")
    return imported


def check_payload(task_type: str, payload: Mapping[str, Any]) -> None:
    """Raise InvalidJob unless the keys of a payload match the arguments of its runner."""
    runner = get_runner(task_type)
    signature = _signature(runner) if runner is not None else None
    if signature is None:
        return
    try:
        signature.bind("", **payload)
    except TypeError as error:
        raise InvalidJob("payload", f"does not fit {task_type}: {error}.") from error


def _signature(runner: Runner) -> inspect.Signature | None:
    """Return the signature of a runner, job_id first; None for C functions without one."""
    called: Any = runner
    if hasattr(runner, "apply_async"):  # a Celery task is called through its `run`
        called = getattr(runner, "run", runner)
    elif hasattr(runner, "enqueue"):
        called = getattr(called, "func", called)
        called = partial(called, None) if getattr(runner, "takes_context", False) else called
    try:
        return inspect.signature(called)
    except (TypeError, ValueError):
        return None


def run(job_id: str, task_type: str, payload: Mapping[str, Any]) -> bool:
    """Pass a job to its runner; return False if it has none. Raises what the runner raises."""
    runner = get_runner(task_type)
    if runner is None:
        return False
    if hasattr(runner, "apply_async"):
        runner.apply_async(args=(job_id,), kwargs=dict(payload))
    elif hasattr(runner, "enqueue"):
        runner.enqueue(job_id, **payload)
    else:
        runner(job_id, **payload)
    logger.info("job_dispatched", extra={"job_id": job_id, "task_type": task_type})
    return True


def stop_tasks(tasks: Iterable["Task"]) -> None:
    """Send a stop command for each task to its queue.

    The cancellation does not depend on it: a failing queue is logged, and the task stops at its
    next check.
    """
    for task in tasks:
        try:
            get_adapter(task.queue).stop(task.external_id)
        except Exception:
            extra = {"queue": task.queue, "external_id": task.external_id}
            logger.exception("task_stop_failed", extra={"job_id": task.job.job_id, **extra})


def resume_task(task: "Task", attempt: int) -> None:
    """Enqueue a task again that waited for input; raises what the queue raises."""
    get_adapter(task.queue).resume(task.resume, attempt)
