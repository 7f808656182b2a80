"""From callbacks to events, without I/O: the runs that are open, and what is said of each."""

import asyncio
import concurrent.futures
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from events.codec import MAX_EVENT_BYTES, utc_now
from events.exceptions import JobCancelled
from events.integrations.langchain import extract
from events.integrations.langchain.interrupts import GraphBubbleUp, GraphInterrupt
from events.integrations.langchain.options import DEFAULTS, RecordOptions, is_shown
from events.integrations.langchain.run_state import RunState
from events.integrations.langchain.sanitize import Sanitizer, clean, pieces
from events.integrations.langchain.tracebacks import trimmed_traceback
from events.types import EventType, check_job_id

Events = list[dict[str, Any]]
Serialized = Mapping[str, Any] | None

FLUSH_SECONDS: Final = 0.1
_HIDDEN: Final = "langsmith:hidden"
# What an event has besides its text.
_ENVELOPE_BYTES: Final = 16 * 1024
# A graph that is cut off: by its task, or by whoever iterated over it.
_CUT_OFF: Final = (asyncio.CancelledError, concurrent.futures.CancelledError, GeneratorExit)


class RunRecorder:
    """From callbacks to events: keeps the runs that are open; does no I/O.

    Callbacks of parallel branches come from several threads.
    """

    def __init__(
        self,
        job_id: str,
        control_flow: tuple[type[BaseException], ...] = (),
        record: RecordOptions = DEFAULTS,
        max_event_bytes: int = MAX_EVENT_BYTES,
    ) -> None:
        self._job_id = check_job_id(job_id)
        self._control_flow = (GraphBubbleUp, JobCancelled, *control_flow)
        self._record = record
        self._values = Sanitizer(record, max_event_bytes)
        self._keeps_text = record.model_text
        self._max_text = max(max_event_bytes - _ENVELOPE_BYTES, max_event_bytes // 2)
        self._runs: dict[UUID, RunState] = {}
        self._lock = threading.Lock()
        self._waiting = False

    def chain_start(
        self, serialized: Serialized, _inputs: Any, *, run_id: UUID, **kwargs: Any
    ) -> Events:
        """A phase begins: the whole graph, one of its nodes, or a chain of a plain pipeline."""
        run = self._open(serialized, run_id, kwargs)
        tried = self._retry(run, kwargs)
        node = run.about["node"]
        if _HIDDEN in (kwargs.get("tags") or ()) or (run.root and node not in (None, run.name)):
            return tried
        more = self._metadata(kwargs) if run.root is None else {}
        began = self._event(EventType.PHASE_UPDATE, run, phase=run.name, **more)
        return [*self._so_far(run), *tried, began]

    def chain_end(self, _outputs: Any, *, run_id: UUID, **_kwargs: Any) -> Events:
        """The graph is done when its root chain is, if nobody is to be asked first."""
        run = self._close(run_id)
        if run.root:
            return []
        kind = EventType.INTERRUPTED if run.interrupted else EventType.DONE
        told = {"usage": run.usage} if run.usage else {}
        return [self._event(kind, run, None, seconds=run.seconds, **told)]

    def tool_start(
        self, serialized: Serialized, input_str: str, *, run_id: UUID, **kwargs: Any
    ) -> Events:
        """A tool is called."""
        run = self._open(serialized, run_id, kwargs)
        given = self._tool_input(kwargs.get("inputs") or input_str)
        if kwargs.get("tool_call_id"):
            given["tool_call_id"] = kwargs["tool_call_id"]
        called = self._event(EventType.TOOL_CALL, run, tool=run.name, **given)
        return [*self._so_far(run), *self._retry(run, kwargs), called]

    def tool_end(self, output: Any, *, run_id: UUID, **_kwargs: Any) -> Events:
        """A tool has answered."""
        run = self._close(run_id)
        answer, failed = extract.tool_answer(output)
        more = {"status": "error"} if failed else {}
        told = self._if(self._record.tool_outputs, output=answer, **more)
        done = self._event(EventType.TOOL_RESULT, run, tool=run.name, **told, seconds=run.seconds)
        return [*self._so_far(run), done]

    def retriever_start(
        self, serialized: Serialized, query: Any, *, run_id: UUID, **kwargs: Any
    ) -> Events:
        """Documents are looked for."""
        run = self._open(serialized, run_id, kwargs)
        told = self._if(self._record.queries, query=query)
        called = self._event(EventType.RETRIEVER_CALL, run, retriever=run.name, **told)
        return [*self._so_far(run), *self._retry(run, kwargs), called]

    def retriever_end(self, documents: Sequence[Any], *, run_id: UUID, **_kwargs: Any) -> Events:
        """Documents are found."""
        run = self._close(run_id)
        found = [extract.document(one) for one in documents] if self._record.documents else None
        told = self._if(self._record.documents, documents=found)
        return [
            *self._so_far(run),
            self._event(
                EventType.RETRIEVER_RESULT,
                run,
                retriever=run.name,
                count=len(documents),
                **told,
                seconds=run.seconds,
            ),
        ]

    def llm_start(
        self, serialized: Serialized, prompts: Any, *, run_id: UUID, **kwargs: Any
    ) -> Events:
        """A model is asked by text; it has said nothing yet."""
        return self._model_start(serialized, [("human", one) for one in prompts], run_id, kwargs)

    def chat_start(
        self, serialized: Serialized, messages: Any, *, run_id: UUID, **kwargs: Any
    ) -> Events:
        """A chat model is asked; it has said nothing yet."""
        asked = extract.messages(messages) if self._record.prompts else []
        return self._model_start(serialized, asked, run_id, kwargs)

    def llm_token(self, token: Any, run_id: UUID, *, protocol: bool = False) -> float | None:
        """Keep a piece of what a model says, and say in how many seconds a flush is due.

        None if one is to come anyway. Called for each token: takes no lock, and looks at no clock.
        Some models give each piece twice, the second time as an event of a protocol.
        """
        run = self._runs.get(run_id)
        if run is None or not token:
            return None
        if run.by_protocol is not protocol:
            if run.by_protocol is not None:
                return None
            run.by_protocol = protocol
        if not self._keeps_text:
            return None
        if token.__class__ is not str:
            token = extract.token_text(token)
        run.text.append(token)
        run.size += len(token)
        if run.size > self._max_text:
            run.size = 0
            return 0.0
        if self._waiting:
            return None
        self._waiting = True
        return FLUSH_SECONDS

    def expect_no_flush(self) -> None:
        """None comes after all: the next token is to ask for one."""
        self._waiting = False

    def flush(self) -> Events:
        """What models have said since the last flush, but for what may turn out to be a secret."""
        self._waiting = False
        with self._lock:
            return [event for run in list(self._runs.values()) for event in self._news(run)]

    def llm_end(self, response: Any, *, run_id: UUID, **_kwargs: Any) -> Events:
        """A model has said everything; what was not streamed comes now."""
        run = self._close(run_id)
        if not run.is_streamed and (text := extract.response_text(response)):
            run.text.append(text)
        return [*self._rest(run), *self._usage(run, response)]

    def custom(self, name: str, data: Any, *, run_id: UUID, **kwargs: Any) -> Events:
        """The user's code says something of its own."""
        run = self._runs.get(run_id) or self._unknown(run_id)
        told = self._if(self._record.custom_events, value=data)
        return [*self._so_far(run), self._event(EventType.CUSTOM_EVENT, run, name=name, **told)]

    def retry(self, state: Any, *, run_id: UUID, **_kwargs: Any) -> Events:
        """A model did not answer, and is asked again."""
        run = self._runs.get(run_id) or self._unknown(run_id)
        error = state.outcome.exception() if state.outcome else None
        why = {"message": extract.error_message(error)} if error else {}
        kind = {"error_type": type(error).__name__} if error else {}
        attempt = state.attempt_number + 1
        return [self._event(EventType.RETRY, run, name=run.name, attempt=attempt, **kind, **why)]

    def failed(self, error: BaseException, *, run_id: UUID, **_kwargs: Any) -> Events:
        """A run failed; an error that passes through several runs is told once."""
        run = self._close(run_id)
        events = self._rest(run)
        known = any(error is told for told in run.top.told)
        run.top.told.append(error)
        if isinstance(error, GraphInterrupt):
            run.top.interrupted = True
        if isinstance(error, self._control_flow):
            return events
        if isinstance(error, _CUT_OFF):
            return events if run.root else [*events, self._event(EventType.CANCELLED, run)]
        if run.step:
            run.top.failures[run.step] += 1
        return events if known else [*events, self._error(run, error)]

    def _error(self, run: RunState, error: BaseException) -> dict[str, Any]:
        trace = trimmed_traceback(error) if self._record.tracebacks else ""
        return self._event(
            EventType.ERROR,
            run,
            message=extract.error_message(error),
            error_type=type(error).__name__,
            **({"traceback": trace} if trace else {}),
        )

    def _model_start(
        self,
        serialized: Serialized,
        asked: list[tuple[str, Any]],
        run_id: UUID,
        kwargs: Mapping[str, Any],
    ) -> Events:
        run = self._open(serialized, run_id, kwargs)
        model = (kwargs.get("metadata") or {}).get("ls_model_name")
        run.model = self._values.text(model) if isinstance(model, str) else None
        shown = [
            {"role": role, "content": content}
            for role, content in asked
            if is_shown(self._record.prompts, role)
        ]
        events = self._retry(run, kwargs)
        if self._record.prompts:
            events.append(self._event(EventType.MODEL_CALL, run, messages=shown, **run.its_model))
        return events

    def _usage(self, run: RunState, response: Any) -> Events:
        """Which model answered, and how many tokens it counted, if it says so."""
        usage = extract.response_usage(response)
        name = extract.response_model(response)
        if name:
            run.model = self._values.text(name)
        if not usage:
            return []
        with self._lock:
            extract.add_usage(run.top.usage.setdefault(run.model or run.name, {}), usage)
        return [
            self._event(
                EventType.MODEL_USAGE, run, None, usage=usage, seconds=run.seconds, **run.its_model
            )
        ]

    def _retry(self, run: RunState, kwargs: Mapping[str, Any]) -> Events:
        """Tell of a run that is tried again: by a graph's RetryPolicy, or by `with_retry`."""
        failures = run.top.failures[run.step] if run.step else 0
        attempt = failures + 1 if failures else extract.retry_attempt(kwargs.get("tags"))
        if attempt < 2:  # noqa: PLR2004 - the first is no retry
            return []
        return [self._event(EventType.RETRY, run, name=run.name, attempt=attempt)]

    def _open(self, serialized: Serialized, run_id: UUID, kwargs: Mapping[str, Any]) -> RunState:
        name = str(kwargs.get("name") or (serialized or {}).get("name") or "run")
        metadata = kwargs.get("metadata") or {}
        about = self._about(run_id, kwargs, metadata)
        run = RunState(self._values.text(name), about)
        if name == metadata.get("langgraph_node"):
            run.step = (str(metadata.get("langgraph_checkpoint_ns")), name)
        with self._lock:
            parent = (
                self._runs.get(kwargs["parent_run_id"]) if kwargs.get("parent_run_id") else None
            )
            run.root = parent.top if parent else None
            self._runs[run_id] = run
        return run

    def _about(
        self, run_id: UUID, kwargs: Mapping[str, Any], metadata: Mapping[str, Any]
    ) -> dict[str, Any]:
        """What all events of a run say of it."""
        parent = kwargs.get("parent_run_id")
        about: dict[str, Any] = {
            "run_id": str(run_id),
            "parent_run_id": str(parent) if parent else None,
            "node": metadata.get("langgraph_node"),
            "namespace": extract.namespace(metadata),
            "step": metadata.get("langgraph_step"),
            "tags": extract.own_tags(kwargs.get("tags")),
        }
        kept = {
            k: v for k, v in about.items() if v not in (None, []) or k in ("node", "parent_run_id")
        }
        return {key: self._values.shown(value) for key, value in kept.items()}

    def _close(self, run_id: UUID) -> RunState:
        with self._lock:
            run = self._runs.pop(run_id, None) or self._unknown(run_id)
            if run.root is None:  # of runs that are cut off, no end is told
                self._runs = {k: one for k, one in self._runs.items() if one.root is not run}
        return run

    def _unknown(self, run_id: UUID) -> RunState:
        about = {"run_id": str(run_id), "parent_run_id": None, "node": None}
        stranger = RunState("run", about)
        return RunState("run", about, root=stranger)

    def _said(self, run: RunState, *, all_of_it: bool = False) -> Events:
        parts = [run.held]
        while run.text:
            parts.append(run.text.popleft())
        run.size = 0
        text = clean("".join(parts))
        redactor = self._record.redactor
        end = len(text) if all_of_it else redactor.settled(text)
        run.held = text[end:]
        shown = redactor.text(text[:end])
        return [
            self._event(EventType.THOUGHT, run, clean(piece), **run.its_model)
            for piece in pieces(shown, self._max_text)
            if piece
        ]

    def _news(self, run: RunState) -> Events:
        return self._said(run) if run.text else []

    def _so_far(self, run: RunState) -> Events:
        """What models have said in the same part of the graph, before what happens there now."""
        with self._lock:
            beside = [one for one in self._runs.values() if one.text and one.is_beside(run)]
            return [event for one in beside for event in self._news(one)]

    def _rest(self, run: RunState) -> Events:
        """All that a model has said, when it is at its end."""
        if self._keeps_text:
            with self._lock:
                return self._said(run, all_of_it=True)
        if not (run.text or run.is_streamed):
            return []
        return [self._event(EventType.THOUGHT, run, withheld=["text"], **run.its_model)]

    def _tool_input(self, given: Any) -> dict[str, Any]:
        option = self._record.tool_inputs
        if isinstance(option, bool) or not isinstance(given, Mapping):
            return self._if(option is True, input=given)
        shown = {k: v for k, v in given.items() if k in option}
        hidden = [f"input.{name}" for name in given if name not in option]
        return {"input": shown, **({"withheld": hidden} if hidden else {})}

    def _metadata(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        own = extract.own_metadata(kwargs.get("metadata") or {})
        return {"metadata": own} if own and self._record.metadata else {}

    @staticmethod
    def _if(shown: bool, **values: Any) -> dict[str, Any]:
        """`values`, or that they are not shown."""
        return values if shown else {"withheld": list(values)}

    def _event(
        self, event_type: EventType, run: RunState, text: str | None = None, **data: Any
    ) -> dict[str, Any]:
        """An event; whatever stands in `data` is redacted here, `text` was before."""
        said = {} if text is None else {"text": text}
        shown = {key: self._values.shown(value) for key, value in data.items()}
        return {
            "event_type": event_type,
            "data": {**said, **shown, **run.about},
            "timestamp": utc_now(),
            "job_id": self._job_id,
        }
