"""Spans: timed steps of a job, such as a task, an agent or a tool.

The start event and the end event of a span have the same `run_id` in their `data`. A span that
starts within another one of its job has the `run_id` of that span as `parent_run_id`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import uuid4


@dataclass(eq=False, slots=True)
class Span:
    """A span that has started in the current context.

    `outer` is the one around it, `library_span` that of a library, such as a tool of a graph.
    """

    job_id: str
    run_id: str
    outer: "Span | None" = None
    library_span: str | None = None
    is_ended: bool = False


# Return the run_id of a job's span that a library, not this module, has made the current one.
SpanSource = Callable[[str], str | None]

_active: Final[ContextVar[Span | None]] = ContextVar("job_span", default=None)
_sources: Final[list[SpanSource]] = []


def add_span_source(source: SpanSource) -> None:
    """Let `current_span` also find the spans of a library."""
    _sources.append(source)


def current_span(job_id: str | None = None) -> str | None:
    """Return the run_id of the innermost span of the context, by default of any job."""
    return enclosing_span(job_id, _library_span(job_id))


def enclosing_span(job_id: str | None, library_span: str | None) -> str | None:
    """Return the innermost of a library's span, if any, and the span of the context.

    Spans that have ended are skipped: an asyncio task may outlive the span that it inherited.
    """
    span = _active.get()
    while span is not None and (span.is_ended or job_id not in (None, span.job_id)):
        span = span.outer
    if span is None or library_span not in (None, span.library_span):
        return library_span
    return span.run_id


def _library_span(job_id: str | None) -> str | None:
    found = (source(job_id) for source in _sources) if job_id else ()
    return next(filter(None, found), None)


def new_span_id() -> str:
    """Return a random run_id."""
    return str(uuid4())


def seconds_between(start: datetime, end: datetime) -> float:
    """Return the duration of a span or of its wait; 0 if a clock has gone backwards."""
    return max(round((end - start).total_seconds(), 3), 0.0)


def span_fields(run_id: str, parent_run_id: str | None, **data: Any) -> dict[str, Any]:
    """Return the field of an event that starts or ends a span."""
    return {"data": {"run_id": run_id, "parent_run_id": parent_run_id, **data}}


def enter_span(job_id: str, run_id: str) -> Span:
    """Make a started span the current one; `exit_span` must follow in the same context."""
    span = Span(job_id, run_id, _active.get(), _library_span(job_id))
    _active.set(span)
    return span


def exit_span(span: Span) -> None:
    """End a span; the current one is then the innermost that has not ended."""
    span.is_ended = True
    if _active.get() is span:
        _active.set(span.outer)


@contextmanager
def span_context(job_id: str, run_id: str) -> Iterator[None]:
    """Run the body within a started span."""
    span = enter_span(job_id, run_id)
    try:
        yield
    finally:
        exit_span(span)
