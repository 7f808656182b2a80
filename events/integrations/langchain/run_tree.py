"""RunTree: the runs that have started and not ended."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from langchain_core.runnables.config import var_child_runnable_config

from events.integrations.langchain import extract
from events.integrations.langchain.run_state import ModelOutput, RunKind, RunState
from events.integrations.langchain.sanitize import Sanitizer
from events.spans import current_span, enclosing_span, new_span_id

Serialized = Mapping[str, Any] | None

_HIDDEN_TAG: Final = "langsmith:hidden"
_UNRECORDED_TYPES: Final = ("prompt", "parser")
# Callbacks of ended runs and in them may still arrive, from threads and tasks that were abandoned.
_MAX_ENDED_RUNS: Final = 10_000
# Stands for the run around runs that were ended without their callback.
_ABANDONED: Final = UUID(int=0)


class RunTree:
    """The runs that have started and not ended, by LangChain's ids."""

    def __init__(self, job_id: str, sanitizer: Sanitizer) -> None:
        self._job_id = job_id
        self._sanitizer = sanitizer
        self.runs: dict[UUID, RunState] = {}
        self._ended: OrderedDict[UUID, UUID | None] = OrderedDict()  # with their parents

    def get(self, run_id: UUID | None) -> RunState | None:
        return self.runs.get(run_id)  # type: ignore[arg-type]

    def open_runs(self) -> list[RunState]:
        """Return the runs in the order in which they started."""
        return list(self.runs.values())

    def start(
        self, kind: RunKind, serialized: Serialized, kwargs: Mapping[str, Any]
    ) -> RunState | None:
        """Add a run; return None within one that was abandoned.

        A run that starts in one that has ended, in a thread or task, is added to the run around it.
        """
        run_id, parent_id = kwargs["run_id"], kwargs.get("parent_run_id")
        if run_id in self.runs:  # the handler is called twice
            return None
        # Callbacks in the config of a call, and with_fallbacks, hide the run that makes the call.
        open_id = self._open_id(parent_id or calling_run_id())
        if open_id == _ABANDONED and parent_id is not None:
            self._remember(run_id, _ABANDONED)
            return None
        run = self._new_run(kind, serialized, kwargs, self.get(open_id))
        run.parent_id = open_id if run.parent else None
        if run_id in self._ended:  # given in the config of several calls
            del self._ended[run_id]
            run.run_id, run.parent_id = new_span_id(), None
        run.is_recorded = _is_recorded(run, kwargs)
        if run.parent is None:
            run.is_top = parent_id is None
            run.parent_run_id = current_span(self._job_id)
        elif run.is_recorded:
            run.parent_run_id = self.enclosing_span(run.parent)
        self.runs[run_id] = run
        return run

    def enclosing_span(self, parent: RunState) -> str | None:
        """Return the parent of a run: the run that called it, or a publisher's span in that."""
        return enclosing_span(self._job_id, parent.span.run_id)

    def _open_id(self, run_id: UUID | None) -> UUID | None:
        """Return a run's id, or that of the nearest one around it that has not ended."""
        while run_id in self._ended:
            run_id = self._ended[run_id]  # type: ignore[index]
        return run_id

    def end(self, run_id: UUID) -> RunState | None:
        """Remove and return a run; return None if it is unknown or has ended."""
        run = self.runs.pop(run_id, None)
        if run is not None:
            self._remember(run_id, run.parent_id)
        return run

    def end_within(self, outer: RunState) -> list[RunState]:
        """Remove and return the runs that are still open in another one, innermost first."""
        found = [run_id for run_id, run in self.runs.items() if run.is_within(outer)]
        for run_id in found:
            self._remember(run_id, _ABANDONED)
        return [self.runs.pop(run_id) for run_id in reversed(found)]

    def _remember(self, run_id: UUID, parent_id: UUID | None) -> None:
        self._ended[run_id] = parent_id
        if len(self._ended) > _MAX_ENDED_RUNS:
            self._ended.popitem(last=False)

    def _new_run(
        self,
        kind: RunKind,
        serialized: Serialized,
        kwargs: Mapping[str, Any],
        parent: RunState | None,
    ) -> RunState:
        metadata = kwargs.get("metadata") or {}
        name = str(kwargs.get("name") or (serialized or {}).get("name") or "run")
        fields = {
            "node": metadata.get("langgraph_node"),
            **extract.present(
                namespace=extract.namespace(metadata),
                step=metadata.get("langgraph_step"),
                tags=extract.user_tags(kwargs.get("tags")),
            ),
        }
        fields = {key: self._sanitizer.value(value) for key, value in fields.items()}
        run = RunState(kind, self._sanitizer.text(name), str(kwargs["run_id"]), fields, parent)
        run.checkpoint_ns = str(metadata.get("langgraph_checkpoint_ns") or "")
        run.tool_call_id = kwargs.get("tool_call_id")
        if kind is RunKind.MODEL:
            run.output = ModelOutput()
        # The root of a subgraph may have the name of its node, but is in the node's namespace.
        is_in_node = parent is not None and parent.checkpoint_ns == run.checkpoint_ns
        if kind is RunKind.PHASE and name == metadata.get("langgraph_node") and not is_in_node:
            run.step = (run.checkpoint_ns, name)
        return run


def calling_callbacks() -> Any:
    """Return the callback manager of the run that LangChain's context belongs to."""
    return (var_child_runnable_config.get() or {}).get("callbacks")


def calling_run_id() -> UUID | None:
    """Return the id of that run."""
    return getattr(calling_callbacks(), "parent_run_id", None)


def _is_recorded(run: RunState, kwargs: Mapping[str, Any]) -> bool:
    """Return whether a run is a root, a node, a model, a tool, or a chain outside of graphs.

    Roots of subgraphs are recognized when their first node starts.
    """
    if run.parent is None or run.kind is not RunKind.PHASE or run.step is not None:
        return True
    is_hidden = _HIDDEN_TAG in (kwargs.get("tags") or ())
    is_minor = is_hidden or kwargs.get("run_type") in _UNRECORDED_TYPES
    return run.fields["node"] is None and not is_minor
