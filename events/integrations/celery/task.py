"""Celery tasks that publish lifecycle events and update the job that an argument identifies.

The first task starts the job. The last task of its chain or chord completes it with its result; a
failing task fails it. See docs/how-to.md, "Run jobs with Celery".
"""

import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, SupportsFloat, TypeVar, cast
from uuid import uuid4

from celery import current_app, current_task, signals, states
from celery.contrib.django.task import DjangoTask

from events.exceptions import InputPending, JobCancelled
from events.execution.adapter import FollowOptions, run_coroutine
from events.execution.run import Delivery, TaskRun, current_run
from events.execution.tracker import run_tracker
from events.integrations.celery.adapter import CeleryAdapter
from events.integrations.celery.canvas import sent_by, tasks_in, works_for
from events.integrations.celery.messages import (
    ATTEMPT_HEADER,
    DUE_HEADER,
    JOB_HEADER,
    QUEUE,
    delivery_of,
    due_at,
    group_of,
    is_decorated,
    is_followed,
    job_id_of,
    option,
    seconds_until,
    task_type_of,
)
from events.publisher import SyncRedisStreamPublisher

if TYPE_CHECKING:  # the class is generic in celery-types only
    _Base = DjangoTask[..., Any]
else:
    _Base = DjangoTask

# Attributes of the request of a task: whether its function was called, and the run of a task that
# has returned before others of its job.
_CALLED: Final = "job_function_called"
_RETURNED: Final = "job_run_returned"

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
            delay = seconds_until(options.get("eta") or options.get("countdown"))
            added = _announce(self, job_id, task_id, options, delay)
            options["headers"] = {**(options.get("headers") or {}), **added}
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

    def progress(self, progress: SupportsFloat, message: Any = "", **data: Any) -> str | None:
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
    vars(task.request)[_CALLED] = True
    job_id = job_id_of(task, args, kwargs)
    if job_id is None:
        return function(*args, **kwargs)

    def call() -> Any:
        result = function(*args, **kwargs)
        # `isinstance` evaluates a lazy object.
        is_coroutine = issubclass(type(result), Coroutine)
        return run_coroutine(cast(Any, result)) if is_coroutine else result

    return _run_for(job_id, task, call)


def _run_for(job_id: str, task: Any, call: Callable[[], Any]) -> Any:
    request = task.request
    following = tasks_in(request.callbacks, request.chain, request.chord)
    is_followed_by = any(works_for(each, job_id) for each in following)

    def run() -> Any:
        result = call()
        vars(request)[_RETURNED] = current_run() if is_followed_by else None
        return result

    continues = is_followed_by or not option(task, "ends_job")
    return CeleryAdapter().run(delivery_of(task, job_id, request), run, continues=continues)


def _announce(
    task: Any, job_id: str, task_id: str, options: Mapping[str, Any], delay: float
) -> dict[str, int | str | float]:
    """Return headers of a message, and announce its task unless its chain implies it.

    The next task of a chain or chord is sent when the one before it completes.
    """
    run = current_run()
    if run is not None and run.job_id != job_id:
        run = None
    attempt = run_tracker().current_attempt(job_id) if run is None else run.attempt
    if attempt is None:
        return {}
    group, is_implied = group_of(options)
    group = "" if is_implied else group
    if run is not None and run.delivery.external_id == task_id:
        sent_by(run).resent_in = delay
    elif run is not None or group:
        delivery = Delivery(QUEUE, task_id, job_id, task_type_of(task), attempt, group=group)
        run_tracker().announce(delivery, delay)
        if run is not None:
            sent_by(run).others = True
    elif delay:
        run_tracker().postpone(job_id, delay)
    return {ATTEMPT_HEADER: attempt, JOB_HEADER: job_id, DUE_HEADER: due_at(delay)}


@signals.before_task_publish.connect(dispatch_uid="job_events")
def _on_publish(sender: str = "", body: Any = None, headers: Any = None, **_kwargs: Any) -> None:
    """Do for a decorated task what `JobTask.apply_async` does, and announce what follows it."""
    if not isinstance(body, tuple):  # a dict in protocol version 1
        return
    args, kwargs, embed = body
    task, run = current_app.tasks.get(sender), current_run()
    job_id = job_id_of(task, args, kwargs) if is_followed(task) else None
    if job_id is not None and (is_decorated(task) or ATTEMPT_HEADER not in headers):
        group = {"group_id": headers.get("group"), "group_index": headers.get("group_index")}
        delay = seconds_until(headers.get("eta"))
        headers.pop(DUE_HEADER, None)  # of the message that is retried
        added = _announce(task, job_id, headers["id"], {**embed, **group}, delay)
        for name, value in added.items():
            headers.setdefault(name, value)
    if run is not None:
        _announce_following(run, job_id, sender, headers["id"], embed)


def _announce_following(
    run: TaskRun, job_id: str | None, name: str, task_id: str, embed: Mapping[str, Any]
) -> None:
    """Announce the tasks that follow a message of a run, unless the message implies them."""
    sent, own_id = sent_by(run), run.delivery.external_id
    works = job_id == run.job_id
    if task_id == own_id and not works:
        sent.replacement = name
    for each in tasks_in(embed.get("callbacks"), embed.get("chain"), embed.get("chord")):
        task_id = (each.get("options") or {}).get("task_id") or ""
        task = current_app.tasks.get(each["task"])
        if not works_for(each, run.job_id):
            sent.replacement = each["task"] if task_id == own_id else sent.replacement
        elif task is not None and task_id and (task_id == own_id or not works):
            _announce(task, run.job_id, task_id, {}, 0.0)


@signals.task_postrun.connect(dispatch_uid="job_events")
def _on_postrun(task: Any, args: Any, kwargs: Any, retval: Any, state: Any, **_kwargs: Any) -> None:
    """Record what happened before or after the function of a task.

    If it was not called, because `before_start` raises or the arguments do not fit, the job ends as
    if the function had ended so. If the next task could not be sent, for example because the result
    of this one cannot be serialized, the job fails. `state` is None for an exception that Celery
    raises to its caller, as with `task_eager_propagates`.
    """
    if not is_followed(task):
        return
    known = vars(task.request)
    run = known.get(_RETURNED)
    with suppress(Exception):
        if state == states.FAILURE and run is not None:
            run.tracker.abort(run, retval)
        elif state != states.RETRY and _CALLED not in known:
            _record_uncalled(task, args, kwargs, retval if state else sys.exception())


def _record_uncalled(task: Any, args: Any, kwargs: Any, retval: Any) -> None:
    def end() -> Any:
        if isinstance(retval, BaseException):
            raise retval
        return retval

    job_id = job_id_of(task, args, kwargs)
    if job_id is not None:
        _run_for(job_id, task, end)
