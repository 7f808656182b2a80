"""RunRecorder: converts callbacks to events and tracks the runs between start and end. No I/O."""

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
from events.integrations.langchain.options import DEFAULTS, RecordOptions, includes
from events.integrations.langchain.run_state import RunState
from events.integrations.langchain.sanitize import Sanitizer, replace_invalid, split_text
from events.integrations.langchain.tracebacks import trimmed_traceback
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
    """Converts callbacks to events. Thread-safe: parallel branches call it from several threads."""

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
        self._sanitizer = Sanitizer(record, max_event_bytes)
        self._records_text = record.model_text
        self._max_text = max(max_event_bytes - _ENVELOPE_BYTES, max_event_bytes // 2)
        self._runs: dict[UUID, RunState] = {}
        self._lock = threading.Lock()
        self._flush_scheduled = False

    def chain_start(
        self, serialized: Serialized, _inputs: Any, *, run_id: UUID, **kwargs: Any
    ) -> Events:
        """Record the start of a graph, of a node, or of a chain outside of graphs."""
        run = self._start(serialized, run_id, kwargs)
        retry = self._retry(run, kwargs)
        node = run.fields["node"]
        is_hidden = _HIDDEN_TAG in (kwargs.get("tags") or ())
        if is_hidden or (run.root and node not in (None, run.name)):
            return retry
        data: dict[str, Any] = {"phase": run.name}
        if run.root is None and self._record.metadata:
            metadata = extract.user_metadata(kwargs.get("metadata") or {})
            data |= {"metadata": metadata} if metadata else {}
        phase = self._event(EventType.PHASE_UPDATE, run, **data)
        return [*self._text_before(run), *retry, phase]

    def chain_end(self, _outputs: Any, *, run_id: UUID, **_kwargs: Any) -> Events:
        """Record the end of the root chain: done, or interrupted for input."""
        run = self._end(run_id)
        if run.root:
            return []
        event_type = EventType.INTERRUPTED if run.interrupted else EventType.DONE
        usage = {"usage": run.usage} if run.usage else {}
        return [self._event(event_type, run, None, seconds=run.seconds, **usage)]

    def tool_start(
        self, serialized: Serialized, input_str: str, *, run_id: UUID, **kwargs: Any
    ) -> Events:
        """Record the call of a tool."""
        run = self._start(serialized, run_id, kwargs)
        fields = self._tool_input(kwargs.get("inputs") or input_str)
        if kwargs.get("tool_call_id"):
            fields["tool_call_id"] = kwargs["tool_call_id"]
        call = self._event(EventType.TOOL_CALL, run, tool=run.name, **fields)
        return [*self._text_before(run), *self._retry(run, kwargs), call]

    def tool_end(self, output: Any, *, run_id: UUID, **_kwargs: Any) -> Events:
        """Record the output of a tool."""
        run = self._end(run_id)
        content, is_error = extract.tool_output(output)
        status = {"status": "error"} if is_error else {}
        fields = self._withheld_unless(self._record.tool_outputs, output=content, **status)
        seconds = run.seconds
        result = self._event(EventType.TOOL_RESULT, run, tool=run.name, **fields, seconds=seconds)
        return [*self._text_before(run), result]

    def retriever_start(
        self, serialized: Serialized, query: Any, *, run_id: UUID, **kwargs: Any
    ) -> Events:
        """Record the query of a retriever."""
        run = self._start(serialized, run_id, kwargs)
        fields = self._withheld_unless(self._record.queries, query=query)
        call = self._event(EventType.RETRIEVER_CALL, run, retriever=run.name, **fields)
        return [*self._text_before(run), *self._retry(run, kwargs), call]

    def retriever_end(self, documents: Sequence[Any], *, run_id: UUID, **_kwargs: Any) -> Events:
        """Record the documents of a retriever."""
        run = self._end(run_id)
        found = [extract.document(one) for one in documents] if self._record.documents else None
        fields = {
            "count": len(documents),
            **self._withheld_unless(self._record.documents, documents=found),
            "seconds": run.seconds,
        }
        result = self._event(EventType.RETRIEVER_RESULT, run, retriever=run.name, **fields)
        return [*self._text_before(run), result]

    def llm_start(
        self, serialized: Serialized, prompts: Any, *, run_id: UUID, **kwargs: Any
    ) -> Events:
        """Record the call of a model with text."""
        messages = [("human", prompt) for prompt in prompts]
        return self._model_start(serialized, messages, run_id, kwargs)

    def chat_model_start(
        self, serialized: Serialized, messages: Any, *, run_id: UUID, **kwargs: Any
    ) -> Events:
        """Record the call of a model with messages."""
        given = extract.messages(messages) if self._record.prompts else []
        return self._model_start(serialized, given, run_id, kwargs)

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
        if not self._records_text:
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
        if not run.is_streamed and (text := extract.response_text(response)):
            run.text.append(text)
        return [*self._remaining_text(run), *self._usage(run, response)]

    def custom_event(self, name: str, data: Any, *, run_id: UUID, **kwargs: Any) -> Events:
        """Record an event that the user's code dispatches."""
        run = self._runs.get(run_id) or self._unknown_run(run_id)
        fields = self._withheld_unless(self._record.custom_events, value=data)
        custom = self._event(EventType.CUSTOM_EVENT, run, name=name, **fields)
        return [*self._text_before(run), custom]

    def retry(self, state: Any, *, run_id: UUID, **_kwargs: Any) -> Events:
        """Record another attempt at a model call that failed."""
        run = self._runs.get(run_id) or self._unknown_run(run_id)
        error = state.outcome.exception() if state.outcome else None
        fields = {
            "attempt": state.attempt_number + 1,
            **({"error_type": type(error).__name__} if error else {}),
            **({"message": extract.error_message(error)} if error else {}),
        }
        return [self._event(EventType.RETRY, run, name=run.name, **fields)]

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
        messages: list[tuple[str, Any]],
        run_id: UUID,
        kwargs: Mapping[str, Any],
    ) -> Events:
        run = self._start(serialized, run_id, kwargs)
        model = (kwargs.get("metadata") or {}).get("ls_model_name")
        run.model = self._sanitizer.text(model) if isinstance(model, str) else None
        events = self._retry(run, kwargs)
        if self._record.prompts:
            shown = [
                {"role": role, "content": content}
                for role, content in messages
                if includes(self._record.prompts, role)
            ]
            events.append(self._event(EventType.MODEL_CALL, run, messages=shown, **run.model_field))
        return events

    def _usage(self, run: RunState, response: Any) -> Events:
        """Return the event with the token counts of a response, if it has any."""
        usage = extract.response_usage(response)
        name = extract.response_model(response)
        if name:
            run.model = self._sanitizer.text(name)
        if not usage:
            return []
        with self._lock:
            extract.add_usage(run.tree_root.usage.setdefault(run.model or run.name, {}), usage)
        fields = {"usage": usage, "seconds": run.seconds, **run.model_field}
        return [self._event(EventType.MODEL_USAGE, run, None, **fields)]

    def _retry(self, run: RunState, kwargs: Mapping[str, Any]) -> Events:
        """Return the event of another attempt, by a node's RetryPolicy or by `with_retry`."""
        failures = run.tree_root.failures[run.step] if run.step else 0
        attempt = failures + 1 if failures else extract.retry_attempt(kwargs.get("tags"))
        if attempt < 2:  # noqa: PLR2004 - the first attempt is no retry
            return []
        return [self._event(EventType.RETRY, run, name=run.name, attempt=attempt)]

    def _start(self, serialized: Serialized, run_id: UUID, kwargs: Mapping[str, Any]) -> RunState:
        name = str(kwargs.get("name") or (serialized or {}).get("name") or "run")
        metadata = kwargs.get("metadata") or {}
        run = RunState(self._sanitizer.text(name), self._run_fields(run_id, kwargs, metadata))
        if name == metadata.get("langgraph_node"):
            run.step = (str(metadata.get("langgraph_checkpoint_ns")), name)
        with self._lock:
            parent = self._runs.get(kwargs.get("parent_run_id"))  # type: ignore[arg-type]
            run.root = parent.tree_root if parent else None
            self._runs[run_id] = run
        return run

    def _run_fields(
        self, run_id: UUID, kwargs: Mapping[str, Any], metadata: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the fields that all events of a run have."""
        parent = kwargs.get("parent_run_id")
        required = {
            "run_id": str(run_id),
            "parent_run_id": str(parent) if parent else None,
            "node": metadata.get("langgraph_node"),
        }
        optional = {
            "namespace": extract.namespace(metadata),
            "step": metadata.get("langgraph_step"),
            "tags": extract.user_tags(kwargs.get("tags")),
        }
        given = {key: value for key, value in optional.items() if value not in (None, [])}
        return {key: self._sanitizer.value(value) for key, value in (required | given).items()}

    def _end(self, run_id: UUID) -> RunState:
        with self._lock:
            run = self._runs.pop(run_id, None) or self._unknown_run(run_id)
            if run.root is None:  # aborted runs have no end callback
                self._runs = {k: one for k, one in self._runs.items() if one.root is not run}
        return run

    def _unknown_run(self, run_id: UUID) -> RunState:
        """Return a run that is not a root, so that its end does not record `done`."""
        fields = {"run_id": str(run_id), "parent_run_id": None, "node": None}
        return RunState("run", fields, root=RunState("run", fields))

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
            self._event(EventType.THOUGHT, run, replace_invalid(part), **run.model_field)
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
        if self._records_text:
            with self._lock:
                return self._take_text(run, is_complete=True)
        if not (run.text or run.is_streamed):
            return []
        return [self._event(EventType.THOUGHT, run, withheld=["text"], **run.model_field)]

    def _tool_input(self, given: Any) -> dict[str, Any]:
        option = self._record.tool_inputs
        if isinstance(option, bool) or not isinstance(given, Mapping):
            return self._withheld_unless(option is True, input=given)
        shown = {name: value for name, value in given.items() if name in option}
        withheld = [f"input.{name}" for name in given if name not in option]
        return {"input": shown, **({"withheld": withheld} if withheld else {})}

    @staticmethod
    def _withheld_unless(shown: bool, **values: Any) -> dict[str, Any]:
        """Return `values`, or the field `withheld` with their names."""
        return values if shown else {"withheld": list(values)}

    def _event(
        self, event_type: EventType, run: RunState, text: str | None = None, **data: Any
    ) -> dict[str, Any]:
        """Return an event; `data` is redacted here, `text` is already redacted."""
        texts = {} if text is None else {"text": text}
        values = {key: self._sanitizer.value(value) for key, value in data.items()}
        return {
            "event_type": event_type,
            "data": {**texts, **values, **run.fields},
            "timestamp": utc_now(),
            "job_id": self._job_id,
        }
