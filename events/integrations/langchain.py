"""A callback handler that writes what a LangChain or LangGraph run does into a job's log.

Chain start -> `phase_update`, end of the root chain -> `done`, tool start and end -> `tool_call`
and `tool_result`, what a model says -> `thought` (a piece of text; those of one run, appended,
are the whole), any error -> `error`. Each event is `{"event_type", "data", "timestamp",
"job_id"}`. A handler never breaks the graph that it watches: what it cannot publish is logged,
and counted in `failures`.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final, overload
from uuid import UUID

import orjson

from events.codec import utc_now
from events.exceptions import RedisUnavailable
from events.publisher import Publisher, RedisStreamPublisher, SyncRedisStreamPublisher
from events.rest import Rest
from events.types import EventType, check_job_id

try:
    from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
except ImportError as error:
    raise ImportError(
        "The callback handler needs LangChain: pip install 'django-job-events[langgraph]'"
    ) from error

try:
    from langgraph.errors import GraphBubbleUp
except ImportError:  # LangChain alone: no graph, and nothing that interrupts one

    class GraphBubbleUp(Exception):  # type: ignore[no-redef]
        """Stands for what LangGraph raises to interrupt a graph."""


logger = logging.getLogger(__name__)

Record = Callable[..., list[dict[str, Any]]]

_FLUSH_SECONDS: Final = 0.1
_FLUSH_CHARACTERS: Final = 400
_MAX_CHARACTERS: Final = 32 * 1024
_HIDDEN: Final = "langsmith:hidden"


@dataclass(slots=True)
class _Run:
    """One run of a chain, a tool or a model, from its start to its end."""

    name: str
    node: str | None
    is_root: bool
    text: list[str] = field(default_factory=list)
    streamed: bool = False
    flushed_at: float = field(default_factory=monotonic)


class RunLog:
    """From callbacks to events: keeps the runs that are open; does no I/O.

    Callbacks of parallel branches come from several threads.
    """

    def __init__(self, job_id: str, control_flow: tuple[type[BaseException], ...] = ()) -> None:
        self._job_id = check_job_id(job_id)
        self._control_flow: tuple[type[BaseException], ...] = (GraphBubbleUp, *control_flow)
        self._runs: dict[UUID, _Run] = {}
        self._told: list[BaseException] = []
        self._lock = threading.Lock()

    def chain_start(
        self, serialized: Mapping[str, Any] | None, _inputs: Any, *, run_id: UUID, **kwargs: Any
    ) -> list[dict[str, Any]]:
        """A phase begins: the whole graph, one of its nodes, or a chain of a plain pipeline."""
        run = self._open(serialized, run_id, kwargs)
        if _HIDDEN in (kwargs.get("tags") or ()) or not (
            run.is_root or run.node in (None, run.name)
        ):
            return []
        return [self._event(EventType.PHASE_UPDATE, run_id, run, phase=run.name)]

    def chain_end(self, _outputs: Any, *, run_id: UUID, **_kwargs: Any) -> list[dict[str, Any]]:
        """The graph is done when its root chain is."""
        run = self._close(run_id)
        return [self._event(EventType.DONE, run_id, run)] if run.is_root else []

    def tool_start(
        self, serialized: Mapping[str, Any] | None, input_str: str, *, run_id: UUID, **kwargs: Any
    ) -> list[dict[str, Any]]:
        """A tool is called."""
        run = self._open(serialized, run_id, kwargs)
        given = kwargs.get("inputs") or input_str
        return [self._event(EventType.TOOL_CALL, run_id, run, tool=run.name, input=_json(given))]

    def tool_end(self, output: Any, *, run_id: UUID, **_kwargs: Any) -> list[dict[str, Any]]:
        """A tool has answered."""
        run = self._close(run_id)
        answer = _json(getattr(output, "content", output))
        return [self._event(EventType.TOOL_RESULT, run_id, run, tool=run.name, output=answer)]

    def llm_start(
        self, serialized: Mapping[str, Any] | None, _prompts: Any, *, run_id: UUID, **kwargs: Any
    ) -> list[dict[str, Any]]:
        """A model is asked; it has said nothing yet."""
        self._open(serialized, run_id, kwargs)
        return []

    def llm_token(self, token: Any, *, run_id: UUID, **_kwargs: Any) -> list[dict[str, Any]]:
        """A model says a piece; pieces are published together, every 100 ms or 400 characters."""
        with self._lock:
            run = self._runs.get(run_id)
            text = _token_text(token)
            if run is None or not text:
                return []
            run.streamed = True
            run.text.append(text)
            late = monotonic() - run.flushed_at >= _FLUSH_SECONDS
            if not late and sum(map(len, run.text)) < _FLUSH_CHARACTERS:
                return []
            return self._flush(run_id, run)

    def llm_end(self, response: Any, *, run_id: UUID, **_kwargs: Any) -> list[dict[str, Any]]:
        """A model has said everything; what was not streamed comes in one piece."""
        run = self._close(run_id)
        if not run.streamed:
            run.text.append(_text_of(response))
        return self._flush(run_id, run)

    def failed(self, error: BaseException, *, run_id: UUID, **_kwargs: Any) -> list[dict[str, Any]]:
        """A run failed; an error that passes through several runs is told once."""
        run = self._close(run_id)
        events = self._flush(run_id, run)
        known = any(error is told for told in self._told)
        # Beyond the root no error passes, and to keep one is to keep the frames that it saw.
        self._told = [] if run.is_root else [*self._told, error]
        if known or isinstance(error, self._control_flow):
            return events
        message, kind = _cut(str(error)), type(error).__name__
        return [
            *events,
            self._event(EventType.ERROR, run_id, run, message=message, error_type=kind),
        ]

    def _open(
        self, serialized: Mapping[str, Any] | None, run_id: UUID, kwargs: Mapping[str, Any]
    ) -> _Run:
        name = kwargs.get("name") or (serialized or {}).get("name") or "run"
        node = (kwargs.get("metadata") or {}).get("langgraph_node")
        with self._lock:
            is_root = kwargs.get("parent_run_id") not in self._runs
            self._runs[run_id] = run = _Run(name, node, is_root)
        return run

    def _close(self, run_id: UUID) -> _Run:
        with self._lock:
            return self._runs.pop(run_id, None) or _Run("run", None, is_root=False)

    def _flush(self, run_id: UUID, run: _Run) -> list[dict[str, Any]]:
        text = "".join(run.text)
        run.text.clear()
        run.flushed_at = monotonic()
        return [self._event(EventType.THOUGHT, run_id, run, text=_cut(text))] if text else []

    def _event(self, event_type: EventType, run_id: UUID, run: _Run, **data: Any) -> dict[str, Any]:
        return {
            "event_type": event_type,
            "data": {**data, "run_id": str(run_id), "node": run.node},
            "timestamp": utc_now(),
            "job_id": self._job_id,
        }


def _json(value: Any) -> Any:
    """`value` as JSON has it, whatever a tool was given or gave; large, it becomes cut text."""
    try:
        data = orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:
        return _cut(str(value))
    if isinstance(value, str) or len(data) > _MAX_CHARACTERS or b"\\u0000" in data:
        return _cut(value if isinstance(value, str) else data.decode())
    return orjson.loads(data)


def _cut(text: str) -> str:
    """Text that fits an event, without what JSON logs do not take."""
    clean = text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
    if len(clean) <= _MAX_CHARACTERS:
        return clean
    return f"{clean[:_MAX_CHARACTERS]} [... {len(clean) - _MAX_CHARACTERS} more characters]"


def _token_text(token: Any) -> str:
    """The text of a streamed piece, which some models give as a list of blocks."""
    if isinstance(token, str):
        return token
    blocks = token if isinstance(token, list) else []
    texts = [block.get("text") if isinstance(block, dict) else block for block in blocks]
    return "".join(text for text in texts if isinstance(text, str))


def _text_of(response: Any) -> str:
    """The text of an LLMResult's first answer."""
    generations: Sequence[Sequence[Any]] = getattr(response, "generations", None) or [[]]
    text = getattr(generations[0][0], "text", "") if generations[0] else ""
    return text if isinstance(text, str) else ""


