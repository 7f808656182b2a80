"""Celery tasks that publish by themselves, and keep the job right that their argument names.

::

    @shared_task(base=JobTask, bind=True)
    def generate(self, job_id: str, prompt: str) -> dict:
        self.progress(40, "half of it")
        ...

The job starts when the task does, is completed by the last task of its chain or chord with what it
returns, and fails when one does. docs/how-to.md, "Run jobs by Celery", has the rest.
"""

import inspect
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import datetime
from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar, cast
from uuid import uuid4

from django.db import connections
from django.utils import timezone

from events.integrations.queue import (
    Failed,
    Left,
    Outcome,
    PutBack,
    QueueAdapter,
    run_coroutine,
)
from events.publisher import SyncRedisStreamPublisher
from events.runs import Delivery, Reason, Run, current_run, keeper

try:
    from billiard.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded, WorkerLostError
    from celery import current_app, current_task, signals
    from celery.contrib.django.task import DjangoTask
    from celery.exceptions import Ignore, Reject, Retry
    from celery.worker.request import Request
except ImportError as error:
    raise ImportError(
        "Tasks that publish need Celery: pip install 'django-job-events[celery]'"
    ) from error

# Celery's class takes what its function is as a parameter only in the eyes of a type checker.
if TYPE_CHECKING:
    Base = DjangoTask[..., Any]
else:
    Base = DjangoTask

logger = logging.getLogger(__name__)

Function = TypeVar("Function", bound=Callable[..., Any])

ATTEMPT_HEADER: Final = "job_attempt"
_QUEUE: Final = "celery"
_TOO_LONG: Final = "The task took longer than its time limit, and was ended."


class CeleryAdapter(QueueAdapter):
    """Celery, as a queue of tasks of jobs."""

    name: ClassVar[str] = _QUEUE

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

    def give_up(self, run: Run, error: BaseException) -> Any:
        """Acknowledge it: nothing more is to come of it."""
        if not cast(Any, current_task):
            return None
        raise Ignore(str(error)) from error

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
    Request = "events.integrations.celery:JobRequest"
    job_argument: str = "job_id"
    task_type: str = ""
    ends_job: bool = True

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
        job_id = _job_id(self, args or (), kwargs or {})
        if job_id is not None:
            task_id = task_id or str(uuid4())
            attempt = _announced(self, job_id, task_id, options)
            if attempt is not None:
                options["headers"] = {**(options.get("headers") or {}), ATTEMPT_HEADER: attempt}
        return super().apply_async(args, kwargs, task_id=task_id, **options)

    @property
    def job_run(self) -> Run:
        """This run of the task; raises RuntimeError outside of one."""
        return _running()

    @property
    def publisher(self) -> SyncRedisStreamPublisher:
        """Publishes for this attempt at the job."""
        return _running().publisher

    def progress(self, progress: float, message: str = "", **data: Any) -> str | None:
        """Say how far the task is, from 0 to 100; see `Run.progress`."""
        return _running().progress(progress, message, **data)

    def should_cancel(self) -> bool:
        """Whether the task is to stop; see `Run.should_cancel`."""
        return _running().should_cancel()

    def then(self, signature: Any) -> None:
        """Go on with another task of the job, which is sent once the end of this one is told."""
        _running().followers.append(signature.apply_async)

    def check_cancelled(self) -> None:
        """Raise JobCancelled if the task is to stop."""
        _running().check_cancelled()


class JobRequest(Request):
    """A task in the eyes of the worker's main process, which sees its child die."""

    def on_failure(self, exc_info: Any, *args: Any, **kwargs: Any) -> Any:
        """Say that the child is dead; if the broker brings the task again, the next may have it."""
        error = getattr(exc_info.exception, "exc", exc_info.exception)
        is_lost = isinstance(error, (WorkerLostError, SystemExit, KeyboardInterrupt))
        comes_again = self.task.acks_late and self.task.reject_on_worker_lost
        if is_lost and comes_again:
            _tell_of(self, keeper().release)
        elif is_lost:
            _lose(self, Reason.WORKER_LOST, str(error) or "The worker was lost.")
        return super().on_failure(exc_info, *args, **kwargs)

    def on_timeout(self, soft: bool, timeout: float) -> Any:
        """Say at once that the hard limit has ended it."""
        super().on_timeout(soft, timeout)
        if not soft:
            _lose(self, Reason.TIMED_OUT, _TOO_LONG)


def follows_job(function: Function | None = None, **options: Any) -> Any:
    """For tasks whose base cannot be changed: `@app.task` above `@follows_job`.

    Takes what `JobTask` has as attributes: `job_argument`, `task_type`, `ends_job`. The task
    speaks of its job by `current_run()`.
    """
    if function is None:
        return lambda wrapped: follows_job(wrapped, **options)
    given = {"job_argument": "job_id", "task_type": "", "ends_job": True}
    if unknown := sorted(set(options) - set(given)):
        raise TypeError(f"follows_job takes {sorted(given)}, not {unknown}.")

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
    job_id = _job_id(task, args, kwargs)
    if job_id is None:
        return function(*args, **kwargs)

    def call() -> Any:
        result = function(*args, **kwargs)
        return run_coroutine(cast(Any, result)) if isinstance(result, Coroutine) else result

    request = task.request
    delivery = _delivery(task, job_id, request)
    more = bool(request.chain or request.chord) or not _option(task, "ends_job")
    return CeleryAdapter().run(delivery, call, more=more)


