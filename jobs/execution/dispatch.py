"""Dispatch of jobs to the runners of the setting RUNNERS, and control of their queued tasks.

A runner is a Celery task (`apply_async`), an object with `enqueue(job_id, **payload)`, such as a
task of `django.tasks`, or a callable with these arguments. An entry of RUNNERS is a runner, the
dotted path of one, or a mapping: `run` is the runner, `form` a `forms.Form` for the page "New job",
`result_template` a template for the job page, `permission` what a user needs to start the job by
the API or the page.
"""

import inspect
import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from django import forms
from django.template import TemplateDoesNotExist, TemplateSyntaxError
from django.template.loader import get_template
from django.utils.module_loading import import_string

from events.error_text import ErrorText
from events.execution.adapter import get_adapter
from jobs.conf import is_runner, job_settings
from jobs.exceptions import InvalidJob, RunnerNotFound

if TYPE_CHECKING:  # `jobs.checks` imports this module before models are loaded
    from jobs.models import Task

logger = logging.getLogger(__name__)

Runner = Callable[..., Any]
_NAMED: Final = (
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.KEYWORD_ONLY,
    inspect.Parameter.VAR_KEYWORD,
)
ENTRY_KEYS: Final = frozenset({"run", "form", "result_template", "permission"})


def runner_entry(task_type: str) -> Mapping[str, Any]:
    """Return the entry of a task_type as a mapping; empty if it has none."""
    entry = job_settings.RUNNERS.get(task_type, {})
    return entry if isinstance(entry, Mapping) else {"run": entry}


def get_runner(task_type: str) -> Runner | None:
    """Return the runner of a task_type; None if it has none. Raises RunnerNotFound."""
    if task_type not in job_settings.RUNNERS:
        return None
    runner: Runner = _imported(task_type, runner_entry(task_type), "run")
    if not is_runner(runner):
        raise RunnerNotFound(f"The runner {runner!r} of {task_type!r} is not callable.")
    return runner


def get_form(task_type: str) -> type[forms.Form] | None:
    """Return the form class of a task_type; None if it has none. Raises RunnerNotFound."""
    entry = runner_entry(task_type)
    if "form" not in entry:
        return None
    form = _imported(task_type, entry, "form")
    if not (isinstance(form, type) and issubclass(form, forms.Form)):
        raise RunnerNotFound(f"The form {form!r} of {task_type!r} is not a subclass of forms.Form.")
    return form


def check_entry(task_type: str) -> None:
    """Raise RunnerNotFound if the entry of a task_type is malformed."""
    if unknown := sorted(map(str, runner_entry(task_type).keys() - ENTRY_KEYS)):
        raise RunnerNotFound(f"The entry of {task_type!r} has unknown keys: {', '.join(unknown)}.")
    permission = runner_entry(task_type).get("permission", "app.name")
    if not (isinstance(permission, str) and "." in permission[1:-1]):
        raise RunnerNotFound(f"The permission {permission!r} of {task_type!r} is no 'app.name'.")
    get_runner(task_type)
    get_form(task_type)
    if template := runner_entry(task_type).get("result_template"):
        try:
            get_template(template)
        except (TemplateDoesNotExist, TemplateSyntaxError) as error:
            raise RunnerNotFound(
                f"The result template {template!r} of {task_type!r} cannot be loaded: {error}."
            ) from error


def _imported(task_type: str, entry: Mapping[str, Any], key: str) -> Any:
    value = entry.get(key)
    if not isinstance(value, str):
        return value
    try:
        return import_string(value)
    except (ImportError, TypeError, ValueError) as error:
        noun = "runner" if key == "run" else key
        raise RunnerNotFound(
            f"The {noun} {value!r} of {task_type!r} cannot be imported: {error}."
        ) from error


def check_payload(task_type: str, payload: Mapping[str, Any]) -> None:
    """Raise InvalidJob unless the keys of a payload match the arguments of its runner."""
    signature = _signature(task_type)
    if signature is None:
        return
    try:
        signature.bind("", **payload)
    except TypeError as error:
        text = ErrorText(
            "does not fit %(task_type)s: %(error)s.", task_type=task_type, error=str(error)
        )
        raise InvalidJob("payload", text) from error


def payload_parameters(task_type: str) -> list[inspect.Parameter] | None:
    """Return the arguments that a payload may contain; None if any. Raises RunnerNotFound."""
    signature = _signature(task_type)
    if signature is None:
        return None
    return [each for each in list(signature.parameters.values())[1:] if each.kind in _NAMED]


def _signature(task_type: str) -> inspect.Signature | None:
    """Return the signature of a runner, job_id first; None without one, as of C functions."""
    runner = get_runner(task_type)
    if runner is None:
        return None
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
    """Enqueue a task again that waited for input."""
    get_adapter(task.queue).resume(task.resume, attempt)