class _Handler:
    """What both handlers are made of."""

    def __init__(
        self,
        job_id: str,
        publisher: Publisher[Any],
        *,
        control_flow: tuple[type[BaseException], ...] = (),
    ) -> None:
        super().__init__()
        self.job_id = job_id
        self.failures = 0
        self._publisher = publisher
        self._log = RunLog(job_id, control_flow)
        self._rest = Rest()

    def _rests(self) -> bool:
        """Whether to leave Redis alone: each try of one that hangs would hold up the graph."""
        resting = self._rest.resting
        if resting:
            self._failed()
        return resting

    def _failed(self, error: Exception | None = None) -> None:
        self.failures += 1
        logger.warning("callback_not_published", exc_info=error, extra={"job_id": self.job_id})
        if isinstance(error, RedisUnavailable):
            self._rest.failed()


def _callback(record: Record) -> Callable[..., None]:
    def callback(self: "SyncRedisCallbackHandler", *args: Any, **kwargs: Any) -> None:
        try:
            for event in record(self._log, *args, **kwargs):
                self._send(event)
        except Exception as error:  # noqa: BLE001 - a graph must not fail because its log does
            self._failed(error)

    return callback


def _acallback(record: Record) -> Callable[..., Coroutine[Any, Any, None]]:
    async def callback(self: "RedisCallbackHandler", *args: Any, **kwargs: Any) -> None:
        try:
            self._pending.extend(record(self._log, *args, **kwargs))
            await self._deliver()
        except Exception as error:  # noqa: BLE001 - a graph must not fail because its log does
            self._failed(error)

    return callback


