"""Base class of queue adapters: runs a task of a job and reports its outcome to the run tracker.

To support another queue, subclass `QueueAdapter` (docs/how-to.md, "Use another queue").
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypeVar

from django.utils.module_loading import import_string

from events.database import close_unusable_connections
from events.exceptions import DeliveryRejected, InputPending, JobCancelled
from events.execution.heartbeat import heartbeat_thread
from events.execution.run import (
    HEARTBEAT_SECONDS,
    Delivery,
    Reason,
    TaskRun,
    active_run,
    current_run,
)
from events.execution.tracker import RunTracker, persist, run_tracker
from events.metrics.instruments import TASK_RUNS, flush
from events.spans import current_span, enter_span, exit_span
from events.streams.clients import close_async_redis

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Failed:
    """The task failed. `reason` and `message` override the exception's own message."""

    reason: Reason | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Retry:
    """The queue delivers the task again, after a delay."""

    seconds: float
    error: object = None
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Completed:
    """The task ended without a result. The other tasks of its job, if any, continue."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The queue discards the task: its job is cancelled."""

    reason: Reason
    message: str = ""


@dataclass(frozen=True, slots=True)
class Lost:
    """The process of the task ends. A redelivery of the task starts a new attempt."""

    message: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """The outcome is unknown; the queue or missing heartbeats report it later."""


# Exceptions that end the process of a worker, or are raised by it.
EXITS: Final = (SystemExit, KeyboardInterrupt, GeneratorExit)

Outcome = Failed | Retry | Completed | Cancelled | Lost | Unknown


@dataclass(frozen=True, slots=True)
class FollowOptions:
    """Options of the `follows_job` decorators."""

    job_argument: str | None = "job_id"
    task_type: str = ""
    ends_job: bool = True


class QueueAdapter:
    """Base class of the adapter of a queue.

    An integration that calls or wraps the tasks uses `run`; one that receives only notifications
    uses `begin` and `finish`. Subclasses set `name` and override what their queue supports.
    """

    name: ClassVar[str] = ""

    def outcome(self, error: BaseException) -> Outcome:
        """Return what an exception raised by a task means to the queue."""
        return Unknown() if isinstance(error, EXITS) else Failed()

    def unfinished(self, run: TaskRun) -> Outcome | None:
        """Return the outcome of a task that returned without being finished; None if it is."""
        return None

    def refuse(self, delivery: Delivery, refusal: DeliveryRejected) -> Any:
        """Handle a rejected delivery; return the result of the task, or raise.

        If `refusal.retry_in` is set, the queue should redeliver after that many seconds.
        """
        return None

    def give_up(self, run: TaskRun, error: BaseException) -> Any:
        """Handle a task that stopped because its job is finished or awaits input."""
        return None

    def resume_data(self, run: TaskRun) -> Any:
        """Return the JSON value that `resume` needs to enqueue the task again."""
        raise NotImplementedError(f"Tasks of {self.name} cannot wait for input.")

    def resume(self, data: Any, attempt: int) -> None:
        """Enqueue a task again that waited for input, with the same external id."""
        raise NotImplementedError(f"Tasks of {self.name} cannot wait for input.")

    def stop(self, external_id: str) -> None:
        """Terminate a running task, or remove it from the queue."""
        raise NotImplementedError(f"{self.name} cannot terminate tasks.")

    def run(self, delivery: Delivery, call: Callable[[], Any], *, continues: bool = False) -> Any:
        """Run a task of a job; with `continues`, another task follows and the job stays running.

        Returns the result of the task, of `refuse` or of `give_up`; raises what the task raises.
        """
        try:
            run = self.begin(delivery)
        except DeliveryRejected as refusal:
            return self.refuse(delivery, refusal)
        try:
            return self._execute(run, call, continues)
        finally:
            self._exit(run)

    def begin(self, delivery: Delivery) -> TaskRun:
        """Claim a task that other code calls in this thread; `finish` must follow.

        Raises DeliveryRejected, and LookupError if the job is unknown.
        """
        tracker = run_tracker()
        try:
            attempt, delivery_count = persist(tracker.claim, delivery)
        except DeliveryRejected as refusal:
            _log("delivery_rejected", delivery, refusal)
            _count(delivery, "rejected")
            raise
        run = TaskRun(delivery, attempt, delivery_count, tracker, outer=current_run())
        run.parent_run_id = current_span(delivery.job_id)
        try:
            active_run.set(run)
            run.span = enter_span(run.job_id, run.span_id)
            heartbeat_thread.register(run)
        except BaseException:  # `finish` will not follow: the heartbeats would never end
            self._exit(run)
            raise
        return run

    def finish(
        self,
        run: TaskRun,
        result: Any = None,
        error: BaseException | None = None,
        *,
        continues: bool = False,
    ) -> None:
        """Report the outcome of a task claimed by `begin`: an error, or else a result."""
        try:
            if error is None:
                self._execute(run, lambda: result, continues)
            else:
                self._report(run, error)
        finally:
            self._exit(run)

    def _execute(self, run: TaskRun, call: Callable[[], Any], continues: bool) -> Any:
        try:
            try:
                result = call()
            finally:
                close_unusable_connections()
            if outcome := self.unfinished(run):
                self._record(run, None, outcome)
                return result
            continues = continues or bool(run.next_tasks)
            persist(run.tracker.complete, run, result, continues=continues)
            run.outcome = "completed"
        except BaseException as error:
            if self._report(run, error):
                return self.give_up(run, error)
            raise
        try:
            for send in run.next_tasks:
                send()
        except Exception as error:
            run.outcome = "failed"
            run.tracker.abort(run, error)
            raise
        return result

    def _report(self, run: TaskRun, error: BaseException) -> bool:
        """Report an exception; return True if the task stopped without failing."""
        tracker: RunTracker = run.tracker
        may_be_stopped = isinstance(error, (JobCancelled, *tracker.fencing_errors))
        if may_be_stopped and (run.stopped or run in persist(tracker.send_heartbeats, [run])):
            _log("task_stopped", run.delivery, error)
            run.outcome = "stopped"
            persist(tracker.stop, run)
            return True
        try:
            if isinstance(error, InputPending):
                self._request_input(run, error)
            else:
                self._record(run, error, self.outcome(error))
        except tracker.fencing_errors as refusal:
            _log("task_outcome_fenced", run.delivery, refusal)
            run.outcome = "fenced"
            persist(tracker.stop, run)
        return isinstance(error, InputPending)

    @staticmethod
    def _record(run: TaskRun, error: Any, outcome: Outcome) -> None:
        tracker: RunTracker = run.tracker
        if isinstance(outcome, Unknown) and not run.delivery.sends_heartbeats:
            outcome = Lost(f"The task raised {type(error).__name__}.")  # nothing reports it later
        run.outcome = type(outcome).__name__.lower()
        match outcome:
            case Failed(reason, message):
                persist(tracker.fail, run, error, reason, message)
            case Retry(seconds, cause, reason):
                persist(tracker.schedule_retry, run, cause, seconds, reason)
            case Completed():
                persist(tracker.complete, run, None, continues=None)
            case Cancelled(reason, message):
                persist(tracker.cancel, run, reason, message)
            case Lost(message):
                persist(tracker.mark_lost, run.delivery, Reason.TERMINATED, message)

    def _request_input(self, run: TaskRun, pending: InputPending) -> None:
        try:
            data = self.resume_data(run)
            persist(run.tracker.request_input, run, pending.questions, data)
            run.outcome = "awaiting_input"
        except run.tracker.fencing_errors:
            raise
        except Exception as error:
            # The task could not be resumed after the answer: fail it now.
            run.outcome = "failed"
            persist(run.tracker.fail, run, error, None, "")
            raise

    @staticmethod
    def _exit(run: TaskRun) -> None:
        _count(run.delivery, run.outcome)
        heartbeat_thread.unregister(run)
        if run.span is not None:
            exit_span(run.span)
        if current_run() is run:
            active_run.set(run.outer)


