"""RunState: a run of a chain, a tool, a model or a retriever, between its start and its end."""

from collections import Counter, deque
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from events.integrations.langchain.extract import Usage


@dataclass(slots=True, eq=False)
class RunState:
    """A run between its start and its end. `fields` are part of each of its events."""

    name: str
    fields: dict[str, Any]
    root: "RunState | None" = None  # None: the run is a root
    step: tuple[str, str] | None = None  # identity of a node across its attempts
    model: str | None = None
    started_at: float = field(default_factory=monotonic)
    # Appended by the model's thread, removed by flushes; both operations are atomic.
    text: deque[str] = field(default_factory=deque)
    text_size: int = 0
    held_text: str = ""  # may be part of a secret
    is_protocol_stream: bool | None = None  # None: nothing was streamed
    # Of roots only:
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    usage: dict[str, Usage] = field(default_factory=dict)
    # References errors, and so their frames, until the root ends.
    reported_errors: list[BaseException] = field(default_factory=list)
    interrupted: bool = False

    @property
    def tree_root(self) -> "RunState":
        return self.root or self

    def is_in_same_node(self, other: "RunState") -> bool:
        """Return whether both runs are in one node, or one is in a subgraph of the other's node."""
        path, other_path = self.fields.get("namespace") or (), other.fields.get("namespace") or ()
        return self.tree_root is other.tree_root and all(
            mine == its for mine, its in zip(path, other_path, strict=False)
        )

    @property
    def seconds(self) -> float:
        return round(monotonic() - self.started_at, 3)