class SyncRedisCallbackHandler(_Handler, BaseCallbackHandler):
    """For `invoke` and `stream`: publishes through a SyncRedisStreamPublisher.

    `control_flow` names exceptions that stop a graph on purpose; they are not published.
    """

    def _send(self, event: dict[str, Any]) -> None:
        if self._rests():
            return
        try:
            self._publisher.publish_event(self.job_id, event)
            self._rest.worked()
        except Exception as error:  # noqa: BLE001 - the next event may get through
            self._failed(error)

    on_chain_start = _callback(RunLog.chain_start)
    on_chain_end = _callback(RunLog.chain_end)
    on_chain_error = _callback(RunLog.failed)
    on_tool_start = _callback(RunLog.tool_start)
    on_tool_end = _callback(RunLog.tool_end)
    on_tool_error = _callback(RunLog.failed)
    on_llm_start = _callback(RunLog.llm_start)
    on_chat_model_start = _callback(RunLog.llm_start)
    on_llm_new_token = _callback(RunLog.llm_token)
    on_llm_end = _callback(RunLog.llm_end)
    on_llm_error = _callback(RunLog.failed)


class RedisCallbackHandler(_Handler, AsyncCallbackHandler):
    """For `ainvoke` and `astream`: publishes through a RedisStreamPublisher.

    `control_flow` names exceptions that stop a graph on purpose; they are not published.

    A step of an async graph may be sync code, whose callbacks LangChain runs in event loops of
    their own, and it may do so while it blocks the loop in which the client lives. So events
    stand in a queue that only that loop empties; callbacks in another loop do not wait for it.
    The queue is empty when the run is over: its last callback comes in that loop.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._pending: deque[dict[str, Any]] = deque()
        self._home: asyncio.AbstractEventLoop | None = None
        self._turn = asyncio.Lock()
        self._drains: set[asyncio.Task[None]] = set()

    async def _deliver(self) -> None:
        loop = asyncio.get_running_loop()
        if self._home is None or self._home.is_closed():
            self._home, self._turn = loop, asyncio.Lock()
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
                await self._send(self._pending.popleft())

    async def _send(self, event: dict[str, Any]) -> None:
        if self._rests():
            return
        try:
            await self._publisher.publish_event(self.job_id, event)
            self._rest.worked()
        except Exception as error:  # noqa: BLE001 - the next event may get through
            self._failed(error)

    on_chain_start = _acallback(RunLog.chain_start)
    on_chain_end = _acallback(RunLog.chain_end)
    on_chain_error = _acallback(RunLog.failed)
    on_tool_start = _acallback(RunLog.tool_start)
    on_tool_end = _acallback(RunLog.tool_end)
    on_tool_error = _acallback(RunLog.failed)
    on_llm_start = _acallback(RunLog.llm_start)
    on_chat_model_start = _acallback(RunLog.llm_start)
    on_llm_new_token = _acallback(RunLog.llm_token)
    on_llm_end = _acallback(RunLog.llm_end)
    on_llm_error = _acallback(RunLog.failed)


@overload
def create_redis_callback_handler(
    job_id: str, publisher: RedisStreamPublisher
) -> RedisCallbackHandler: ...
@overload
def create_redis_callback_handler(
    job_id: str, publisher: SyncRedisStreamPublisher
) -> SyncRedisCallbackHandler: ...
def create_redis_callback_handler(
    job_id: str, publisher: RedisStreamPublisher | SyncRedisStreamPublisher
) -> RedisCallbackHandler | SyncRedisCallbackHandler:
    """The handler for `config={"callbacks": [handler]}` that suits the publisher."""
    if isinstance(publisher, SyncRedisStreamPublisher):
        return SyncRedisCallbackHandler(job_id, publisher)
    return RedisCallbackHandler(job_id, publisher)
