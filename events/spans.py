"""Spans: timed steps of a job, such as a task, an agent or a tool.

The start event and the end event of a span have the same `run_id` in their `data`. A span that
starts within another one of its job has the `run_id` of that span as `parent_run_id`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, NamedTuple
from uuid import uuid4


class Span(NamedTuple):
    """A span that has started in the current context; `outer` is the one around it."""

    job_id: str
    run_id: str
    outer: "Span | None" = None


_active: Final[ContextVar[Span | None]] = ContextVar("job_span", default=None)


def current_span(job_id: str | None = None) -> str | None:
    """Return the run_id of the innermost span of the context, by default of any job."""
    span = _active.get()
    while span is not None and job_id not in (None, span.job_id):
        span = span.outer
    return None if span is None else span.run_id


def new_span_id() -> str:
    """Return a random run_id."""
    return str(uuid4())


def span_fields(run_id: str, parent_run_id: str | None, **data: Any) -> dict[str, Any]:
    """Return the field of an event that starts or ends a span."""
    return {"data": {"run_id": run_id, "parent_run_id": parent_run_id, **data}}


def enter_span(job_id: str, run_id: str) -> Span:
    """Make a started span the current one; `exit_span` must follow in the same context."""
    span = Span(job_id, run_id, _active.get())
    _active.set(span)
    return span


def exit_span(span: Span) -> None:
    """Make the span around `span` the current one, unless another context entered it."""
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
