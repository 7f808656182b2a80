"""Callback handlers that publish the runs of LangChain and LangGraph to the log of a job.

A chain's start is a `phase_update`, the end of the root chain is `done`, a tool's start and end are
`tool_call` and `tool_result`, text of a model is a `thought` (the thoughts of a run, concatenated,
are its text), an error is an `error`. Retrievers, retries, usage and custom events have types of
their own. Each event is `{"event_type", "data", "timestamp", "job_id"}`.

Handlers raise only GraphCancelled. Failed publishes are logged and counted in `failures`.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypedDict, TypeVar, Unpack, overload
from uuid import UUID

from events.circuit_breaker import CircuitBreaker
from events.exceptions import JobCancelled, RedisUnavailable
from events.publisher import Publisher, RedisStreamPublisher, SyncRedisStreamPublisher

try:
    from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
except ImportError as error:
    raise ImportError(
        "The callback handler needs LangChain: pip install 'django-job-events[langgraph]'"
    ) from error

from events.integrations.langchain.extract import delta_text, error_text
from events.integrations.langchain.interrupts import GraphBubbleUp
from events.integrations.langchain.options import DEFAULTS, RecordOptions
from events.integrations.langchain.recorder import Events, RunRecorder
from events.integrations.langchain.sanitize import Sanitizer
from events.integrations.langchain.tracebacks import trimmed_traceback

logger = logging.getLogger(__name__)

Record = Callable[..., Events]
Handler = TypeVar("Handler", bound="type[_Handler]")


class GraphCancelled(JobCancelled, GraphBubbleUp):
    """The job was cancelled. As a GraphBubbleUp it passes RetryPolicy and ToolNode unhandled."""


class HandlerOptions(TypedDict, total=False):
    """Keyword arguments of the handlers.

    `record` limits what the log contains. `control_flow` are exceptions that end a graph without an
    `error` event. `should_cancel` is called in every callback, including each token, so it must not
    do I/O; if it returns True, the callback raises GraphCancelled.
    """

    control_flow: tuple[type[BaseException], ...]
    record: RecordOptions
    should_cancel: Callable[[], bool] | None


class _Handler:
    """State and callbacks that both handlers share."""

    # Otherwise LangChain discards the exceptions of handlers.
    raise_error = True

    def __init__(
        self, job_id: str, publisher: Publisher[Any], **options: Unpack[HandlerOptions]
    ) -> None:
        super().__init__()
        record = options.get("record", DEFAULTS)
        self.job_id = job_id
        self.failures = 0
        self._publisher = publisher
        self._recorder = RunRecorder(
            job_id, options.get("control_flow", ()), record, publisher.max_event_bytes
        )
        self._sanitizer = Sanitizer(record, publisher.max_event_bytes)
        self._breaker = CircuitBreaker()
        self._should_cancel = options.get("should_cancel")
        self._should_cancel_breaker = CircuitBreaker()
        self._cancelled = False
        # Recorded events that are not yet published, in order.
        self._pending: deque[dict[str, Any]] = deque()
        self._pending_lock = threading.Lock()

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
            seconds = self._recorder.llm_token(token, run_id, protocol=protocol)
            if seconds is not None:
                self._schedule_flush(seconds)
        except Exception as error:  # noqa: BLE001 - a graph must not fail because its log does
            self._recorder.cancel_flush()
            self._record_failure(error)

    def take_stream_event(self, event: Any, *, run_id: UUID, **_kwargs: Any) -> None:
        """Buffer the text of an event of `stream_events(version="v3")`."""
        self.take_token(delta_text(event), run_id=run_id, protocol=True)

    on_llm_new_token: Any = take_token
    on_stream_event: Any = take_stream_event

    def _schedule_flush(self, seconds: float) -> None:
        raise NotImplementedError

    def _record(self, record: Record, *args: Any, **kwargs: Any) -> None:
        with self._pending_lock:
            self._pending.extend(record(self._recorder, *args, **kwargs))

    def _raise_if_cancelled(self) -> None:
        if self._is_cancelled():
            raise GraphCancelled(JobCancelled.__doc__)

    def _is_cancelled(self) -> bool:
        if self._should_cancel is None or self._cancelled or self._should_cancel_breaker.is_open:
            return self._cancelled
        try:
            self._cancelled = bool(self._should_cancel())
        except Exception as error:  # noqa: BLE001 - a failed call does not cancel
            self._should_cancel_breaker.record_failure()
            self._warn("should_cancel_failed", error)
        return self._cancelled

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
            try:
                text = f"{type(error).__name__}: {error_text(error)}"
                extra["error"] = self._sanitizer.text(text)
                extra["traceback"] = self._sanitizer.text(trimmed_traceback(error))
            except Exception:  # noqa: BLE001 - the user's redactor; the class name was logged
                extra["redactor"] = "failed"
        logger.warning(event, extra=extra)


# Methods of RunRecorder that record the callback `on_<name>`. Errors do not raise GraphCancelled.
_CANCELLING: Final = (
    "chain_start", "chain_end", "tool_start", "tool_end", "retriever_start", "retriever_end",
    "llm_start", "chat_model_start", "llm_end", "custom_event", "retry",
)  # fmt: skip
_ERRORS: Final = ("chain_error", "tool_error", "retriever_error", "llm_error")


def _with_callbacks(callback: Callable[..., Any]) -> Callable[[Handler], Handler]:
    """Decorate a handler class: add the callbacks, which `callback` makes of recorder methods."""

    def decorate(handler: Handler) -> Handler:
        for name in _CANCELLING:
            setattr(handler, f"on_{name}", callback(getattr(RunRecorder, name), cancels=True))
        for name in _ERRORS:
            setattr(handler, f"on_{name}", callback(RunRecorder.failed, cancels=False))
        return handler

    return decorate


def _callback(record: Record, *, cancels: bool) -> Callable[..., None]:
    def callback(self: "SyncRedisCallbackHandler", *args: Any, **kwargs: Any) -> None:
        if cancels:
            self._raise_if_cancelled()
        with self._suppressing():
            self._record(record, *args, **kwargs)
            self._deliver()

    return callback


def _acallback(record: Record, *, cancels: bool) -> Callable[..., Coroutine[Any, Any, None]]:
    async def callback(self: "RedisCallbackHandler", *args: Any, **kwargs: Any) -> None:
        if cancels:
            self._raise_if_cancelled()
        with self._suppressing():
            self._record(record, *args, **kwargs)
            await self._deliver()

    return callback


_flush: Final = _callback(RunRecorder.flush, cancels=False)


@_with_callbacks(_callback)
class SyncRedisCallbackHandler(_Handler, BaseCallbackHandler):
    """Handler for `invoke` and `stream` that publishes through a SyncRedisStreamPublisher.

    Parallel branches call it from several threads, and a timer thread flushes the text of models.
    A lock around publishing preserves the order of events.
    """

    def __init__(
        self, job_id: str, publisher: Publisher[Any], **options: Unpack[HandlerOptions]
    ) -> None:
        super().__init__(job_id, publisher, **options)
        self._delivery_lock = threading.Lock()

    def _deliver(self) -> None:
        with self._delivery_lock:
            while event := self._next_event():
                with self._suppressing():
                    self._publisher.publish_event(self.job_id, event)
                    self._breaker.record_success()

    def _schedule_flush(self, seconds: float) -> None:
        timer = threading.Timer(seconds, _flush, (self,))
        timer.daemon = True
        timer.start()


@_with_callbacks(_acallback)
class RedisCallbackHandler(_Handler, AsyncCallbackHandler):
    """Handler for `ainvoke` and `astream` that publishes through a RedisStreamPublisher.

    LangChain runs the callbacks of sync nodes in other event loops, possibly while the node blocks
    the client's loop. Events are therefore queued, and published in the client's loop only;
    callbacks in other loops do not wait. The last callback of a run is in the client's loop and
    empties the queue.

    `on_llm_new_token` is a plain function: for coroutine functions LangChain creates a coroutine
    per token, in sync models an event loop per token.
    """

    # Otherwise LangChain calls plain functions in a thread.
    run_inline = True

    def __init__(
        self, job_id: str, publisher: Publisher[Any], **options: Unpack[HandlerOptions]
    ) -> None:
        super().__init__(job_id, publisher, **options)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._delivery_lock = asyncio.Lock()
        self._deliveries: set[asyncio.Task[None]] = set()

    async def _deliver(self) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is None or self._loop.is_closed():
            self._loop, self._delivery_lock = loop, asyncio.Lock()
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
                    await self._publisher.publish_event(self.job_id, event)
                    self._breaker.record_success()

    def _schedule_flush(self, seconds: float) -> None:
        loop = self._loop
        if loop is None or loop.is_closed():  # a sync graph: the text is published at its end
            self._recorder.cancel_flush()
            return
        loop.call_soon_threadsafe(loop.call_later, seconds, self._flush, loop)

    def _flush(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._suppressing():
            self._record(RunRecorder.flush)
        if self._pending:
            self._start_delivery(loop)


@overload
def create_redis_callback_handler(
    job_id: str, publisher: RedisStreamPublisher, **options: Unpack[HandlerOptions]
) -> RedisCallbackHandler: ...
@overload
def create_redis_callback_handler(
    job_id: str, publisher: SyncRedisStreamPublisher, **options: Unpack[HandlerOptions]
) -> SyncRedisCallbackHandler: ...
def create_redis_callback_handler(
    job_id: str,
    publisher: RedisStreamPublisher | SyncRedisStreamPublisher,
    **options: Unpack[HandlerOptions],
) -> RedisCallbackHandler | SyncRedisCallbackHandler:
    """Return the handler for `config={"callbacks": [handler]}` that matches the publisher.

    `options` are those of HandlerOptions: `control_flow`, `record` and `should_cancel`.
    """
    if isinstance(publisher, SyncRedisStreamPublisher):
        return SyncRedisCallbackHandler(job_id, publisher, **options)
    return RedisCallbackHandler(job_id, publisher, **options)
