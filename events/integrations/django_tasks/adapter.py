"""What the results of Django's tasks say of the jobs that they work for."""

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, ClassVar, Final, TypeVar

from events.exceptions import InvalidJobId
from events.execution.adapter import Failed, Outcome, QueueAdapter, guarded
from events.execution.run import Delivery, Reason, TaskRun
from events.types import check_job_id

Function = TypeVar("Function", bound=Callable[..., Any])

QUEUE: Final = "django_tasks"


@dataclass(frozen=True, slots=True)
class Options:
    """How a task follows its job."""

    job_argument: str | None = "job_id"
    task_type: str = ""
    ends_job: bool = True


class TaskFailed(Exception):
    """What a task failed of, where its backend has kept only words."""


class DjangoTasksAdapter(QueueAdapter):
    """Django's tasks, as a queue of tasks of jobs; they tell by signals, and are called by none."""

    name: ClassVar[str] = QUEUE

    def outcome(self, error: BaseException) -> Outcome:
        """Whatever it is, the backend does not run the task again."""
        if isinstance(error, Exception):
            return Failed()
        return Failed(Reason.TERMINATED, "The worker was told to end while the task ran.")

    def tell(self, run: TaskRun, task_result: Any, error: BaseException | None) -> None:
        """End a run as its result says."""
        result = None if error is not None else task_result.return_value
        self.finish(run, result, error, more=not options_of(task_result).ends_job)


def follows_job(function: Function | None = None, **options: Any) -> Any:
    """Say how a task follows its job: `@task` above `@follows_job(job_argument="report_id")`.

    `job_argument` names the argument that is the job's id; where it is None, the task is one like
    any other. `task_type` is the task's name in the log, by default that of its function.
    `ends_job=False` lets the job go on after the task. A coroutine is cancelled with its job.
    """
    if function is None:
        return lambda decorated: follows_job(decorated, **options)
    followed: Any = _guarded(function) if inspect.iscoroutinefunction(function) else function
    followed.job_options = Options(**options)
    return followed


def options_of(task_result: Any) -> Options:
    """How the task of a result follows its job."""
    options: Options = getattr(task_result.task.func, "job_options", Options())
    return options


def delivery_of(task_result: Any) -> Delivery | None:
    """What a keeper is told of a task; None for one whose arguments name no job."""
    options = options_of(task_result)
    job_id = _job_id_of(task_result, options.job_argument)
    if job_id is None:
        return None
    workers = task_result.worker_ids
    # A signal's sender is the backend, or its class; the task knows.
    backend = type(task_result.task.get_backend())
    return Delivery(
        queue=QUEUE,
        external_id=task_result.id,
        job_id=job_id,
        task_type=options.task_type or task_result.task.name,
        worker=workers[-1] if workers else "",
        # It runs in the thread of its caller, whose transaction no heart would see into.
        beats=not any(base.__name__ == "ImmediateBackend" for base in backend.__mro__),
    )


def error_of(task_result: Any) -> BaseException | None:
    """What a task failed of; backends tell while they handle it, so it is at hand."""
    if not task_result.errors:
        return None
    told = task_result.errors[-1]
    error = sys.exception()
    if error is not None and _path(type(error)) == told.exception_class_path:
        return error
    return TaskFailed(told.traceback.strip().rpartition("\n")[2] or told.exception_class_path)


def _job_id_of(task_result: Any, name: str | None) -> str | None:
    if name is None:
        return None
    task = task_result.task
    context = [None] if task.takes_context else []
    try:
        given = inspect.signature(task.func).bind_partial(*context, *task_result.args)
    except TypeError:  # it is told by the call itself
        return None
    try:
        return check_job_id(task_result.kwargs.get(name, given.arguments.get(name)))
    except InvalidJobId:
        return None


def _path(error: type[BaseException]) -> str:
    return f"{error.__module__}.{error.__qualname__}"


def _guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    async def guarded_function(*args: Any, **kwargs: Any) -> Any:
        return await guarded(function(*args, **kwargs))

    return guarded_function
