"""Celery tasks that publish by themselves, and keep the job right that their argument names.

::

    @shared_task(base=JobTask, bind=True)
    def generate(self, job_id: str, prompt: str) -> dict:
        self.progress(40, "half of it")
        ...

The job starts when the task does, is completed by the last task of its chain or chord with what it
returns, and fails when one does. docs/how-to.md, "Run jobs by Celery", has the rest.
"""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import datetime
from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast
from uuid import uuid4

from django.utils import timezone

from events.exceptions import InputPending, JobCancelled
from events.execution.adapter import (
    Failed,
    Left,
    Outcome,
    PutBack,
    QueueAdapter,
    run_coroutine,
)
from events.execution.run import Delivery, Reason, TaskRun, current_run, keeper
from events.publisher import SyncRedisStreamPublisher

try:
    from billiard.exceptions import SoftTimeLimitExceeded
    from celery import current_app, current_task, signals, signature
    from celery.contrib.django.task import DjangoTask
    from celery.exceptions import Ignore, Reject, Retry

    from events.integrations.celery import worker_events  # noqa: F401 - it listens to signals
    from events.integrations.celery.messages import (
        ATTEMPT_HEADER,
        QUEUE,
        delivery_of,
        is_decorated,
        job_id_of,
        option,
        task_type_of,
    )
except ImportError as error:
    raise ImportError(
        "Tasks that publish need Celery: pip install 'django-job-events[celery]'"
    ) from error

# Celery's class takes what its function is as a parameter only in the eyes of a type checker.
if TYPE_CHECKING:
    Base = DjangoTask[..., Any]
else:
    Base = DjangoTask

Function = TypeVar("Function", bound=Callable[..., Any])


class CeleryAdapter(QueueAdapter):
    """Celery, as a queue of tasks of jobs."""

    name: ClassVar[str] = QUEUE

    def outcome(self, error: BaseException) -> Outcome:
        """What an error means; one for which the task is retried is known by the retry only."""
        if isinstance(error, Retry):
            return PutBack(_seconds(error.when), error.exc or error)
        if isinstance(error, SoftTimeLimitExceeded):
            return Failed(Reason.TIMED_OUT, "The task took longer than its soft time limit.")
        if isinstance(error, Ignore) or (isinstance(error, Reject) and cast(Any, error).requeue):
            return PutBack(0.0)  # as `replace` does, whose task has the same id
        if not isinstance(error, Exception):
            return Left()
        return _retried(error) or Failed()

    def refuse(self, delivery: Delivery, refusal: Any) -> Any:
        """Acknowledge it; one that another worker has comes again."""
        task = cast(Any, current_task)
        if not task:  # called directly, by who expects what the task returns
            return None
        request = task.request
        if refusal.retry_in is not None and not request.is_eager:
            again = task.signature_from_request(
                request, countdown=refusal.retry_in, retries=request.retries
            )
            again.apply_async()
        raise Ignore(str(refusal))

    def give_up(self, run: TaskRun, error: BaseException) -> Any:
        """Acknowledge it: nothing more is to come of it."""
        if not cast(Any, current_task):
            return None
        raise Ignore(str(error)) from error

    def resume_data(self, run: TaskRun) -> Any:
        """The task with all that is to follow it, as Celery writes it in a message."""
        task = cast(Any, current_task)
        if not task:
            raise RuntimeError("A task that is called directly cannot wait for a person.")
        return dict(task.signature_from_request(task.request, retries=task.request.retries))

    def resume(self, data: Any, attempt: int) -> None:
        """Send the task again."""
        again = cast(Any, signature(data, app=current_app))
        headers = again.options.get("headers") or {}
        again.apply_async(headers={**headers, ATTEMPT_HEADER: attempt})

    def stop(self, key: str) -> None:
        """Have the worker end it by SIGTERM, in a prefork pool; in others it cannot."""
        current_app.control.revoke(key, terminate=True)


