"""A callback handler that writes what a LangChain or LangGraph run does into a job's log.

Chain start -> `phase_update`, end of the root chain -> `done`, tool start and end -> `tool_call`
and `tool_result`, what a model says -> `thought` (a piece of text; those of one run, appended,
are the whole), any error -> `error`; retrievers, retries, usage and custom events likewise. Each
event is `{"event_type", "data", "timestamp", "job_id"}`. A handler never breaks the graph that it
watches: what it cannot publish is logged, and counted in `failures`. It stops it, if asked to.

    options    what is recorded, field by field
    run_log    from callbacks to events, without I/O; with runs, contents, values and tracebacks
    here       two handlers, which publish these events
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, overload
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

from events.integrations.langchain.extract import delta_text, said
from events.integrations.langchain.interrupts import GraphBubbleUp
from events.integrations.langchain.options import DEFAULTS, RecordOptions
from events.integrations.langchain.recorder import Events, RunRecorder
from events.integrations.langchain.sanitize import Sanitizer
from events.integrations.langchain.tracebacks import trimmed_traceback

__all__ = [
    "GraphCancelled",
    "RecordOptions",
    "RedisCallbackHandler",
    "RunRecorder",
    "SyncRedisCallbackHandler",
    "create_redis_callback_handler",
]

logger = logging.getLogger(__name__)

Record = Callable[..., Events]


class GraphCancelled(JobCancelled, GraphBubbleUp):
    """The job was cancelled: whoever works on it is to stop.

    One of those that LangGraph lets through, which no RetryPolicy and no tool node answers.
    """


class _Handler:
    """What both handlers are made of.

    `record` says what the log may hold of a run. `control_flow` names exceptions that stop a graph
    on purpose; they are not published. `should_cancel` is asked at every callback, each token
    too, so it looks at a flag rather than into a database; when it says True, the graph is stopped
    by JobCancelled. Nothing else is raised here.
    """

    # Without it LangChain lets nothing through that a handler raises.
    raise_error = True

    def __init__(
        self,
        job_id: str,
        publisher: Publisher[Any],
        *,
        control_flow: tuple[type[BaseException], ...] = (),
        record: RecordOptions = DEFAULTS,
        should_cancel: Callable[[], bool] | None = None,
    ) -> None:
        super().__init__()
        self.job_id = job_id
        self.failures = 0
        self._publisher = publisher
        self._log = RunRecorder(job_id, control_flow, record, publisher.max_event_bytes)
        self._values = Sanitizer(record, publisher.max_event_bytes)
        self._rest = CircuitBreaker()
        self._should_cancel = should_cancel
        self._asking = CircuitBreaker()
        self._cancelled = False
        # Events stand in the order in which they were recorded until somebody publishes them.
        self._pending: deque[dict[str, Any]] = deque()
        self._order = threading.Lock()

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
        """Keep what a model streams; a flush follows soon."""
        # Spelled out: LangChain gives these with each token, and a dict of them costs as much
        # as all that is done here.
        if self._should_cancel is not None:
            self._stop_if_cancelled()
        try:
            seconds = self._log.llm_token(token, run_id, protocol=protocol)
            if seconds is not None:
                self._flush_in(seconds)
        except Exception as error:  # noqa: BLE001 - a graph must not fail because its log does
            self._log.expect_no_flush()
            self._failed(error)

    def take_stream_event(self, event: Any, *, run_id: UUID, **_kwargs: Any) -> None:
        """The same for `stream_events(version="v3")`."""
        self.take_token(delta_text(event), run_id=run_id, protocol=True)

    def _flush_in(self, seconds: float) -> None:
        raise NotImplementedError

    def _record_events(self, record: Record, *args: Any, **kwargs: Any) -> None:
        with self._order:
            self._pending.extend(record(self._log, *args, **kwargs))

    def _stop_if_cancelled(self) -> None:
        if self._is_cancelled():
            raise GraphCancelled(JobCancelled.__doc__)

    def _is_cancelled(self) -> bool:
        if self._should_cancel is None or self._cancelled or self._asking.is_open:
            return self._cancelled
        try:
            self._cancelled = bool(self._should_cancel())
        except Exception as error:  # noqa: BLE001 - who cannot be asked has not said yes
            self._asking.record_failure()
            self._warn("should_cancel_failed", error)
        return self._cancelled

    def _rests(self) -> bool:
        """Whether to leave Redis alone: each try of one that hangs would hold up the graph."""
        is_open = self._rest.is_open
        if is_open:
            self._failed()
        return is_open

    def _failed(self, error: Exception | None = None) -> None:
        self.failures += 1
        self._warn("callback_not_published", error)
        if isinstance(error, RedisUnavailable):
            self._rest.record_failure()

    def _warn(self, event: str, error: Exception | None) -> None:
        # No exc_info: an error may quote what it was given, and logging does not redact.
        extra = {"job_id": self.job_id}
        if error:
            extra["error"] = type(error).__name__
            try:
                extra["error"] = self._values.text(f"{type(error).__name__}: {said(error)}")
                extra["traceback"] = self._values.text(trimmed_traceback(error))
            except Exception:  # noqa: BLE001 - a redactor of the user's, then: the name must do
                extra["redactor"] = "failed"
        logger.warning(event, extra=extra)


def _callback(record: Record, *, stops: bool = True) -> Callable[..., None]:
    def callback(self: "SyncRedisCallbackHandler", *args: Any, **kwargs: Any) -> None:
        if stops:
            self._stop_if_cancelled()
        try:
            self._record_events(record, *args, **kwargs)
            self._deliver()
        except Exception as error:  # noqa: BLE001 - a graph must not fail because its log does
            self._failed(error)

    return callback


def _acallback(record: Record, *, stops: bool = True) -> Callable[..., Coroutine[Any, Any, None]]:
    async def callback(self: "RedisCallbackHandler", *args: Any, **kwargs: Any) -> None:
        if stops:
            self._stop_if_cancelled()
        try:
            self._record_events(record, *args, **kwargs)
            await self._deliver()
        except Exception as error:  # noqa: BLE001 - a graph must not fail because its log does
            self._failed(error)

    return callback


class SyncRedisCallbackHandler(_Handler, BaseCallbackHandler):
    """For `invoke` and `stream`: publishes through a SyncRedisStreamPublisher.

    Callbacks of parallel branches come in threads of their own, and what a model says is published
    by a timer's, even if it pauses. One of them publishes at a time, for all: so order is kept.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._turn = threading.Lock()

    def _deliver(self) -> None:
        with self._turn:
            while self._pending:
                self._send(self._pending.popleft())

    def _send(self, event: dict[str, Any]) -> None:
        if self._rests():
            return
        try:
            self._publisher.publish_event(self.job_id, event)
            self._rest.record_success()
        except Exception as error:  # noqa: BLE001 - the next event may get through
            self._failed(error)

    def _flush_in(self, seconds: float) -> None:
        timer = threading.Timer(seconds, _flush, (self,))
        timer.daemon = True
        timer.start()

    on_chain_start = _callback(RunRecorder.chain_start)
    on_chain_end = _callback(RunRecorder.chain_end)
    on_chain_error = _callback(RunRecorder.failed, stops=False)
    on_tool_start = _callback(RunRecorder.tool_start)
    on_tool_end = _callback(RunRecorder.tool_end)
    on_tool_error = _callback(RunRecorder.failed, stops=False)
    on_retriever_start = _callback(RunRecorder.retriever_start)
    on_retriever_end = _callback(RunRecorder.retriever_end)
    on_retriever_error = _callback(RunRecorder.failed, stops=False)
    on_llm_start = _callback(RunRecorder.llm_start)
    on_chat_model_start = _callback(RunRecorder.chat_start)
    on_llm_new_token: Any = _Handler.take_token
    on_stream_event: Any = _Handler.take_stream_event
    on_llm_end = _callback(RunRecorder.llm_end)
    on_llm_error = _callback(RunRecorder.failed, stops=False)
    on_custom_event = _callback(RunRecorder.custom)
    on_retry = _callback(RunRecorder.retry)