def _log(event: str, delivery: Delivery, reason: object) -> None:
    extra = {"job_id": delivery.job_id, "external_id": delivery.external_id, "reason": str(reason)}
    logger.info(event, extra=extra)


def _count(delivery: Delivery, outcome: str) -> None:
    TASK_RUNS.add(1, delivery.queue, delivery.task_type, outcome)
    flush()  # the queue may end the process now


def run_coroutine(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run `cancel_with_job` in a new event loop, and close its `get_async_redis` connection."""

    async def main() -> T:
        try:
            return await cancel_with_job(coroutine)
        finally:
            await close_async_redis()

    return asyncio.run(main())


async def cancel_with_job(coroutine: Coroutine[Any, Any, T]) -> T:
    """Await a coroutine; cancel it and raise JobCancelled when the job of the run is cancelled."""
    run = current_run()
    task = asyncio.ensure_future(coroutine)
    try:
        while not (await asyncio.wait([task], timeout=HEARTBEAT_SECONDS / 4))[0]:
            if run is not None and run.should_cancel():
                task.cancel()
                await asyncio.wait([task])
                raise JobCancelled
        return task.result()
    finally:
        task.cancel()


# Adapters by name; a dotted path is imported on first use.
adapters: Final[dict[str, type[QueueAdapter] | str]] = {
    "celery": "events.integrations.celery.task.CeleryAdapter",
    "django_tasks": "events.integrations.django_tasks.DjangoTasksAdapter",
}


def get_adapter(name: str) -> QueueAdapter:
    """Return an adapter by its name; raises LookupError."""
    if name not in adapters:
        raise LookupError(f"Unknown queue adapter {name!r}. Registered: {sorted(adapters)}.")
    adapter = adapters[name]
    if isinstance(adapter, str):
        adapter = import_string(adapter)
    return adapter()


def register_adapter(adapter: type[QueueAdapter]) -> type[QueueAdapter]:
    """Register an adapter class under its `name`, so that jobs can stop and resume its tasks."""
    adapters[adapter.name] = adapter
    return adapter
