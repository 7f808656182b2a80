"""SpanRecorder: start events, end events, errors and text of runs. No I/O."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from events.codec import MAX_EVENT_BYTES, replace_invalid, utc_now
from events.error_report import error_message, error_traceback, error_type
from events.integrations.langchain import extract
from events.integrations.langchain.errors import ParentCommand, related_origins
from events.integrations.langchain.extract import TEXT, present
from events.integrations.langchain.options import DEFAULTS, RecordOptions
from events.integrations.langchain.run_state import (
    HeldError,
    ModelOutput,
    RunKind,
    RunState,
    RunStatus,
)
from events.integrations.langchain.run_tree import RunTree, Serialized
from events.integrations.langchain.sanitize import Sanitizer, split_text
from events.types import EventType, check_job_id

Events = list[dict[str, Any]]

# Reserved in an event for everything but the text.
_ENVELOPE_BYTES: Final = 16 * 1024
_START_EVENTS: Final = {
    RunKind.PHASE: EventType.PHASE_UPDATE,
    RunKind.MODEL: EventType.MODEL_CALL,
    RunKind.TOOL: EventType.TOOL_CALL,
    RunKind.RETRIEVER: EventType.RETRIEVER_CALL,
}
_END_EVENTS: Final = {
    RunKind.PHASE: EventType.PHASE_RESULT,
    RunKind.MODEL: EventType.MODEL_RESULT,
    RunKind.TOOL: EventType.TOOL_RESULT,
    RunKind.RETRIEVER: EventType.RETRIEVER_RESULT,
}
_RETURNED: Final = (RunStatus.DONE, RunStatus.REPORTS_ERROR)
_ROOT_END_EVENTS: Final = {
    RunStatus.DONE: EventType.DONE,
    RunStatus.INTERRUPTED: EventType.INTERRUPTED,
    RunStatus.CANCELLED: EventType.CANCELLED,
}


class SpanRecorder:
    """Converts starts and ends of runs to events: one start event and one end event for each."""

    def __init__(
        self,
        job_id: str,
        control_flow: tuple[type[BaseException], ...] = (),
        record: RecordOptions = DEFAULTS,
        max_event_bytes: int = MAX_EVENT_BYTES,
    ) -> None:
        self.sanitizer = Sanitizer(record, max_event_bytes)
        self._job_id = check_job_id(job_id)
        self._control_flow = control_flow
        self._record = record
        self._max_text = max(max_event_bytes - _ENVELOPE_BYTES, max_event_bytes // 2)
        self._tree = RunTree(job_id, self.sanitizer)
        self._runs = self._tree.runs
        self._flush_scheduled = False

    def span_id(self, run_id: UUID | None) -> str | None:
        """Return the run_id of a run that has not ended, or of the nearest recorded one around."""
        run = self._tree.get(run_id)
        return None if run is None else run.span.run_id

    def _start(
        self,
        kind: RunKind,
        serialized: Serialized,
        kwargs: Mapping[str, Any],
        **data: Any,
    ) -> Events:
        """Return the events of a run that starts."""
        run = self._tree.start(kind, serialized, kwargs)
        if run is None:
            return []
        events: Events = []
        if run.parent:
            events += self._handled_errors(run.parent)
            if run.step and not run.parent.is_recorded:  # the root of a subgraph
                events += self._record_chain(run.parent)
                run.parent_run_id = run.parent.run_id
        events += [*self._text_before(run), *self._retry(run, kwargs)]
        if run.is_recorded:
            events.append(self._event(_START_EVENTS[kind], run, **{kind.value: run.name}, **data))
        return events

    def _finish(
        self,
        run: RunState,
        status: RunStatus,
        event_type: EventType | None = None,
        **data: Any,
    ) -> Events:
        """Return the end event of a run, after those of the runs in it that were abandoned."""
        events: Events = []
        usage: dict[str, Any] = {}
        if run.parent is None and run.kind is RunKind.PHASE:
            event_type = event_type or _ROOT_END_EVENTS.get(status)
            usage = {name: counts for name, counts in run.usage.items() if counts}
        if run.parent is None or status not in _RETURNED:
            origin = present(error_run_id=data.get("error_run_id"))
            for one in self._tree.end_within(run):
                events += self._finish(one, status, **origin)
        events += self._handled_errors(run)
        if not run.is_recorded:
            return events
        events += self._text_before(run) if run.output is None else self._last_text(run)
        data = {run.kind.value: run.name, **data, "status": status, "seconds": run.seconds}
        event_type = event_type or _END_EVENTS[run.kind]
        return [*events, self._event(event_type, run, **data, **present(usage=usage))]

    def _record_chain(self, run: RunState) -> Events:
        """Return the start event of a run that was not recorded until now."""
        if run.is_recorded or run.parent is None:
            return []
        run.parent_run_id, run.is_recorded = self._tree.enclosing_span(run.parent), True
        event = self._event(EventType.PHASE_UPDATE, run, phase=run.name)
        return [{**event, "timestamp": run.timestamp}]

    def _handled_errors(self, run: RunState, error: BaseException | None = None) -> Events:
        """Return the events of errors in chains that are not recorded, except for `error`.

        The run around them handled those errors, as it goes on or raises another one.
        """
        handled = [held for held in run.held_errors if held.error is not error]
        run.held_errors = [held for held in run.held_errors if held.error is error]
        return [event for held in handled for event in self._held_events(held)]

    def _held_events(self, held: HeldError) -> Events:
        run = held.run
        start = self._record_chain(run)
        run.root.errors.append((held.error, run.run_id))
        data: dict[str, Any] = {"phase": run.name, "status": RunStatus.FAILED, **held.data}
        return [*start, {**self._event(EventType.ERROR, run, **data), "timestamp": held.timestamp}]

    def _error_data(self, error: BaseException, run: RunState, *, is_fatal: bool) -> dict[str, Any]:
        is_reported = run.origin(error) is not None
        has_trace = self._record.tracebacks and not is_reported
        message = error_message(error)
        if isinstance(error, ParentCommand):
            message = f"The command is for a parent graph, but there is none: {message}"
        related = related_origins(error, run) or ([run.run_id] if is_fatal else [])
        return {
            "message": message,
            "error_type": error_type(error),
            "fatal": is_fatal,
            **present(
                traceback=error_traceback(error) if has_trace else "",
                error_run_id=related[0] if related else None,
                error_run_ids=related if len(related) > 1 else None,
            ),
        }

    def _retry(self, run: RunState, kwargs: Mapping[str, Any]) -> Events:
        """Return the event of another attempt, by a node's RetryPolicy or by `with_retry`."""
        failures = run.root.failures[run.identity] if run.identity else 0
        attempt = failures + 1 if failures else extract.retry_attempt(kwargs.get("tags"))
        if attempt < 2:  # noqa: PLR2004 - the first attempt is no retry
            return []
        return [self._event(EventType.RETRY, run, name=run.name, attempt=attempt)]

    def _take_text(self, run: RunState, *, is_complete: bool = False) -> Events:
        output = run.output
        if output is None or not (output.parts or is_complete):
            return []
        redactor = self._record.redactor
        events: Events = []
        for kind, text in output.take(redactor, is_complete=is_complete):
            redacted = redactor.text(replace_invalid(text))
            data = {"model": run.name, **({} if kind == TEXT else {"kind": kind})}
            events += [
                self._event(EventType.THOUGHT, run, replace_invalid(part), **data)
                for part in split_text(redacted, self._max_text)
                if part
            ]
        output.is_published = output.is_published or bool(events)
        return events

    def _text_before(self, run: RunState) -> Events:
        """Return the buffered text of models in the same node, which precedes the next event."""
        runs = [one for one in self._tree.open_runs() if one.output and one.output.parts]
        return [event for one in runs if one.is_in_same_node(run) for event in self._take_text(one)]

    def _last_text(self, run: RunState) -> Events:
        """Return the rest of a model's text at its end; the last event is marked as such."""
        output = run.output or ModelOutput()
        if not self._record.model_text:
            data: dict[str, Any] = {"withheld": output.kinds, "model": run.name, "end": True}
            return [self._event(EventType.THOUGHT, run, **data)] if output.kinds else []
        events = self._take_text(run, is_complete=True)
        if not events and output.is_published:
            events = [self._event(EventType.THOUGHT, run, "", model=run.name)]
        if events:
            events[-1]["data"]["end"] = True
        return events

    def _event(
        self, event_type: EventType, run: RunState, text: str | None = None, **data: Any
    ) -> dict[str, Any]:
        """Return an event; `data` is redacted here, `text` is already redacted."""
        texts = {} if text is None else {"text": text}
        values = {key: self.sanitizer.value(value) for key, value in data.items()}
        span = run.span
        ids = {"run_id": span.run_id, "parent_run_id": span.parent_run_id}
        return {
            "event_type": event_type,
            "data": {**texts, **values, **ids, **run.fields},
            "timestamp": utc_now(),
            "job_id": self._job_id,
        }
