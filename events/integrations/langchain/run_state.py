"""RunState: a run of a chain, a tool, a model or a retriever, between its start and its end."""

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from time import monotonic
from typing import Any, Final
from uuid import UUID

from events.codec import utc_now
from events.integrations.langchain.extract import TEXT, Usage
from events.redaction import Redactor


class RunKind(StrEnum):
    """Kinds of runs; the value is the key of the run's name in its events."""

    PHASE = "phase"
    MODEL = "model"
    TOOL = "tool"
    RETRIEVER = "retriever"


class RunStatus(StrEnum):
    """How a run ended. REPORTS_ERROR: a tool returned a result that describes an error."""

    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    CANCELLED = "cancelled"
    REPORTS_ERROR = "error"


@dataclass(frozen=True, slots=True)
class HeldError:
    """An error of a run that is not recorded, until it is known whether the error was handled."""

    error: BaseException
    run: "RunState"
    data: dict[str, Any]
    timestamp: str


# Precedes parts of another kind in the output of a model.
_KindMark = tuple[str]
_UNKNOWN: Final = ""


@dataclass(slots=True, eq=False)
class ModelOutput:
    """The text of a model that is not yet published: answer, reasoning and refusal."""

    # Appended by the model's thread, removed by flushes; both operations are atomic.
    parts: deque[str | _KindMark] = field(default_factory=deque)
    size: int = 0
    kind: str = _UNKNOWN  # of the last part
    kinds: list[str] = field(default_factory=list)
    is_protocol: bool | None = None  # None: nothing was streamed
    first_token_at: float | None = None
    is_published: bool = False
    _taken_kind: str = TEXT
    _held: str = ""  # may be part of a secret

    def begin(self, kind: str) -> None:
        """Let the next parts be of a kind."""
        if kind != self.kind:
            self.kind = kind
            self.parts.append((kind,))
            if kind not in self.kinds:
                self.kinds.append(kind)

    def add(self, text: str) -> None:
        self.parts.append(text)
        self.size += len(text)

    def take(self, redactor: Redactor, *, is_complete: bool) -> Iterator[tuple[str, str]]:
        """Remove the parts; yield kind and text, except for text that may be part of a secret."""
        self.size, texts = 0, [self._held]
        while self.parts:
            part = self.parts.popleft()
            if isinstance(part, str):
                texts.append(part)
                continue
            if text := "".join(texts):
                yield self._taken_kind, text
            self._taken_kind, texts = part[0], []
        text = "".join(texts)
        end = len(text) if is_complete else redactor.safe_prefix_length(text)
        self._held = text[end:]
        if end:
            yield self._taken_kind, text[:end]


@dataclass(slots=True, eq=False)
class RunState:
    """A run between its start and its end. `fields` are part of each of its events.

    Runs that are not recorded have no events: those within a node that are neither nodes nor
    graphs, such as sequences, and hidden ones.
    """

    kind: RunKind
    name: str
    run_id: str
    fields: dict[str, Any]
    parent: "RunState | None" = None  # None: the run is a root
    parent_id: UUID | None = None  # LangChain's id of the parent
    parent_run_id: str | None = None  # of the nearest recorded run around it
    is_recorded: bool = True
    is_top: bool = False  # for LangChain, too: no other run called it
    is_interrupted: bool = False
    checkpoint_ns: str = ""
    step: tuple[str, str] | None = None  # of nodes: their identity across attempts
    tool_call_id: str | None = None
    output: ModelOutput | None = None
    started_at: float = field(default_factory=monotonic)
    timestamp: str = field(default_factory=utc_now)
    held_errors: list[HeldError] = field(default_factory=list)
    # Of roots only:
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    usage: dict[str, Usage] = field(default_factory=dict)
    # References errors, and so their frames, until the root ends.
    errors: list[tuple[BaseException, str]] = field(default_factory=list)

    @property
    def identity(self) -> tuple[str, str] | None:
        """What other attempts at the run have in common with it."""
        return self.step or (self.tool_call_id and (self.checkpoint_ns, self.tool_call_id)) or None

    @property
    def root(self) -> "RunState":
        run = self
        while run.parent is not None:
            run = run.parent
        return run

    @property
    def span(self) -> "RunState":
        """The run itself, or the nearest recorded one around it."""
        run = self
        while not run.is_recorded and run.parent is not None:
            run = run.parent
        return run

    def is_within(self, outer: "RunState") -> bool:
        run = self.parent
        while run is not None and run is not outer:
            run = run.parent
        return run is outer

    @property
    def seconds(self) -> float:
        return round(monotonic() - self.started_at, 3)

    def is_in_same_node(self, other: "RunState") -> bool:
        """Return whether both runs are in one node, or one is in a subgraph of the other's node."""
        path, other_path = self.fields.get("namespace") or (), other.fields.get("namespace") or ()
        return self.root is other.root and all(
            mine == its for mine, its in zip(path, other_path, strict=False)
        )

    def origin(self, error: BaseException) -> str | None:
        """Return the run_id of the run that raised an error, if that is recorded."""
        return next((run_id for one, run_id in self.root.errors if one is error), None)
