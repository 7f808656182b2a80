"""The base of the integrations of queues: runs a task of a job, and tells its keeper what comes.

To write one for another queue, make a subclass of `QueueAdapter` (docs/how-to.md, "Use another
queue").
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypeVar, cast

from django.apps import apps
from django.db import connections
from django.utils.module_loading import import_string

from events.exceptions import DeliveryRejected, InputPending, JobCancelled
from events.execution.heartbeat import HeartbeatThread
from events.execution.run import (
    CONTROL_SECONDS,
    Delivery,
    Reason,
    TaskRun,
    current_run,
    keeper,
    set_current,
)
from events.streams.clients import close_async_redis

logger = logging.getLogger(__name__)

T = TypeVar("T")

_ADAPTERS: Final = {
    "celery": "events.integrations.celery.task.CeleryAdapter",
    "django_tasks": "events.integrations.django_tasks.DjangoTasksAdapter",
}


@dataclass(frozen=True, slots=True)
class Failed:
    """The task failed; for a reason, and with words, if not by an error of its own."""

    reason: Reason | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class PutBack:
    """The queue will bring the task again after some seconds; it says so if there is an error."""

    seconds: float
    error: object = None


@dataclass(frozen=True, slots=True)
class Left:
    """Nothing is known of the task: the queue, or its heartbeat, will tell."""


Outcome = Failed | PutBack | Left


class QueueAdapter:
    """What a queue's integration is made of.

    One that calls the tasks itself, or wraps them, calls `run`; one that is only told of them calls
    `begin` and `finish`. The rest is for a subclass to say what its queue can do; all of it may be
    left as it is, but for `name`.
    """

    name: ClassVar[str] = ""

    def outcome(self, error: BaseException) -> Outcome:
        """What an error that a task raised means to the queue."""
        return Failed() if isinstance(error, Exception) else Left()

    def refuse(self, delivery: Delivery, refusal: DeliveryRejected) -> Any:
        """What is done with a task that is not to be run; returns what the task returns, or raises.

        With `refusal.retry_in` it is to be brought again after so many seconds.
        """
        return None

    def give_up(self, run: TaskRun, error: BaseException) -> Any:
        """What is done with a task that stopped as its job is over, or waits; returns or raises."""
        return None

    def resume_data(self, run: TaskRun) -> Any:
        """By what `resume` has the task run again, as JSON; raises where that cannot be."""
        raise NotImplementedError(f"Tasks of {self.name} cannot wait for a person.")

    def resume(self, data: Any, attempt: int) -> None:
        """Have the queue bring a task to a worker again that waited for a person."""
        raise NotImplementedError(f"Tasks of {self.name} cannot wait for a person.")

    def stop(self, key: str) -> None:
        """Have the queue end a task where it stands, or not begin it."""
        raise NotImplementedError(f"{self.name} cannot end a task.")

    def run(self, delivery: Delivery, call: Callable[[], Any], *, more: bool = False) -> Any:
        """Run a task of a job; `more` says that another follows, and that the job goes on.

        Returns what the task returns, or what `refuse` or `give_up` do; raises what it raises.
        """
        try:
            run = self.begin(delivery)
        except DeliveryRejected as refusal:
            return self.refuse(delivery, refusal)
        try:
            return self._run(run, call, more)
        finally:
            self._leave(run)

    def begin(self, delivery: Delivery) -> TaskRun:
        """Begin a task that somebody else calls, in this thread; `finish` is to follow.

        For queues that only tell of their tasks. Raises DeliveryRejected for one that is not to
        be run;
        LookupError if there is no such job.
        """
        try:
            attempt, number = keeper().begin(delivery)
        except DeliveryRejected as refusal:
            extra = {
                "job_id": delivery.job_id,
                "external_id": delivery.external_id,
                "why": str(refusal),
            }
            logger.info("task_not_begun", extra=extra)
            raise
        run = TaskRun(delivery, attempt, number, keeper(), outer=current_run())
        try:
            set_current(run)
            _heart().register(run)
        except BaseException:  # nobody would end it, and the heart would beat for ever
            self._leave(run)
            raise
        return run

    def finish(
        self,
        run: TaskRun,
        result: Any = None,
        error: BaseException | None = None,
        *,
        more: bool = False,
    ) -> None:
        """Tell how a task ended that `begin` began: by an error, or else with a result."""
        try:
            if error is None:
                self._run(run, lambda: result, more)
            else:
                self._is_no_failure(run, error)
        finally:
            self._leave(run)

    def _run(self, run: TaskRun, call: Callable[[], Any], more: bool) -> Any:
        try:
            try:
                result = call()
            finally:
                _drop_dead_connections()
            keeper().complete(run, result, more=more or bool(run.followers))
        except BaseException as error:
            if self._is_no_failure(run, error):
                return self.give_up(run, error)
            raise
        self._follow(run)
        return result

    def _is_no_failure(self, run: TaskRun, error: BaseException) -> bool:
        """Tell of an error; whether the task only stopped, for its job is over, or waits."""
        if self._is_given_up(run, error):
            extra = {
                "job_id": run.job_id,
                "external_id": run.delivery.external_id,
                "why": str(error),
            }
            logger.info("task_given_up", extra=extra)
            return True
        self._tell(run, error)
        return isinstance(error, InputPending)

    @staticmethod
    def _leave(run: TaskRun) -> None:
        _heart().unregister(run)
        if current_run() is run:
            set_current(run.outer)

    @staticmethod
    def _follow(run: TaskRun) -> None:
        try:
            for send in run.followers:
                send()
        except Exception as error:
            keeper().abort(run, error)
            raise

    @staticmethod
    def _is_given_up(run: TaskRun, error: BaseException) -> bool:
        if not isinstance(error, (JobCancelled, *keeper().given_up)):
            return False
        return run.stopped or run in keeper().beat([run])

    def _tell(self, run: TaskRun, error: BaseException) -> None:
        outcome = self.outcome(error)
        try:
            if isinstance(error, InputPending):
                self._ask(run, error)
            elif isinstance(outcome, Failed):
                keeper().fail(run, error, outcome.reason, outcome.message)
            elif isinstance(outcome, PutBack):
                keeper().schedule_retry(run, outcome.error, outcome.seconds)
        except keeper().given_up as refusal:
            extra = {
                "job_id": run.job_id,
                "external_id": run.delivery.external_id,
                "why": str(refusal),
            }
            logger.info("task_end_refused", extra=extra)

    def _ask(self, run: TaskRun, pending: InputPending) -> None:
        try:
            keeper().ask(run, pending.questions, self.resume_data(run))
        except keeper().given_up:
            raise
        except Exception as error:
            # Nobody could bring the task again: it would wait for ever.
            keeper().fail(run, error, None, "")
            raise


def run_coroutine(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in an event loop of its own, and cancel it when its job is cancelled.

    Raises JobCancelled then. What it opened by `get_async_redis` is closed with the loop.
    """
    return asyncio.run(_closing(coroutine))


