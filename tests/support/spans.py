"""The tree of spans, rebuilt from the events of a log alone."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

STATUSES = frozenset({"done", "failed", "interrupted", "cancelled", "retry"})
# Types of start events, and the key of the span's name. Other events with a status end a span.
STARTS = {
    "task_started": "task_type",
    "span_started": "name",
    "phase_update": "phase",
    "model_call": "model",
    "tool_call": "tool",
    "retriever_call": "retriever",
}


@dataclass
class Node:
    name: str
    event: dict[str, Any]
    status: str = ""
    seconds: float = 0.0
    end: dict[str, Any] = field(default_factory=dict)
    children: list["Node"] = field(default_factory=list)

    def shape(self) -> Any:
        """Return the names as nested tuples; of a leaf its name."""
        if not self.children:
            return self.name
        return (self.name, *(child.shape() for child in self.children))

    def find(self, name: str) -> list["Node"]:
        found = [self] if self.name == name else []
        return found + [node for child in self.children for node in child.find(name)]


def span_trees(events: Iterable[dict[str, Any]]) -> list[Node]:
    """Return the roots of the spans; check that each has one start and, later, one end."""
    nodes: dict[str, Node] = {}
    roots = []
    for event in events:
        kind = event["event_type"]
        data = found if isinstance(found := event.get("data"), dict) else {}
        if kind in STARTS:
            assert data["run_id"] not in nodes, f"second start of {data}"
            node = nodes[data["run_id"]] = Node({**event, **data}[STARTS[kind]], event)
            parent_id = data["parent_run_id"]
            assert parent_id is None or parent_id in nodes, f"unknown parent of {data}"
            assert parent_id is None or not nodes[parent_id].end, f"ended parent of {data}"
            (roots if parent_id is None else nodes[parent_id].children).append(node)
        elif "status" in data and "run_id" in data:
            assert data["status"] in STATUSES or (kind, data["status"]) == ("tool_result", "error")
            assert data["seconds"] >= 0
            node = nodes[data["run_id"]]
            assert not node.end, f"second end of {node.name}: {node.end['event_type']}, {kind}"
            assert all(child.end for child in node.children), f"open spans in {node.name}"
            assert data["parent_run_id"] == node.event["data"]["parent_run_id"]
            node.end, node.status, node.seconds = event, data["status"], data["seconds"]
        elif kind in ("thought", "custom_event"):
            assert not nodes[data["run_id"]].end, f"{kind} after the end of {data}"
    assert not [node.name for node in nodes.values() if not node.end], "spans without an end"
    return roots


def ended_spans(events: Iterable[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Return run_id, type of the end event and status of each span, in the order of the ends."""
    log = [each for each in events if "run_id" in (each.get("data") or {})]
    span_trees(log)
    return [
        (event["data"]["run_id"], event["event_type"], event["data"]["status"])
        for event in log
        if "status" in event["data"]
    ]
