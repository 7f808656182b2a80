"""Queue adapter of `django.tasks`: maps task results to deliveries and outcomes."""

import inspect
import sys
from collections.abc import Callable
from datetime import datetime
from functools import wraps
from typing import Any, ClassVar, Final, TypeVar, cast

from events.database import aware_time
from events.error_report import message_of_traceback
from events.exceptions import InvalidJobId
from events.execution.adapter import (
    EXITS,
    Failed,
    FollowOptions,
    Outcome,
    QueueAdapter,
    cancel_with_job,
)
from events.execution.run import Delivery, Reason, TaskRun
from events.types import check_job_id

Function = TypeVar("Function", bound=Callable[..., Any])

QUEUE: Final = "django_tasks"


class TaskFailed(Exception):
    """The error of a task whose backend keeps only its text."""


class DjangoTasksAdapter(QueueAdapter):
    """Queue adapter of `django.tasks`. Signals drive it by `begin` and `finish`."""

    name: ClassVar[str] = QUEUE

    def outcome(self, error: BaseException) -> Outcome:
        """Return Failed for every exception: backends do not retry."""
        if isinstance(error, EXITS):
            return Failed(Reason.TERMINATED, "The worker was terminated while the task ran.")
        return Failed()

    def finish_with(self, run: TaskRun, task_result: Any) -> None:
        """Report the outcome of a task result."""
        error = _error_of(task_result)
        result = None if error is not None else task_result.return_value
        self.finish(run, result, error, continues=not _options_of(task_result).ends_job)


def follows_job(function: Function | None = None, **options: Any) -> Any:
    """Set how a task follows its job: `@task` above `@follows_job(job_argument="report_id")`.

    `job_argument` is the name of the argument with the job_id; with None, the task has no job.
    `task_type` is the name of the task in the log, by default that of its function. With
    `ends_job=False` the job stays running after the task. Coroutines are cancelled with their job.
    """
    if function is None:
        return lambda decorated: follows_job(decorated, **options)
    followed: Any = _cancellable(function) if inspect.iscoroutinefunction(function) else function
    followed.job_options = FollowOptions(**options)
    return followed


def _options_of(task_result: Any) -> FollowOptions:
    """Return the options of the task of a result."""
    return cast(FollowOptions, getattr(task_result.task.func, "job_options", FollowOptions()))


def delivery_of(task_result: Any) -> Delivery | None:
    """Return the delivery of a task; None if its arguments contain no job_id."""
    options = _options_of(task_result)
    job_id = _job_id_of(task_result, options.job_argument)
    if job_id is None:
        return None
    workers = task_result.worker_ids
    # A signal's sender is the backend or its class, depending on the version.
    backend = type(task_result.task.get_backend())
    return Delivery(
        queue=QUEUE,
        external_id=task_result.id,
        job_id=job_id,
        task_type=options.task_type or task_result.task.name,
        worker=workers[-1] if workers else "",
        # The task runs in its caller's transaction, which the heartbeat thread cannot see.
        sends_heartbeats=not any(base.__name__ == "ImmediateBackend" for base in backend.__mro__),
        enqueued_at=_due_at(task_result),
    )


def _due_at(task_result: Any) -> datetime | None:
    """Return the time from which a task waits for a worker."""
    times = (task_result.enqueued_at, task_result.task.run_after)
    return max((aware_time(each) for each in times if each is not None), default=None)


def _error_of(task_result: Any) -> BaseException | None:
    """Return the exception of a failed task: the one being handled, if the backend handles it."""
    if not task_result.errors:
        return None
    recorded = task_result.errors[-1]
    error, kind = sys.exception(), type(sys.exception())
    if f"{kind.__module__}.{kind.__qualname__}" == recorded.exception_class_path:
        return error
    message = message_of_traceback(recorded.traceback)
    return TaskFailed(message or recorded.exception_class_path)


def _job_id_of(task_result: Any, name: str | None) -> str | None:
    if name is None:
        return None
    task = task_result.task
    context = [None] if task.takes_context else []
    try:
        bound = inspect.signature(task.func).bind_partial(*context, *task_result.args)
        return check_job_id(task_result.kwargs.get(name, bound.arguments.get(name)))
    except (TypeError, InvalidJobId):  # the call itself raises TypeError
        return None


def _cancellable(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    async def cancellable(*args: Any, **kwargs: Any) -> Any:
        return await cancel_with_job(function(*args, **kwargs))

    return cancellable
