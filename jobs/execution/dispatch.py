"""From a task_type to what runs it: a task of a queue or any callable, as the setting RUNNERS says.

A task is one of Celery, which has `apply_async`, or has `enqueue(job_id, **payload)`, as those of
Django's own framework have.
"""

import inspect
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from django.utils.module_loading import import_string

from jobs.conf import job_settings
from jobs.exceptions import InvalidJob, RunnerNotFound

logger = logging.getLogger(__name__)

Runner = Callable[..., Any]


def get_runner(task_type: str) -> Runner | None:
    """The runner of a task_type; None if it has none. Raises RunnerNotFound."""
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
        raise RunnerNotFound(f"The runner {runner!r} of {task_type!r} cannot be called.")
    return imported


def is_runner(value: object) -> bool:
    """Whether it is a task of a queue, or can be called."""
    return callable(value) or hasattr(value, "apply_async") or hasattr(value, "enqueue")


def check_payload(task_type: str, payload: Mapping[str, Any]) -> None:
    """Refuse a payload whose keys are not the arguments of its runner, by InvalidJob."""
    runner = get_runner(task_type)
    signature = _signature(runner) if runner is not None else None
    if signature is None:
        return
    try:
        signature.bind("", **payload)
    except TypeError as error:
        raise InvalidJob("payload", f"does not fit {task_type}: {error}.") from error


def _signature(runner: Runner) -> inspect.Signature | None:
    """The arguments of a runner, job_id the first; None if it does not tell, as some of C's."""
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
    """Hand a job to its runner; False if its task_type has none. Raises what the runner raises."""
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
