"""Spans of a log: checks that each has one start and one end."""

from collections.abc import Iterable, Mapping
from typing import Any

# Other types of events with a run_id end its span.
STARTS = frozenset({
    "task_started", "span_started", "phase_update", "model_call", "tool_call", "retriever_call",
})  # fmt: skip
STATUSES = frozenset({"done", "failed", "interrupted", "cancelled", "retry"})


def ended_spans(log: Iterable[Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """Return run_id, type of the end event and status of each span, in the order of the ends."""
    starts: dict[str, Mapping[str, Any]] = {}
    ends: dict[str, tuple[str, str, str]] = {}
    for event in log:
        data = event.get("data")
        run_id = data.get("run_id") if isinstance(data, dict) else None
        if run_id is None:
            continue
        if event["event_type"] in STARTS:
            assert run_id not in starts
            assert data["parent_run_id"] is None or data["parent_run_id"] in starts
            starts[run_id] = data
        elif "status" in data:
            assert run_id in starts
            assert run_id not in ends
            assert data["parent_run_id"] == starts[run_id]["parent_run_id"]
            assert data["status"] in STATUSES
            assert data["seconds"] >= 0
            ends[run_id] = (run_id, event["event_type"], data["status"])
    assert starts.keys() == ends.keys()
    return list(ends.values())