# What a timer does: publish what models have said since the last flush.
_flush = _callback(RunRecorder.flush, stops=False)


class RedisCallbackHandler(_Handler, AsyncCallbackHandler):
    """For `ainvoke` and `astream`: publishes through a RedisStreamPublisher.

    A step of an async graph may be sync code, whose callbacks LangChain runs in event loops of
    their own, and it may do so while it blocks the loop in which the client lives. So events
    stand in a queue that only that loop empties; callbacks in another loop do not wait for it.
    The queue is empty when the run is over: its last callback comes in that loop.

    Tokens are taken by plain functions, in whichever thread they come: a coroutine for each, and
    a loop for each where a model is sync, cost far more than all else.
    """

    # Plain functions are called in a thread otherwise.
    run_inline = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._home: asyncio.AbstractEventLoop | None = None
        self._turn = asyncio.Lock()
        self._drains: set[asyncio.Task[None]] = set()

    async def _deliver(self) -> None:
        loop = asyncio.get_running_loop()
        if self._home is None or self._home.is_closed():
            self._home, self._turn = loop, asyncio.Lock()
            self._log.expect_no_flush()  # that of a loop that is gone never comes
        if self._home is loop:
            await self._drain()
        else:
            self._home.call_soon_threadsafe(self._drain_soon, self._home)

    def _drain_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        task = loop.create_task(self._drain())
        self._drains.add(task)
        task.add_done_callback(self._drains.discard)

    async def _drain(self) -> None:
        async with self._turn:
            while self._pending:
                await self._send(self._pending[0])
                # Only now: whoever is cancelled meanwhile leaves the event to the next.
                self._pending.popleft()

    async def _send(self, event: dict[str, Any]) -> None:
        if self._rests():
            return
        try:
            await self._publisher.publish_event(self.job_id, event)
            self._rest.record_success()
        except Exception as error:  # noqa: BLE001 - the next event may get through
            self._failed(error)

    def _flush_in(self, seconds: float) -> None:
        home = self._home
        if home is None or home.is_closed():  # a sync graph: the text comes at the model's end
            self._log.expect_no_flush()
            return
        home.call_soon_threadsafe(home.call_later, seconds, self._flush, home)

    def _flush(self, home: asyncio.AbstractEventLoop) -> None:
        try:
            self._record_events(RunRecorder.flush)
        except Exception as error:  # noqa: BLE001 - a loop's callback has nobody to raise to
            self._failed(error)
        if self._pending:
            self._drain_soon(home)

    on_chain_start = _acallback(RunRecorder.chain_start)
    on_chain_end = _acallback(RunRecorder.chain_end)
    on_chain_error = _acallback(RunRecorder.failed, stops=False)
    on_tool_start = _acallback(RunRecorder.tool_start)
    on_tool_end = _acallback(RunRecorder.tool_end)
    on_tool_error = _acallback(RunRecorder.failed, stops=False)
    on_retriever_start = _acallback(RunRecorder.retriever_start)
    on_retriever_end = _acallback(RunRecorder.retriever_end)
    on_retriever_error = _acallback(RunRecorder.failed, stops=False)
    on_llm_start = _acallback(RunRecorder.llm_start)
    on_chat_model_start = _acallback(RunRecorder.chat_start)
    on_llm_new_token: Any = _Handler.take_token
    on_stream_event: Any = _Handler.take_stream_event
    on_llm_end = _acallback(RunRecorder.llm_end)
    on_llm_error = _acallback(RunRecorder.failed, stops=False)
    on_custom_event = _acallback(RunRecorder.custom)
    on_retry = _acallback(RunRecorder.retry)


