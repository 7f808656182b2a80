"""Celery tasks that publish lifecycle events and update the job that an argument identifies.

The first task starts the job. The last task of its chain or chord completes it with its result; a
failing task fails it. See docs/how-to.md, "Run jobs with Celery".
"""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast
from uuid import uuid4

from celery import current_app, current_task, signals
from celery.contrib.django.task import DjangoTask

from events.exceptions import InputPending, JobCancelled
from events.execution.adapter import FollowOptions, run_coroutine
from events.execution.run import Delivery, TaskRun, current_run
from events.execution.tracker import run_tracker
from events.integrations.celery.adapter import CeleryAdapter
from events.integrations.celery.messages import (
    ATTEMPT_HEADER,
    QUEUE,
    delivery_of,
    is_decorated,
    job_id_of,
    option,
    task_type_of,
)
from events.publisher import SyncRedisStreamPublisher

if TYPE_CHECKING:  # the class is generic in celery-types only
    _Base = DjangoTask[..., Any]
else:
    _Base = DjangoTask

Function = TypeVar("Function", bound=Callable[..., Any])


class JobTask(_Base):
    """Base class of tasks that work for a job: `@shared_task(base=JobTask, bind=True)`.

    `job_argument` is the name of the argument with the job_id; if its value is None, the task has
    no job. `task_type` is the name of the task in the log, by default that of its function. With
    `ends_job=False` the job stays running after the task. The methods are those of `TaskRun`.
    """

    abstract = True
    Request = "events.integrations.celery.worker_events:JobRequest"
    job_argument: str = "job_id"
    task_type: str = ""
    ends_job: bool = True
    dont_autoretry_for = (InputPending, JobCancelled)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not self.request.called_directly:
            return _run(self, self.run, args, kwargs)
        self.push_request(args=args, kwargs=kwargs, id=str(uuid4()), is_eager=True)
        try:
            return _run(self, self.run, args, kwargs)
        finally:
            self.pop_request()

    def apply_async(  # type: ignore[override]
        self, args: Any = None, kwargs: Any = None, task_id: str | None = None, **options: Any
    ) -> Any:
        """Send the task for the current attempt of its job."""
        job_id = job_id_of(self, args or (), kwargs or {})
        if job_id is not None:
            task_id = task_id or str(uuid4())
            attempt = _announce(self, job_id, task_id, options)
            if attempt is not None:
                options["headers"] = {**(options.get("headers") or {}), ATTEMPT_HEADER: attempt}
        return super().apply_async(args, kwargs, task_id=task_id, **options)

    @property
    def job_run(self) -> TaskRun:
        """The current task run; raises RuntimeError outside of tasks."""
        run = current_run()
        if run is None:
            raise RuntimeError("There is no current task run: this is not the task of a job.")
        return run

    @property
    def publisher(self) -> SyncRedisStreamPublisher:
        return self.job_run.publisher

    def progress(self, progress: float, message: str = "", **data: Any) -> str | None:
        return self.job_run.progress(progress, message, **data)

    def should_cancel(self) -> bool:
        return self.job_run.should_cancel()

    def check_cancelled(self) -> None:
        self.job_run.check_cancelled()

    def ask(self, prompt: Any, *, choices: Sequence[str] = (), name: str = "") -> Any:
        return self.job_run.ask(prompt, choices=choices, name=name)

    def then(self, signature: Any) -> None:
        """Send another task of the job after this one has completed."""
        self.job_run.next_tasks.append(signature.apply_async)


def follows_job(function: Function | None = None, **options: Any) -> Any:
    """Decorate the function of a task that cannot use `JobTask`: `@app.task` above `@follows_job`.

    Options are the attributes of `JobTask`: `job_argument`, `task_type`, `ends_job`. The function
    uses `current_run()`.
    """
    if function is None:
        return lambda wrapped: follows_job(wrapped, **options)

    @wraps(function)
    def followed(*args: Any, **kwargs: Any) -> Any:
        task = cast(Any, current_task)
        if not task or task.request.called_directly:
            return function(*args, **kwargs)
        is_bound = args and args[0] is task._get_current_object()  # noqa: SLF001
        arguments = args[1:] if is_bound else args
        return _run(task, lambda *_args, **_kwargs: function(*args, **kwargs), arguments, kwargs)

    followed.job_options = FollowOptions(**options)  # type: ignore[attr-defined]
    return followed


def _run(task: Any, function: Callable[..., Any], args: Sequence[Any], kwargs: Any) -> Any:
    job_id = job_id_of(task, args, kwargs)
    if job_id is None:
        return function(*args, **kwargs)

    def call() -> Any:
        result = function(*args, **kwargs)
        return run_coroutine(cast(Any, result)) if isinstance(result, Coroutine) else result

    request = task.request
    continues = bool(request.chain or request.chord) or not option(task, "ends_job")
    return CeleryAdapter().run(delivery_of(task, job_id, request), call, continues=continues)


def _announce(task: Any, job_id: str, task_id: str, options: Mapping[str, Any]) -> int | None:
    """Return the attempt to send a task for, and announce the task unless its chain implies it.

    The next task of a chain or chord is sent when the one before it completes.
    """
    run = current_run()
    if run is not None and run.job_id != job_id:
        run = None
    group = "" if options.get("chord") else options.get("group_id") or ""
    attempt = run_tracker().current_attempt(job_id) if run is None else run.attempt
    is_retry = run is not None and run.delivery.external_id == task_id
    if attempt is not None and (run is not None or group) and not is_retry:
        run_tracker().announce(
            Delivery(QUEUE, task_id, job_id, task_type_of(task), attempt, group=group)
        )
    return attempt


@signals.before_task_publish.connect(dispatch_uid="job_events")
def _on_publish(sender: str = "", body: Any = None, headers: Any = None, **_kwargs: Any) -> None:
    """Set the attempt of a decorated task, as `JobTask.apply_async` does."""
    task = current_app.tasks.get(sender)
    if not is_decorated(task) or not isinstance(body, tuple):  # a dict in protocol version 1
        return
    args, kwargs, embed = body
    job_id = job_id_of(task, args, kwargs)
    if job_id is not None:
        options = {"group_id": headers.get("group"), "chord": embed.get("chord")}
        headers[ATTEMPT_HEADER] = _announce(task, job_id, headers["id"], options)
