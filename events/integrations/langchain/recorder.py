"""RunRecorder: converts callbacks to events and tracks the runs between start and end. No I/O."""

import asyncio
import concurrent.futures
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from events.codec import MAX_EVENT_BYTES, utc_now
from events.error_report import error_message, error_traceback, error_type
from events.exceptions import JobCancelled
from events.integrations.langchain import extract
from events.integrations.langchain.errors import GraphBubbleUp, GraphInterrupt
from events.integrations.langchain.options import DEFAULTS, RecordOptions
from events.integrations.langchain.run_state import RunState
from events.integrations.langchain.sanitize import Sanitizer, replace_invalid, split_text
from events.types import EventType, check_job_id

Events = list[dict[str, Any]]
Serialized = Mapping[str, Any] | None

FLUSH_SECONDS: Final = 0.1
_HIDDEN_TAG: Final = "langsmith:hidden"
# Reserved in an event for everything but the text.
_ENVELOPE_BYTES: Final = 16 * 1024
# Raised in a graph whose task is cancelled, or whose iterator is closed.
_ABORTED: Final = (asyncio.CancelledError, concurrent.futures.CancelledError, GeneratorExit)


class RunRecorder:
    """Converts callbacks to events. Thread-safe: parallel branches call it from several threads.

    The keyword arguments of callbacks that start a run are those of LangChain: `run_id`,
    `parent_run_id`, `name`, `tags`, `metadata`, and others.
    """

    def __init__(
        self,
        job_id: str,
        control_flow: tuple[type[BaseException], ...] = (),
        record: RecordOptions = DEFAULTS,
        max_event_bytes: int = MAX_EVENT_BYTES,
    ) -> None:
        self.sanitizer = Sanitizer(record, max_event_bytes)
        self._job_id = check_job_id(job_id)
        self._control_flow = (GraphBubbleUp, JobCancelled, *control_flow)
        self._record = record
        self._max_text = max(max_event_bytes - _ENVELOPE_BYTES, max_event_bytes // 2)
        self._runs: dict[UUID, RunState] = {}
        self._lock = threading.Lock()
        self._flush_scheduled = False

    def chain_start(self, serialized: Serialized, _inputs: Any, **kwargs: Any) -> Events:
        """Record the start of a graph, of a node, or of a chain outside of graphs."""
        run = self._start(serialized, kwargs)
        node = run.fields["node"]
        is_hidden = _HIDDEN_TAG in (kwargs.get("tags") or ())
        if is_hidden or (run.root and node not in (None, run.name)):
            return self._retry(run, kwargs)
        metadata: dict[str, Any] = {}
        if run.root is None and self._record.metadata:
            metadata = extract.user_metadata(kwargs.get("metadata") or {})
        data = {"phase": run.name, **_present(metadata=metadata)}
        return self._started(run, kwargs, EventType.PHASE_UPDATE, **data)

    def chain_end(self, _outputs: Any, *, run_id: UUID, **_kwargs: Any) -> Events:
        """Record the end of the root chain: done, or interrupted for input."""
        run = self._end(run_id)
        if run.root:
            return []
        event_type = EventType.INTERRUPTED if run.interrupted else EventType.DONE
        data = {"seconds": run.seconds, **_present(usage=run.usage)}
        return [self._event(event_type, run, **data)]

    def tool_start(self, serialized: Serialized, input_str: str, **kwargs: Any) -> Events:
        run = self._start(serialized, kwargs)
        data = {
            "tool": run.name,
            **self._tool_input(kwargs.get("inputs") or input_str),
            **_present(tool_call_id=kwargs.get("tool_call_id")),
        }
        return self._started(run, kwargs, EventType.TOOL_CALL, **data)

    def tool_end(self, output: Any, *, run_id: UUID, **_kwargs: Any) -> Events:
        run = self._end(run_id)
        content, is_error = extract.tool_output(output)
        status = {"status": "error"} if is_error else {}
        fields = _withheld_unless(self._record.tool_outputs, output=content, **status)
        data = {"tool": run.name, **fields, "seconds": run.seconds}
        return self._after_text(run, EventType.TOOL_RESULT, **data)

    def retriever_start(self, serialized: Serialized, query: Any, **kwargs: Any) -> Events:
        run = self._start(serialized, kwargs)
        data = {"retriever": run.name, **_withheld_unless(self._record.queries, query=query)}
        return self._started(run, kwargs, EventType.RETRIEVER_CALL, **data)

    def retriever_end(self, documents: Sequence[Any], *, run_id: UUID, **_kwargs: Any) -> Events:
        run = self._end(run_id)
        found = [extract.document(one) for one in documents] if self._record.documents else None
        fields = _withheld_unless(self._record.documents, documents=found)
        data = {"retriever": run.name, "count": len(documents), **fields, "seconds": run.seconds}
        return self._after_text(run, EventType.RETRIEVER_RESULT, **data)

    def llm_start(self, serialized: Serialized, prompts: Any, **kwargs: Any) -> Events:
        return self._model_start(serialized, [("human", prompt) for prompt in prompts], kwargs)

    def chat_model_start(self, serialized: Serialized, messages: Any, **kwargs: Any) -> Events:
        return self._model_start(serialized, extract.messages(messages), kwargs)

    def llm_token(self, token: Any, run_id: UUID, *, protocol: bool = False) -> float | None:
        """Buffer a token; return the seconds until a flush is due, None if one is scheduled.

        Some models stream each token twice, the second time as a protocol event; the first form
        that arrives is used. Takes no lock and reads no clock, as it is called for each token.
        """
        run = self._runs.get(run_id)
        if run is None or not token:
            return None
        if run.is_protocol_stream is not protocol:
            if run.is_protocol_stream is not None:
                return None
            run.is_protocol_stream = protocol
        if not self._record.model_text:
            return None
        if token.__class__ is not str:
            token = extract.token_text(token)
        run.text.append(token)
        run.text_size += len(token)
        if run.text_size > self._max_text:
            run.text_size = 0
            return 0.0
        if self._flush_scheduled:
            return None
        self._flush_scheduled = True
        return FLUSH_SECONDS

    def cancel_flush(self) -> None:
        """Mark no flush as scheduled, so that the next token schedules one."""
        self._flush_scheduled = False

    def flush(self) -> Events:
        """Return the buffered text of all models, except for text that may be part of a secret."""
        self._flush_scheduled = False
        with self._lock:
            return [event for run in list(self._runs.values()) for event in self._take_text(run)]

    def llm_end(self, response: Any, *, run_id: UUID, **_kwargs: Any) -> Events:
        """Record the rest of a model's text, all of it if it was not streamed, and the usage."""
        run = self._end(run_id)
        if run.is_protocol_stream is None and (text := extract.response_text(response)):
            run.text.append(text)
        return [*self._remaining_text(run), *self._usage(run, response)]

    def custom_event(self, name: str, data: Any, *, run_id: UUID, **_kwargs: Any) -> Events:
        run = self._runs.get(run_id) or _unknown_run(run_id)
        fields = _withheld_unless(self._record.custom_events, value=data)
        return self._after_text(run, EventType.CUSTOM_EVENT, name=name, **fields)

    def retry(self, state: Any, *, run_id: UUID, **_kwargs: Any) -> Events:
        """Record another attempt at a model call that failed."""
        run = self._runs.get(run_id) or _unknown_run(run_id)
        data = {"name": run.name, "attempt": state.attempt_number + 1}
        if state.outcome and (error := state.outcome.exception()):
            data |= {"error_type": error_type(error), "message": error_message(error)}
        return [self._event(EventType.RETRY, run, **data)]

    def interrupt(self, event: Any) -> Events:
        """Remember that a graph was interrupted, also before or after a node."""
        if run := self._runs.get(event.run_id):
            run.tree_root.interrupted = True
        return []

    def failed(self, error: BaseException, *, run_id: UUID, **_kwargs: Any) -> Events:
        """Record the failure of a run; an error that passes through several runs is recorded once.

        Control-flow exceptions are not recorded, aborted graphs as `cancelled`.
        """
        run = self._end(run_id)
        root = run.tree_root
        events = self._remaining_text(run)
        is_reported = any(error is reported for reported in root.reported_errors)
        root.reported_errors.append(error)
        if isinstance(error, GraphInterrupt):
            root.interrupted = True
        if isinstance(error, self._control_flow):
            return events
        if isinstance(error, _ABORTED):
            return events if run.root else [*events, self._event(EventType.CANCELLED, run)]
        if run.step:
            root.failures[run.step] += 1
        return events if is_reported else [*events, self._error(run, error)]

    def _error(self, run: RunState, error: BaseException) -> dict[str, Any]:
        trace = error_traceback(error) if self._record.tracebacks else ""
        data = {"message": error_message(error), "error_type": error_type(error)}
        return self._event(EventType.ERROR, run, **data, **_present(traceback=trace))

    def _model_start(
        self, serialized: Serialized, messages: list[tuple[str, Any]], kwargs: Mapping[str, Any]
    ) -> Events:
        run = self._start(serialized, kwargs)
        model = (kwargs.get("metadata") or {}).get("ls_model_name")
        run.model = self.sanitizer.text(model) if isinstance(model, str) else None
        events, roles = self._retry(run, kwargs), self._record.prompts
        if roles:
            shown = [
                {"role": role, "content": content}
                for role, content in messages
                if roles is True or role in roles
            ]
            data = {"messages": shown, **_present(model=run.model)}
            events.append(self._event(EventType.MODEL_CALL, run, **data))
        return events

    def _usage(self, run: RunState, response: Any) -> Events:
        """Return the event with the token counts of a response, if it has any."""
        usage = extract.response_usage(response)
        name = extract.response_model(response)
        if name:
            run.model = self.sanitizer.text(name)
        if not usage:
            return []
        with self._lock:
            extract.add_usage(run.tree_root.usage.setdefault(run.model or run.name, {}), usage)
        data = {"usage": usage, "seconds": run.seconds, **_present(model=run.model)}
        return [self._event(EventType.MODEL_USAGE, run, **data)]

    def _retry(self, run: RunState, kwargs: Mapping[str, Any]) -> Events:
        """Return the event of another attempt, by a node's RetryPolicy or by `with_retry`."""
        failures = run.tree_root.failures[run.step] if run.step else 0
        attempt = failures + 1 if failures else extract.retry_attempt(kwargs.get("tags"))
        if attempt < 2:  # noqa: PLR2004 - the first attempt is no retry
            return []
        return [self._event(EventType.RETRY, run, name=run.name, attempt=attempt)]

    def _start(self, serialized: Serialized, kwargs: Mapping[str, Any]) -> RunState:
        run_id, parent_id = kwargs["run_id"], kwargs.get("parent_run_id")
        metadata = kwargs.get("metadata") or {}
        name = str(kwargs.get("name") or (serialized or {}).get("name") or "run")
        fields = {
            "run_id": str(run_id),
            "parent_run_id": str(parent_id) if parent_id else None,
            "node": metadata.get("langgraph_node"),
            **_present(
                namespace=extract.namespace(metadata),
                step=metadata.get("langgraph_step"),
                tags=extract.user_tags(kwargs.get("tags")),
            ),
        }
        fields = {key: self.sanitizer.value(value) for key, value in fields.items()}
        run = RunState(self.sanitizer.text(name), fields)
        if name == metadata.get("langgraph_node"):
            run.step = (str(metadata.get("langgraph_checkpoint_ns")), name)
        with self._lock:
            parent = self._runs.get(parent_id)  # type: ignore[arg-type]
            run.root = parent.tree_root if parent else None
            self._runs[run_id] = run
        return run

    def _end(self, run_id: UUID) -> RunState:
        with self._lock:
            run = self._runs.pop(run_id, None) or _unknown_run(run_id)
            if run.root is None:  # aborted runs have no end callback
                self._runs = {k: one for k, one in self._runs.items() if one.root is not run}
        return run

    def _take_text(self, run: RunState, *, is_complete: bool = False) -> Events:
        if not (run.text or is_complete):
            return []
        parts = [run.held_text]
        while run.text:
            parts.append(run.text.popleft())
        run.text_size = 0
        text = replace_invalid("".join(parts))
        redactor = self._record.redactor
        end = len(text) if is_complete else redactor.safe_prefix_length(text)
        run.held_text = text[end:]
        redacted = redactor.text(text[:end])
        return [
            self._event(EventType.THOUGHT, run, replace_invalid(part), **_present(model=run.model))
            for part in split_text(redacted, self._max_text)
            if part
        ]

    def _text_before(self, run: RunState) -> Events:
        """Return the buffered text of models in the same node, which precedes the next event."""
        with self._lock:
            runs = [one for one in self._runs.values() if one.text and one.is_in_same_node(run)]
            return [event for one in runs for event in self._take_text(one)]

    def _remaining_text(self, run: RunState) -> Events:
        """Return the rest of a model's text at its end."""
        if self._record.model_text:
            with self._lock:
                return self._take_text(run, is_complete=True)
        if not run.text and run.is_protocol_stream is None:
            return []
        data = {"withheld": ["text"], **_present(model=run.model)}
        return [self._event(EventType.THOUGHT, run, **data)]

    def _tool_input(self, given: Any) -> dict[str, Any]:
        option = self._record.tool_inputs
        if isinstance(option, bool) or not isinstance(given, Mapping):
            return _withheld_unless(option is True, input=given)
        shown = {name: value for name, value in given.items() if name in option}
        withheld = [f"input.{name}" for name in given if name not in option]
        return {"input": shown, **_present(withheld=withheld)}

    def _started(
        self, run: RunState, kwargs: Mapping[str, Any], event_type: EventType, **data: Any
    ) -> Events:
        retry = self._retry(run, kwargs)
        return [*self._text_before(run), *retry, self._event(event_type, run, **data)]

    def _after_text(self, run: RunState, event_type: EventType, **data: Any) -> Events:
        return [*self._text_before(run), self._event(event_type, run, **data)]

    def _event(
        self, event_type: EventType, run: RunState, text: str | None = None, **data: Any
    ) -> dict[str, Any]:
        """Return an event; `data` is redacted here, `text` is already redacted."""
        texts = {} if text is None else {"text": text}
        values = {key: self.sanitizer.value(value) for key, value in data.items()}
        return {
            "event_type": event_type,
            "data": {**texts, **values, **run.fields},
            "timestamp": utc_now(),
            "job_id": self._job_id,
        }


def _unknown_run(run_id: UUID) -> RunState:
    """Return a run that is not a root, so that its end does not record `done`."""
    fields = {"run_id": str(run_id), "parent_run_id": None, "node": None}
    return RunState("run", fields, root=RunState("run", fields))


def _withheld_unless(shown: bool, **values: Any) -> dict[str, Any]:
    """Return `values`, or the field `withheld` with their names."""
    return values if shown else {"withheld": list(values)}


def _present(**values: Any) -> dict[str, Any]:
    """Return the values that are not None and not empty."""
    return {key: value for key, value in values.items() if value not in (None, "", [], {})}