class JobTask(Base):
    """The base of tasks that work for a job: `@shared_task(base=JobTask, bind=True)`.

    `job_argument` names the argument that is the job's id; where it is None, the task is one like
    any other. `task_type` is the task's name in the log, by default that of its function.
    `ends_job=False` lets the job go on after the task, whatever Celery knows of others to come.
    """

    abstract = True
    Request = "events.integrations.celery.worker_events:JobRequest"
    job_argument: str = "job_id"
    task_type: str = ""
    ends_job: bool = True
    dont_autoretry_for = (InputPending, JobCancelled)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task, called by a worker or directly."""
        if self.request.called_directly:
            self.push_request(args=args, kwargs=kwargs, id=str(uuid4()), is_eager=True)
            try:
                return _run(self, self.run, args, kwargs)
            finally:
                self.pop_request()
        return _run(self, self.run, args, kwargs)

    def apply_async(  # type: ignore[override]
        self, args: Any = None, kwargs: Any = None, task_id: str | None = None, **options: Any
    ) -> Any:
        """Send the task, for the attempt at which the job is, or for which this task works."""
        job_id = job_id_of(self, args or (), kwargs or {})
        if job_id is not None:
            task_id = task_id or str(uuid4())
            attempt = _announced(self, job_id, task_id, options)
            if attempt is not None:
                options["headers"] = {**(options.get("headers") or {}), ATTEMPT_HEADER: attempt}
        return super().apply_async(args, kwargs, task_id=task_id, **options)

    @property
    def job_run(self) -> TaskRun:
        """This run of the task; raises RuntimeError outside of one."""
        return _running()

    @property
    def publisher(self) -> SyncRedisStreamPublisher:
        """Publishes for this attempt at the job."""
        return _running().publisher

    def progress(self, progress: float, message: str = "", **data: Any) -> str | None:
        """Say how far the task is, from 0 to 100; see `TaskRun.progress`."""
        return _running().progress(progress, message, **data)

    def should_cancel(self) -> bool:
        """Whether the task is to stop; see `TaskRun.should_cancel`."""
        return _running().should_cancel()

    def ask(self, prompt: Any, *, choices: Sequence[str] = (), name: str = "") -> Any:
        """What a person answers; until they have, the task ends here; see `TaskRun.ask`."""
        return _running().ask(prompt, choices=choices, name=name)

    def then(self, signature: Any) -> None:
        """Go on with another task of the job, which is sent once the end of this one is told."""
        _running().followers.append(signature.apply_async)

    def check_cancelled(self) -> None:
        """Raise JobCancelled if the task is to stop."""
        _running().check_cancelled()


def follows_job(function: Function | None = None, **options: Any) -> Any:
    """For tasks whose base cannot be changed: `@app.task` above `@follows_job`.

    Takes what `JobTask` has as attributes: `job_argument`, `task_type`, `ends_job`. The task
    speaks of its job by `current_run()`.
    """
    given = {"job_argument": "job_id", "task_type": "", "ends_job": True}
    if unknown := sorted(set(options) - set(given)):
        raise TypeError(f"follows_job takes {sorted(given)}, not {unknown}.")
    if function is None:
        return lambda wrapped: follows_job(wrapped, **options)

    @wraps(function)
    def followed(*args: Any, **kwargs: Any) -> Any:
        task = cast(Any, current_task)
        if not task or task.request.called_directly:
            return function(*args, **kwargs)
        mine = args[1:] if args and args[0] is task._get_current_object() else args  # noqa: SLF001
        return _run(task, lambda *_args, **_kwargs: function(*args, **kwargs), mine, kwargs)

    followed.job_options = {**given, **options}  # type: ignore[attr-defined]
    return followed


def _run(task: Any, function: Callable[..., Any], args: Sequence[Any], kwargs: Any) -> Any:
    job_id = job_id_of(task, args, kwargs)
    if job_id is None:
        return function(*args, **kwargs)

    def call() -> Any:
        result = function(*args, **kwargs)
        return run_coroutine(cast(Any, result)) if isinstance(result, Coroutine) else result

    request = task.request
    delivery = delivery_of(task, job_id, request)
    more = bool(request.chain or request.chord) or not option(task, "ends_job")
    return CeleryAdapter().run(delivery, call, more=more)


def _announced(task: Any, job_id: str, key: str, options: Mapping[str, Any]) -> int | None:
    """The attempt for which a task is sent; its job is told if it cannot know of it otherwise.

    A task of a chain or a chord is sent when the one before it is over.
    """
    run = current_run()
    sent_within = run is not None and run.job_id == job_id
    group = "" if options.get("chord") else options.get("group_id") or ""
    if run is not None and sent_within:
        attempt: int | None = run.attempt
    else:
        attempt = keeper().attempt_of(job_id)
    is_retry = run is not None and run.delivery.external_id == key
    if attempt is not None and (sent_within or group) and not is_retry:
        keeper().announce(Delivery(QUEUE, key, job_id, task_type_of(task), attempt, group=group))
    return attempt


@signals.before_task_publish.connect(dispatch_uid="job_events")
def _on_publish(sender: str = "", body: Any = None, headers: Any = None, **_rest: Any) -> None:
    """Send a decorated task for an attempt, as `JobTask.apply_async` does its own."""
    task = current_app.tasks.get(sender)
    if not is_decorated(task) or not isinstance(body, tuple):  # or the first protocol's
        return
    args, kwargs, embed = body
    job_id = job_id_of(task, args, kwargs)
    if job_id is not None:
        options = {"group_id": headers.get("group"), "chord": embed.get("chord")}
        headers[ATTEMPT_HEADER] = _announced(task, job_id, headers["id"], options)


def _retried(error: Exception) -> PutBack | None:
    """Whether Celery retries the task for this error, which a decorated function raises first."""
    task = cast(Any, current_task)
    if not task or not is_decorated(task):
        return None
    retried_for = tuple(getattr(task, "autoretry_for", ()))
    spared = tuple(getattr(task, "dont_autoretry_for", ()))
    most = _most_retries(task)
    if not isinstance(error, retried_for) or isinstance(error, spared):
        return None
    return PutBack(0.0, error) if most is None or task.request.retries < most else None


def _most_retries(task: Any) -> int | None:
    """How often `autoretry_for` tries again at most, as `Task.retry` counts; None: for ever."""
    given = (getattr(task, "retry_kwargs", None) or {}).get("max_retries")
    most = getattr(task, "override_max_retries", given)
    return cast(int | None, task.max_retries if most is None else most)


def _seconds(when: Any) -> float:
    """How long it is until a retry."""
    if isinstance(when, datetime):
        aware = when if timezone.is_aware(when) else timezone.make_aware(when)
        return max((aware - timezone.now()).total_seconds(), 0.0)
    return float(when or 0)


def _running() -> TaskRun:
    run = current_run()
    if run is None:
        raise RuntimeError("No task of a job is run here: its publisher is that of a run.")
    return run