async def _closing(coroutine: Coroutine[Any, Any, T]) -> T:
    try:
        return await guarded(coroutine)
    finally:
        await close_async_redis()


async def guarded(coroutine: Coroutine[Any, Any, T]) -> T:
    """Await a coroutine, and cancel it when the job is cancelled that it works for."""
    run = current_run()
    task = asyncio.ensure_future(coroutine)
    try:
        while not (await asyncio.wait([task], timeout=CONTROL_SECONDS / 4))[0]:
            if run is not None and run.should_cancel():
                task.cancel()
                await asyncio.wait([task])
                raise JobCancelled
        return task.result()
    finally:
        task.cancel()


def get_adapter(name: str) -> QueueAdapter:
    """The adapter of a queue; raises LookupError."""
    adapters = cast(Any, apps.get_app_config("job_events")).adapters
    adapter = adapters.get(name) or _ADAPTERS.get(name)
    if adapter is None:
        raise LookupError(f"No adapter {name!r} is known here: {sorted({*adapters, *_ADAPTERS})}.")
    return cast(QueueAdapter, (import_string(adapter) if isinstance(adapter, str) else adapter)())


def register_adapter(adapter: type[QueueAdapter]) -> type[QueueAdapter]:
    """Let jobs that are cancelled find it by its name; for a decorator, or `AppConfig.ready`."""
    cast(Any, apps.get_app_config("job_events")).adapters[adapter.name] = adapter
    return adapter


def _drop_dead_connections() -> None:
    """A task may take hours, in which a database closes connections; its end is to be told."""
    for connection in connections.all(initialized_only=True):
        is_open = connection.connection is not None and not connection.in_atomic_block
        if is_open and not connection.is_usable():
            connection.close()


def _heart() -> HeartbeatThread:
    return cast(HeartbeatThread, cast(Any, apps.get_app_config("job_events")).heart)