@overload
def create_redis_callback_handler(
    job_id: str,
    publisher: RedisStreamPublisher,
    *,
    control_flow: tuple[type[BaseException], ...] = ...,
    record: RecordOptions = ...,
    should_cancel: Callable[[], bool] | None = ...,
) -> RedisCallbackHandler: ...
@overload
def create_redis_callback_handler(
    job_id: str,
    publisher: SyncRedisStreamPublisher,
    *,
    control_flow: tuple[type[BaseException], ...] = ...,
    record: RecordOptions = ...,
    should_cancel: Callable[[], bool] | None = ...,
) -> SyncRedisCallbackHandler: ...
def create_redis_callback_handler(
    job_id: str,
    publisher: RedisStreamPublisher | SyncRedisStreamPublisher,
    *,
    control_flow: tuple[type[BaseException], ...] = (),
    record: RecordOptions = DEFAULTS,
    should_cancel: Callable[[], bool] | None = None,
) -> RedisCallbackHandler | SyncRedisCallbackHandler:
    """The handler for `config={"callbacks": [handler]}` that suits the publisher."""
    options: dict[str, Any] = {
        "control_flow": control_flow,
        "record": record,
        "should_cancel": should_cancel,
    }
    if isinstance(publisher, SyncRedisStreamPublisher):
        return SyncRedisCallbackHandler(job_id, publisher, **options)
    return RedisCallbackHandler(job_id, publisher, **options)
