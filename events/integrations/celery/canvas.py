"""Tasks of the same job among the messages that a task sends and the signatures after it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakKeyDictionary

from celery import current_app

from events.execution.run import TaskRun
from events.integrations.celery.messages import is_followed, job_id_of

# The first argument of a signature is the result of the task before it.
_PREVIOUS_RESULT: Final = "\0previous result"


@dataclass(slots=True)
class Sent:
    """What a task run has sent, before it raises `Ignore`.

    `resent_in` is the delay in seconds of a message that continues the task under its id, None if
    there is none. `others` is true if it has sent other tasks of its job. `replacement` is the name
    of a task with its id that does not follow the job.
    """

    resent_in: float | None = None
    others: bool = False
    replacement: str = ""


_sent: Final[WeakKeyDictionary[TaskRun, Sent]] = WeakKeyDictionary()


def sent_by(run: TaskRun) -> Sent:
    """Return what a task run has sent so far."""
    return _sent.setdefault(run, Sent())


def tasks_in(*signatures: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the signatures of the single tasks of chains, groups, chords and callbacks."""
    stack = list(signatures)
    while stack:
        each = stack.pop()
        if isinstance(each, list | tuple):
            stack.extend(each)
        elif isinstance(each, Mapping):
            kwargs, options = each.get("kwargs") or {}, each.get("options") or {}
            kind = each.get("subtask_type")
            if kind in ("chain", "group"):
                stack.append(kwargs.get("tasks"))
            elif kind == "chord":
                stack += (kwargs.get("header"), kwargs.get("body"))
            else:
                yield each
            stack += map(options.get, ("link", "chain", "chord"))


def works_for(signature: Mapping[str, Any], job_id: str) -> bool:
    """Return whether a task follows a job; True if only its worker can find out."""
    task = current_app.tasks.get(signature["task"])
    if not is_followed(task):
        return task is None
    args = signature.get("args") or ()
    args = args if signature.get("immutable") else (_PREVIOUS_RESULT, *args)
    try:
        found = job_id_of(task, args, signature.get("kwargs") or {})
    except TypeError:  # the task cannot have a job
        return False
    return found in (job_id, _PREVIOUS_RESULT)