def _delivery(task: Any, job_id: str, request: Any) -> Delivery:
    is_eager = bool(request.is_eager)
    # The body of a chord has the group of its header, but no place in it.
    is_member = request.group_index is not None
    return Delivery(
        queue=_QUEUE,
        key=request.id,
        job_id=job_id,
        task_type=_task_type(task),
        attempt=_attempt(request),
        worker=str(request.hostname or ""),
        relatives=tuple({request.root_id, request.parent_id, request.group} - {None, ""}),
        group=request.group if is_member and request.group else "",
        time_limit=_time_limit(task, request),
        again=request.retries or 0,
        beats=not is_eager,
    )


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
    is_retry = run is not None and run.delivery.key == key
    if attempt is not None and (sent_within or group) and not is_retry:
        keeper().announce(Delivery(_QUEUE, key, job_id, _task_type(task), attempt, group=group))
    return attempt


def _job_id(task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
    """The job that the arguments name; raises TypeError for a task that has no such argument."""
    name = _option(task, "job_argument")
    signature = inspect.signature(task.run)
    try:
        arguments = signature.bind_partial(*args, **kwargs).arguments
    except TypeError:  # it is told by the call itself
        return None
    if name in arguments:
        value = arguments[name]
        return None if value is None else str(value)
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            return cast(str | None, arguments.get(parameter.name, {}).get(name))
    if name not in signature.parameters:
        raise TypeError(f"The task {task.name} has no argument {name!r} that names its job.")
    default = signature.parameters[name].default
    return default if isinstance(default, str) else None


def _option(task: Any, name: str) -> Any:
    options = getattr(task.run, "job_options", None)
    return options[name] if options is not None else getattr(task, name)


def _task_type(task: Any) -> str:
    return _option(task, "task_type") or str(task.name).rsplit(".", 1)[-1]


def _attempt(request: Any) -> int | None:
    attempt = request.get(ATTEMPT_HEADER) or (request.headers or {}).get(ATTEMPT_HEADER)
    return attempt if isinstance(attempt, int) else None


def _time_limit(task: Any, request: Any) -> float | None:
    limit = (request.timelimit or (None, None))[0] or task.time_limit
    return cast(float | None, limit or task.app.conf.task_time_limit)


def _retried(error: Exception) -> PutBack | None:
    """Whether Celery retries the task for this error, which a decorated function raises first."""
    task = cast(Any, current_task)
    if not task or not hasattr(task.run, "job_options"):
        return None
    retried_for = tuple(getattr(task, "autoretry_for", ()))
    most = task.max_retries
    if not isinstance(error, retried_for) or (most is not None and task.request.retries >= most):
        return None
    return PutBack(0.0, error)


def _seconds(when: Any) -> float:
    """How long it is until a retry."""
    if isinstance(when, datetime):
        aware = when if timezone.is_aware(when) else timezone.make_aware(when)
        return max((aware - timezone.now()).total_seconds(), 0.0)
    return float(when or 0)


def _running() -> Run:
    run = current_run()
    if run is None:
        raise RuntimeError("No task of a job is run here: its publisher is that of a run.")
    return run


def _tell_of(request: Any, tell: Callable[[Delivery], None]) -> None:
    """Tell of a task from the worker's main process, whose loop must not fail of it."""
    try:
        task = request.task
        job_id = _job_id(task, request.args or (), request.kwargs or {})
        if job_id is not None:
            tell(Delivery(_QUEUE, request.id, job_id, _task_type(task), _sent_for(request)))
    except Exception:
        logger.exception("task_end_not_told", extra={"key": request.id})
    finally:
        # Its children are forked, and must not have its connections.
        connections.close_all()


def _sent_for(request: Any) -> int | None:
    headers = getattr(request, "request_dict", None)
    return (headers or {}).get(ATTEMPT_HEADER)


def _lose(request: Any, reason: Reason, error: str) -> None:
    _tell_of(request, lambda delivery: keeper().lose(delivery, reason, error))


def _follows(task: Any) -> bool:
    return isinstance(task, JobTask) or hasattr(getattr(task, "run", None), "job_options")


class _Ended:
    """What a signal says of a task, as a request has it."""

    def __init__(self, task: Any, key: str, args: Any, kwargs: Any) -> None:
        self.task, self.id, self.args, self.kwargs = task, key, args, kwargs


@signals.task_failure.connect(dispatch_uid="job_events")
def _on_failure(
    sender: Any = None,
    task_id: str = "",
    exception: BaseException | None = None,
    args: Any = None,
    kwargs: Any = None,
    **_rest: Any,
) -> None:
    """A child died: the main process says so, here of tasks that have no `JobRequest`."""
    if (
        isinstance(sender, JobTask)
        or not _follows(sender)
        or not isinstance(exception, (WorkerLostError, TimeLimitExceeded))
    ):
        return
    ended = _Ended(sender, task_id, args, kwargs)
    if isinstance(exception, TimeLimitExceeded):
        _lose(ended, Reason.TIMED_OUT, _TOO_LONG)
    else:
        _lose(ended, Reason.WORKER_LOST, str(exception) or "The worker was lost.")


@signals.task_revoked.connect(dispatch_uid="job_events")
def _on_revoked(
    sender: Any = None,
    request: Any = None,
    terminated: bool = False,
    expired: bool = False,
    **_rest: Any,
) -> None:
    """Somebody told Celery to end it, or its time to begin was over."""
    if not _follows(sender):
        return
    ended = Reason.TERMINATED if terminated else Reason.REVOKED
    reason = Reason.EXPIRED if expired else ended
    known = _Ended(sender, request.id, request.args, request.kwargs)
    _tell_of(known, lambda delivery: keeper().revoke(delivery, reason))
