"""Callback handlers that publish the runs of LangChain and LangGraph to the log of a job.

docs/reference.md, "Events of a graph", lists the events. Each is a dict of `event_type`, `data`,
`timestamp` and `job_id`. Handlers raise only GraphCancelled; failed publishes are logged and
counted in `failures`.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partialmethod
from typing import Any, Final, TypedDict, Unpack, overload
from uuid import UUID

from events.circuit_breaker import CircuitBreaker
from events.error_report import error_message, error_traceback, error_type
from events.exceptions import EventTooLarge, JobCancelled, RedisUnavailable
from events.json_size import fit
from events.publisher import Publisher, RedisStreamPublisher, SyncRedisStreamPublisher

try:
    from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
except ImportError as error:
    raise ImportError(
        "The callback handler needs LangChain: pip install 'django-job-events[langgraph]'"
    ) from error

try:
    from langgraph.callbacks import GraphCallbackHandler
except ImportError:  # only LangChain is installed

    class GraphCallbackHandler(BaseCallbackHandler):  # type: ignore[no-redef]
        """Receives the lifecycle callbacks of graphs."""


from events.integrations.langchain.errors import GraphBubbleUp
from events.integrations.langchain.messages import delta_token
from events.integrations.langchain.options import DEFAULTS, RecordOptions
from events.integrations.langchain.recorder import RunRecorder
from events.integrations.langchain.run_tree import calling_callbacks
from events.integrations.langchain.span_recorder import Events
from events.spans import add_span_source

logger = logging.getLogger(__name__)

Record = Callable[..., Events]

# RunRecorder records the callback `on_<name>` with its method of this name, errors with `failed`.
_CALLBACKS: Final = (
    "chain_start", "chain_end", "chain_error", "tool_start", "tool_end", "tool_error",
    "retriever_start", "retriever_end", "retriever_error", "llm_start", "chat_model_start",
    "llm_end", "llm_error", "custom_event", "retry", "interrupt",
)  # fmt: skip
_CANCELLING: Final = (
    RunRecorder.chain_start, RunRecorder.tool_start, RunRecorder.retriever_start,
    RunRecorder.llm_start, RunRecorder.chat_model_start, RunRecorder.custom_event,
)  # fmt: skip


class GraphCancelled(JobCancelled, GraphBubbleUp):
    """The job was cancelled. As a GraphBubbleUp it passes RetryPolicy and ToolNode unhandled."""


class HandlerOptions(TypedDict, total=False):
    """Keyword arguments of the handlers.

    `record` limits what the log contains. `control_flow` are exceptions that end a graph without an
    `error` event. `should_cancel` is called when a run starts and at each token, so it must not do
    I/O; if it returns True, the callback raises GraphCancelled.
    """

    control_flow: tuple[type[BaseException], ...]
    record: RecordOptions
    should_cancel: Callable[[], bool] | None


class JobHandler:
    """State and callbacks that both handlers share."""

    raise_error = True  # otherwise LangChain discards the exceptions of handlers

    def __init__(
        self, job_id: str, publisher: Publisher[Any], **options: Unpack[HandlerOptions]
    ) -> None:
        super().__init__()
        self.job_id = job_id
        self.failures = 0
        self._publisher = publisher
        self._recorder = RunRecorder(
            job_id,
            options.get("control_flow", ()),
            options.get("record", DEFAULTS),
            publisher.max_event_bytes,
        )
        self._breaker = CircuitBreaker()
        self._should_cancel = options.get("should_cancel")
        self._should_cancel_breaker = CircuitBreaker()
        self._cancelled = False
        # Recorded events that are not yet published, in order.
        self._pending: deque[dict[str, Any]] = deque()
        self._lock = threading.Lock()

    def take_token(
        self,
        token: Any,
        *,
        run_id: UUID,
        chunk: Any = None,
        parent_run_id: UUID | None = None,
        tags: Any = None,
        protocol: bool = False,
        **_kwargs: Any,
    ) -> None:
        """Buffer a streamed token and schedule a flush."""
        # LangChain passes these arguments with each token. Collecting them in a dict would double
        # the cost of this method.
        if self._should_cancel is not None:
            self._raise_if_cancelled()
        try:
            seconds = self._recorder.llm_token(token, run_id, chunk, protocol=protocol)
            if seconds is not None:
                self._schedule_flush(seconds)
        except Exception as error:  # noqa: BLE001 - a graph must not fail because its log does
            self._recorder.cancel_flush()
            self._record_failure(error)

    def take_stream_event(self, event: Any, *, run_id: UUID, **_kwargs: Any) -> None:
        """Buffer the text of an event of `stream_events(version="v3")`."""
        self.take_token(delta_token(event), run_id=run_id, protocol=True)

    on_llm_new_token: Any = take_token
    on_stream_event: Any = take_stream_event

    def span_id(self, run_id: UUID) -> str | None:
        """Return the run_id of the span of a run whose start has been published."""
        return self._recorder.span_id(run_id)

    def _schedule_flush(self, seconds: float) -> None:
        raise NotImplementedError

    def _record(self, record: Record, *args: Any, **kwargs: Any) -> None:
        """Append the events of a callback to the pending ones; raises only GraphCancelled."""
        if record in _CANCELLING:
            self._raise_if_cancelled()
        with self._suppressing(), self._lock:
            self._pending.extend(record(self._recorder, *args, **kwargs))

    def _raise_if_cancelled(self) -> None:
        should_cancel = self._should_cancel
        if should_cancel and not self._cancelled and not self._should_cancel_breaker.is_open:
            try:
                self._cancelled = bool(should_cancel())
            except Exception as error:  # noqa: BLE001 - a failed call does not cancel
                self._should_cancel_breaker.record_failure()
                self._warn("should_cancel_failed", error)
        if self._cancelled:
            raise GraphCancelled(JobCancelled.__doc__)

    @contextmanager
    def _suppressing(self) -> Iterator[None]:
        """Log and count exceptions: a graph must not fail because its log does."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - as above
            self._record_failure(error)

    def _next_event(self) -> dict[str, Any] | None:
        """Remove and return the next event; discard events while the circuit breaker is open.

        Otherwise a Redis that does not respond would delay the graph at each event.
        """
        while self._pending:
            event = self._pending.popleft()
            if not self._breaker.is_open:
                return event
            self._record_failure()
        return None

    def _fitted(self, event: dict[str, Any]) -> dict[str, Any]:
        """Return an event whose values fit one by one, but not together, with shorter ones."""
        return {**event, "data": fit(event["data"], self._publisher.max_event_bytes * 3 // 4)}

    def _record_failure(self, error: Exception | None = None) -> None:
        self.failures += 1
        self._warn("callback_not_published", error)
        if isinstance(error, RedisUnavailable):
            self._breaker.record_failure()

    def _warn(self, event: str, error: Exception | None) -> None:
        # Without exc_info: the message of an error may contain secrets.
        extra = {"job_id": self.job_id}
        if error:
            extra["error"] = type(error).__name__
            redacted = self._recorder.sanitizer.text
            try:
                extra["error"] = redacted(f"{error_type(error)}: {error_message(error)}")
                extra["traceback"] = redacted(error_traceback(error))
            except Exception:  # noqa: BLE001 - the user's redactor; the class name was logged
                extra["redactor"] = "failed"
        logger.warning(event, extra=extra)


class SyncRedisCallbackHandler(JobHandler, GraphCallbackHandler):
    """Handler for `invoke` and `stream` that publishes through a SyncRedisStreamPublisher.

    Parallel branches call it from several threads, and a timer thread flushes the text of models.
    A lock around publishing preserves the order of events.
    """

    def _handle(self, record: Record, *args: Any, **kwargs: Any) -> None:
        self._record(record, *args, **kwargs)
        with self._lock:
            while event := self._next_event():
                with self._suppressing():
                    try:
                        self._publisher.publish_event(self.job_id, event)
                    except EventTooLarge:
                        self._publisher.publish_event(self.job_id, self._fitted(event))
                    self._breaker.record_success()

    def _schedule_flush(self, seconds: float) -> None:
        timer = threading.Timer(seconds, self._handle, (RunRecorder.flush,))
        timer.daemon = True
        timer.start()


class RedisCallbackHandler(JobHandler, AsyncCallbackHandler, GraphCallbackHandler):
    """Handler for `ainvoke` and `astream` that publishes through a RedisStreamPublisher.

    LangChain runs the callbacks of sync nodes in other event loops, possibly while the node blocks
    the client's loop. Events are therefore queued, and published in the client's loop only;
    callbacks in other loops do not wait. The last callback of a run is in the client's loop and
    empties the queue.

    `on_llm_new_token` is a plain function: for coroutine functions LangChain creates a coroutine
    per token, in sync models an event loop per token.
    """

    run_inline = True  # otherwise LangChain calls plain functions in a thread

    # The client's loop is that of the first callback.
    _loop: asyncio.AbstractEventLoop | None = None
    _delivery_lock: asyncio.Lock
    _deliveries: set[asyncio.Task[None]]

    async def _handle(self, record: Record, *args: Any, **kwargs: Any) -> None:
        self._record(record, *args, **kwargs)
        with self._suppressing():
            await self._deliver()

    def span_id(self, run_id: UUID) -> str | None:
        # In other loops and threads, callbacks do not wait until their events are published.
        is_own_loop = self._loop is not None and _running_loop() is self._loop
        return super().span_id(run_id) if is_own_loop else None

    async def _deliver(self) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is None or self._loop.is_closed():
            self._loop, self._delivery_lock, self._deliveries = loop, asyncio.Lock(), set()
            self._recorder.cancel_flush()  # a closed loop does not run the scheduled flush
        if self._loop is loop:
            # If this callback is cancelled, the append that it waits for is not.
            await asyncio.shield(self._start_delivery(loop))
        else:
            self._loop.call_soon_threadsafe(self._start_delivery, self._loop)

    def _start_delivery(self, loop: asyncio.AbstractEventLoop) -> asyncio.Task[None]:
        task = loop.create_task(self._publish_pending())
        self._deliveries.add(task)
        task.add_done_callback(self._deliveries.discard)
        return task

    async def _publish_pending(self) -> None:
        async with self._delivery_lock:
            while event := self._next_event():
                with self._suppressing():
                    try:
                        await self._publisher.publish_event(self.job_id, event)
                    except EventTooLarge:
                        await self._publisher.publish_event(self.job_id, self._fitted(event))
                    self._breaker.record_success()

    def _schedule_flush(self, seconds: float) -> None:
        loop = self._loop
        if loop is None or loop.is_closed():  # a sync graph: the text is published at its end
            self._recorder.cancel_flush()
            return
        loop.call_soon_threadsafe(loop.call_later, seconds, self._flush, loop)

    def _flush(self, loop: asyncio.AbstractEventLoop) -> None:
        self._record(RunRecorder.flush)
        if self._pending:
            self._start_delivery(loop)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _calling_span(job_id: str) -> str | None:
    """Return the run_id of the run that calls, if a handler of the job records it."""
    callbacks = calling_callbacks()
    handlers = [one for one in getattr(callbacks, "handlers", ()) if isinstance(one, JobHandler)]
    spans = (one.span_id(callbacks.parent_run_id) for one in handlers if one.job_id == job_id)
    return next(filter(None, spans), None)


add_span_source(_calling_span)

for _name in _CALLBACKS:
    _method = RunRecorder.failed if _name.endswith("_error") else getattr(RunRecorder, _name)
    for _class in (SyncRedisCallbackHandler, RedisCallbackHandler):
        setattr(_class, f"on_{_name}", partialmethod(_class._handle, _method))  # noqa: SLF001


@overload
def create_redis_callback_handler(
    job_id: str, publisher: RedisStreamPublisher, **options: Unpack[HandlerOptions]
) -> RedisCallbackHandler: ...
@overload
def create_redis_callback_handler(
    job_id: str, publisher: SyncRedisStreamPublisher, **options: Unpack[HandlerOptions]
) -> SyncRedisCallbackHandler: ...
def create_redis_callback_handler(job_id: str, publisher: Any, **options: Any) -> Any:
    """Return the handler for `config={"callbacks": [handler]}` that matches the publisher.

    `options` are those of HandlerOptions: `control_flow`, `record` and `should_cancel`.
    """
    is_sync = isinstance(publisher, SyncRedisStreamPublisher)
    return (SyncRedisCallbackHandler if is_sync else RedisCallbackHandler)(
        job_id, publisher, **options
    )
