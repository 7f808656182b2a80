"""From a task_type to what runs it: a Celery task or any callable, as the setting RUNNERS says."""

import inspect
import logging
from collections.abc import Callable, Mapping
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
    if not _is_runner(imported):
        raise RunnerNotFound(f"The runner {runner!r} of {task_type!r} cannot be called.")
    return imported


def _is_runner(value: object) -> bool:
    return callable(value) or hasattr(value, "apply_async")


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
    try:
        return inspect.signature(called)
    except (TypeError, ValueError):
        return None


def run(job_id: str, task_type: str, payload: Mapping[str, Any]) -> bool:
    """Hand a job to its runner; False if its task_type has none. Raises what the runner raises."""
    runner = get_runner(task_type)
    if runner is None:
        return False
    apply_async = getattr(runner, "apply_async", None)
    if apply_async is not None:
        apply_async(args=(job_id,), kwargs=dict(payload))
    else:
        runner(job_id, **payload)
    logger.info("job_dispatched", extra={"job_id": job_id, "task_type": task_type})
    return True
