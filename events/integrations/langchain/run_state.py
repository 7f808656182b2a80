"""A run that is open: a chain, a tool, a model or a retriever."""

from collections import Counter, deque
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from events.integrations.langchain.extract import Usage


@dataclass(slots=True, eq=False)
class RunState:
    """One run of a chain, a tool, a model or a retriever, from its start to its end."""

    name: str
    about: dict[str, Any]
    root: "RunState | None" = None  # None: it is one
    step: tuple[str, str] | None = None  # what stays the same when a node is tried again
    model: str | None = None
    started: float = field(default_factory=monotonic)
    # Filled by the model's thread, emptied by whoever flushes; neither operation needs a lock.
    text: deque[str] = field(default_factory=deque)
    size: int = 0
    held: str = ""
    by_protocol: bool | None = None  # None: nothing was streamed
    # Of roots alone:
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    usage: dict[str, Usage] = field(default_factory=dict)
    # Errors keep the frames that they saw; beyond the root none passes, so it may forget them.
    told: list[BaseException] = field(default_factory=list)
    interrupted: bool = False

    @property
    def top(self) -> "RunState":
        """The root of its tree."""
        return self.root or self

    def is_beside(self, other: "RunState") -> bool:
        """Whether both are in one node, or one is in a graph within the other's."""
        path, of_other = self.about.get("namespace") or (), other.about.get("namespace") or ()
        return self.top is other.top and all(
            mine == its for mine, its in zip(path, of_other, strict=False)
        )

    @property
    def is_streamed(self) -> bool:
        """Whether a model gave its text in pieces."""
        return self.by_protocol is not None

    @property
    def seconds(self) -> float:
        """How long it has been running."""
        return round(monotonic() - self.started, 3)

    @property
    def its_model(self) -> dict[str, str]:
        """The model's name, for an event; nothing if it is not known."""
        return {"model": self.model} if self.model else {}
