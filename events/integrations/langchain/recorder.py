"""RunRecorder: converts the callbacks of LangChain to events of a tree of spans. No I/O."""

from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any, Final
from uuid import UUID

from events.codec import utc_now
from events.error_report import error_message, error_type
from events.integrations.langchain import extract, messages
from events.integrations.langchain.errors import status_after
from events.integrations.langchain.extract import TEXT, present
from events.integrations.langchain.run_state import (
    HeldError,
    ModelOutput,
    RunKind,
    RunState,
    RunStatus,
)
from events.integrations.langchain.run_tree import Serialized
from events.integrations.langchain.span_recorder import Events, SpanRecorder
from events.types import EventType

FLUSH_SECONDS: Final = 0.1


class RunRecorder(SpanRecorder):
    """Converts callbacks to events. Only `llm_token` may be called concurrently with the others.

    The keyword arguments of callbacks that start a run are those of LangChain: `run_id`,
    `parent_run_id`, `name`, `tags`, `metadata`, and others.
    """

    def chain_start(self, serialized: Serialized, _inputs: Any, **kwargs: Any) -> Events:
        """Record the start of a graph, of a node, or of a chain outside of graphs."""
        metadata: dict[str, Any] = {}
        if kwargs.get("parent_run_id") is None and self._record.metadata:
            metadata = extract.user_metadata(kwargs.get("metadata") or {})
        return self._start(RunKind.PHASE, serialized, kwargs, **present(metadata=metadata))

    def chain_end(self, _outputs: Any, *, run_id: UUID, **_kwargs: Any) -> Events:
        """Record the end of a chain: done, or interrupted for input."""
        run = self._tree.end(run_id)
        if run is None:
            return []
        if not run.is_interrupted:
            return self._finish(run, RunStatus.DONE)
        # A chain that contains an interrupted graph is not done either.
        if run.parent and run.parent.kind is RunKind.PHASE and run.parent.step is None:
            run.parent.is_interrupted = True
        return self._finish(run, RunStatus.INTERRUPTED)

    def tool_start(self, serialized: Serialized, input_str: str, **kwargs: Any) -> Events:
        inputs = kwargs.get("inputs")
        data = self._arguments("input", input_str if inputs is None else inputs)
        call_id = present(tool_call_id=kwargs.get("tool_call_id"))
        return self._start(RunKind.TOOL, serialized, kwargs, **data, **call_id)

    def tool_end(self, output: Any, *, run_id: UUID, **_kwargs: Any) -> Events:
        run = self._tree.end(run_id)
        if run is None:
            return []
        result, is_error = messages.tool_output(output)
        status = RunStatus.REPORTS_ERROR if is_error else RunStatus.DONE
        return self._finish(
            run, status, **_withheld_unless(self._record.tool_outputs, output=result)
        )

    def retriever_start(self, serialized: Serialized, query: Any, **kwargs: Any) -> Events:
        data = _withheld_unless(self._record.queries, query=query)
        return self._start(RunKind.RETRIEVER, serialized, kwargs, **data)

    def retriever_end(self, documents: Sequence[Any], *, run_id: UUID, **_kwargs: Any) -> Events:
        run = self._tree.end(run_id)
        if run is None:
            return []
        found = [extract.document(one) for one in documents] if self._record.documents else None
        fields = _withheld_unless(self._record.documents, documents=found)
        return self._finish(run, RunStatus.DONE, count=len(documents), **fields)

    def llm_start(self, serialized: Serialized, prompts: Any, **kwargs: Any) -> Events:
        given = [{"role": "human", "content": prompt} for prompt in prompts]
        return self._start_model(serialized, given, kwargs)

    def chat_model_start(self, serialized: Serialized, batch: Any, **kwargs: Any) -> Events:
        return self._start_model(serialized, messages.prompt_messages(batch), kwargs)

    def llm_token(
        self, token: Any, run_id: UUID, chunk: Any = None, *, protocol: bool = False
    ) -> float | None:
        """Buffer a token; return the seconds until a flush is due, None if one is scheduled.

        Some models stream each token twice, the second time as a protocol event; the first form
        that arrives is used. Takes no lock and reads no clock, as it is called for each token.
        """
        run = self._runs.get(run_id)
        if run is None or (output := run.output) is None:
            return None
        is_answer = output.kind == TEXT and output.is_protocol is protocol
        if not is_answer or not token or token.__class__ is not str:
            token = self._begin_pieces(output, token, chunk, protocol=protocol)
            if not token:
                return None
        if not self._record.model_text:
            return None
        output.parts.append(token)
        output.size += len(token)
        if output.size > self._max_text:
            output.size = 0
            return 0.0
        if self._flush_scheduled:
            return None
        self._flush_scheduled = True
        return FLUSH_SECONDS

    def _begin_pieces(self, output: ModelOutput, token: Any, chunk: Any, *, protocol: bool) -> str:
        """Buffer a token of any form except for its last text, and return that."""
        pieces = messages.streamed_pieces(token, chunk)
        if not pieces and not messages.is_call_chunk(chunk):
            return ""
        if output.is_protocol is not protocol:
            if output.is_protocol is not None:
                return ""
            output.is_protocol, output.first_token_at = protocol, monotonic()
        last = ""
        for kind, text in pieces:
            if last and self._record.model_text:
                output.add(last)
            output.begin(kind)
            last = text
        return last

    def cancel_flush(self) -> None:
        """Mark no flush as scheduled, so that the next token schedules one."""
        self._flush_scheduled = False

    def flush(self) -> Events:
        """Return the buffered text of all models, except for text that may be part of a secret."""
        self._flush_scheduled = False
        return [event for run in self._tree.open_runs() for event in self._take_text(run)]

    def llm_end(self, response: Any, *, run_id: UUID, **_kwargs: Any) -> Events:
        """Record the rest of a model's text, all of it if it was not streamed, and the result."""
        run = self._tree.end(run_id)
        if run is None or run.output is None:
            return []
        is_streamed = run.output.is_protocol is not None
        for kind, text in messages.output_pieces(response):
            if not is_streamed or (kind != TEXT and kind not in run.output.kinds):
                run.output.begin(kind)
                run.output.add(text)
        if name := extract.response_model(response):
            run.name = self.sanitizer.text(name)
        usage = extract.response_usage(response)
        extract.add_usage(run.root.usage.setdefault(run.name, {}), usage)
        result = self._model_result(run, messages.output_message(response))
        if extract.has_alternatives(response):
            result["withheld"].append("alternatives")
        return self._finish(run, RunStatus.DONE, **present(usage=usage), **result)

    def custom_event(self, name: str, data: Any, *, run_id: UUID, **_kwargs: Any) -> Events:
        run = self._tree.get(run_id) or _unknown_run(run_id)
        fields = _withheld_unless(self._record.custom_events, value=data)
        event = self._event(EventType.CUSTOM_EVENT, run, name=name, **fields)
        return [*self._text_before(run), event]

    def retry(self, state: Any, *, run_id: UUID, **_kwargs: Any) -> Events:
        """Record another attempt at a model call that failed."""
        run = self._tree.get(run_id) or _unknown_run(run_id)
        data = {"name": run.name, "attempt": state.attempt_number + 1}
        if state.outcome and (error := state.outcome.exception()):
            data |= {"error_type": error_type(error), "message": error_message(error)}
        return [self._event(EventType.RETRY, run, **data)]

    def interrupt(self, event: Any) -> Events:
        """Remember that a graph was interrupted, also before or after a node."""
        run = self._tree.get(event.run_id)
        if run is None:
            return []
        run.is_interrupted = True
        return self._record_chain(run)

    def failed(self, error: BaseException, *, run_id: UUID, **_kwargs: Any) -> Events:
        """Record the end of a run that raised an exception.

        An error is recorded where it was raised, and again as fatal if it reaches the root.
        """
        run = self._tree.end(run_id)
        if run is None:
            return []
        if run.identity:  # also of a node that LangGraph cancels because of its time limit
            run.root.failures[run.identity] += 1
        status = status_after(error, run, self._control_flow)
        if status is not RunStatus.FAILED:
            return self._finish(run, status)
        events = self._handled_errors(run, error)
        origin = run.origin(error)
        if run.is_recorded:
            run.held_errors = []  # it is reported as an error of this run
        if run.parent is None:
            data = self._error_data(error, run, is_fatal=True)
            return [*events, *self._finish(run, status, EventType.ERROR, **data)]
        if not run.is_recorded:
            if origin is None and not run.held_errors:
                data = self._error_data(error, run, is_fatal=False)
                run.held_errors.append(
                    HeldError(error, run, {**data, "seconds": run.seconds}, utc_now())
                )
            run.parent.held_errors += run.held_errors
            return events
        if origin:
            return [*events, *self._finish(run, status, error_run_id=origin)]
        data = self._error_data(error, run, is_fatal=False)
        run.root.errors.append((error, run.run_id))
        return [*events, *self._finish(run, status, EventType.ERROR, **data)]

    def _start_model(
        self, serialized: Serialized, given: list[dict[str, Any]], kwargs: Mapping[str, Any]
    ) -> Events:
        roles = self._record.prompts
        allowed = {one["role"] for one in given} if roles is True else set(roles or ())
        shown = [one for one in given if one["role"] in allowed]
        hidden = [one["role"] for one in given if one["role"] not in allowed]
        for one in shown:
            if calls := one.get("tool_calls"):
                one["tool_calls"], names = self._tool_calls(calls)
                hidden += names
        data = {"messages": shown} if roles else {}
        withheld = [f"messages.{name}" for name in sorted(set(hidden))] if roles else ["messages"]
        name = (kwargs.get("metadata") or {}).get("ls_model_name")
        kwargs = {**kwargs, **({"name": name} if isinstance(name, str) and name else {})}
        return self._start(RunKind.MODEL, serialized, kwargs, **data, **present(withheld=withheld))

    def _model_result(self, run: RunState, message: Any) -> dict[str, Any]:
        """Return the output of a model other than text, and what of its output is withheld."""
        output, record = run.output or ModelOutput(), self._record
        withheld = [] if record.model_text else list(output.kinds)
        calls, hidden_args = self._tool_calls(messages.tool_calls(message))
        withheld += hidden_args
        content = messages.other_content(message, with_results=record.tool_outputs)
        if messages.has_server_results(message) and not record.tool_outputs:
            withheld.append("content.results")
        other = present(content=content, citations=messages.citations(message))
        if not record.model_text:
            withheld += other
            other = {}
        first = output.first_token_at
        return {
            **present(
                seconds_to_first_token=None if first is None else round(first - run.started_at, 3),
                tool_calls=calls,
            ),
            **other,
            "withheld": withheld,
        }

    def _tool_calls(self, calls: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[str]]:
        """Return the tool calls of a message, and the names of withheld arguments."""
        shown: list[dict[str, Any]] = []
        names: dict[str, None] = {}
        for call in calls:
            args = self._arguments("args", call["args"])
            names |= dict.fromkeys(args.pop("withheld", ()))
            others = {key: value for key, value in call.items() if key != "args"}
            shown.append({**present(**others), **args})
        return shown, [f"tool_calls.{name}" for name in names]

    def _arguments(self, key: str, given: Any) -> dict[str, Any]:
        """Return the arguments of a tool that are recorded, and the names of the others."""
        option = self._record.tool_inputs
        if isinstance(option, bool) or not isinstance(given, Mapping):
            return _withheld_unless(option is True, **{key: given})
        shown = {name: value for name, value in given.items() if name in option}
        withheld = [f"{key}.{name}" for name in given if name not in option]
        return {key: shown, **present(withheld=withheld)}


def _unknown_run(run_id: UUID) -> RunState:
    return RunState(RunKind.PHASE, "run", str(run_id), {"node": None})


def _withheld_unless(shown: bool, **values: Any) -> dict[str, Any]:
    """Return `values`, or the field `withheld` with their names."""
    return values if shown else {"withheld": list(values)}
