"""Task messages of Celery: job, attempt and options."""

import inspect
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, cast

from events.database import aware_time
from events.execution.run import Delivery

ATTEMPT_HEADER: Final = "job_attempt"
JOB_HEADER: Final = "job_attempt_of"
DUE_HEADER: Final = "job_due_at"
QUEUE: Final = "celery"

_POSITIONAL: Final = (
    inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD,
)  # fmt: skip


def delivery_of(task: Any, job_id: str, request: Any) -> Delivery:
    """Return the delivery of a task request."""
    return Delivery(
        queue=QUEUE,
        external_id=request.id,
        job_id=job_id,
        task_type=task_type_of(task),
        attempt=attempt_of(request),
        worker=str(request.hostname or ""),
        relatives=tuple({request.root_id, request.parent_id, request.group} - {None, ""}),
        group=group_of_request(request)[0],
        time_limit=_time_limit(task, request),
        retries=request.retries or 0,
        sends_heartbeats=not request.is_eager,
        enqueued_at=_due_at(request),
    )


def job_id_of(task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
    """Return the value of the job argument, also if other arguments do not fit.

    Raises TypeError if the task has no such argument.
    """
    name, parameters = option(task, "job_argument"), inspect.signature(task.run).parameters
    kinds = {each.kind for each in parameters.values()}
    if name not in parameters and inspect.Parameter.VAR_KEYWORD not in kinds:
        raise TypeError(f"The task {task.name} has no argument {name!r} for the job_id.")
    positional = [each.name for each in parameters.values() if each.kind in _POSITIONAL]
    default = parameters[name].default if name in parameters else None
    known = {name: None if default is inspect.Parameter.empty else default}
    value = {**known, **dict(zip(positional, args, strict=False)), **kwargs}[name]
    return None if value is None else str(value)


def group_of_request(request: Any) -> tuple[str, bool]:
    """Return the group of a task request, and whether a chord body follows it."""
    group = {"group_id": request.group, "group_index": request.group_index}
    return group_of({**group, "chain": request.chain, "chord": request.chord})


def group_of(options: Mapping[str, Any]) -> tuple[str, bool]:
    """Return the outermost group of a task, and whether a chord body follows it.

    The last task of a chain and the body of a chord are in the group around these. A body has the
    group of its header, too, but no index in it.
    """
    group, is_followed = "", False
    while options:
        chain, chord = options.get("chain"), options.get("chord")
        if options.get("group_id") and options.get("group_index") is not None:
            group, is_followed = options["group_id"], bool(chord)
        following = chain[0] if chain else chord  # a chain is in reverse order
        options = (following or {}).get("options") or {}
    return group, is_followed


def option(task: Any, name: str) -> Any:
    """Return `job_argument`, `task_type` or `ends_job` of a `JobTask` or decorated task."""
    return getattr(getattr(task.run, "job_options", task), name)


def task_type_of(task: Any) -> str:
    """Return the name of a task in the log."""
    return option(task, "task_type") or str(task.name).rsplit(".", 1)[-1]


def header_of(request: Any, name: str) -> Any:
    """Return a header of the message of a request."""
    return request.get(name) or (request.headers or {}).get(name)


def attempt_of(request: Any) -> int | None:
    """Return the attempt that a task was sent for; None if another producer sent it."""
    attempt = header_of(request, ATTEMPT_HEADER)
    return attempt if isinstance(attempt, int) else None


def due_at(delay: float) -> float:
    """Return the time from which a message waits for a worker, for DUE_HEADER."""
    return round(time.time() + delay, 3)


def _due_at(request: Any) -> datetime | None:
    try:
        return datetime.fromtimestamp(header_of(request, DUE_HEADER), UTC)
    except (TypeError, ValueError, OverflowError, OSError):  # of another producer
        return None


def seconds_until(when: Any) -> float:
    """Return the delay of a message, given as a datetime, as its text or in seconds."""
    if isinstance(when, str):
        when = datetime.fromisoformat(when)
    if isinstance(when, datetime):
        return max((aware_time(when) - datetime.now(UTC)).total_seconds(), 0.0)
    return float(when or 0)


def _time_limit(task: Any, request: Any) -> float | None:
    limit = (request.timelimit or (None, None))[0] or task.time_limit
    return cast(float | None, limit or task.app.conf.task_time_limit)


def is_followed(task: Any) -> bool:
    """Return whether a task is a `JobTask` or decorated with `follows_job`."""
    return hasattr(task, "job_argument") or is_decorated(task)


def is_decorated(task: Any) -> bool:
    """Return whether a task is decorated with `follows_job`."""
    return hasattr(getattr(task, "run", None), "job_options")
