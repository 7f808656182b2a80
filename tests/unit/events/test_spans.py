"""Tests of the current span of a context."""

import asyncio
import contextvars

from events.spans import current_span, enter_span, exit_span, new_span_id, span_context


def test_innermost_span_is_current() -> None:
    assert current_span() is None
    with span_context("job-1", "a"):
        with span_context("job-1", "b"):
            assert current_span() == "b"
        assert current_span() == "a"
    assert current_span() is None


def test_spans_of_other_jobs_are_no_parents() -> None:
    with span_context("job-1", "a"), span_context("job-2", "b"):
        assert current_span() == "b"
        assert current_span("job-1") == "a"
        assert current_span("job-3") is None


async def test_each_asyncio_task_has_its_own_current_span() -> None:
    async def child(name: str) -> tuple[str | None, str | None]:
        outer = current_span()
        with span_context("job-1", name):
            await asyncio.sleep(0)
            return outer, current_span()

    with span_context("job-1", "a"):
        found = await asyncio.gather(child("b"), child("c"))
    assert found == [("a", "b"), ("a", "c")]


def test_exit_in_another_context_ends_the_span() -> None:
    """An async generator may be closed by another asyncio task."""
    with span_context("job-1", "outer"):
        span = enter_span("job-1", "a")
        contextvars.Context().run(exit_span, span)
        assert current_span() == "outer"
        exit_span(span)
        assert current_span() == "outer"


def test_exit_in_another_order() -> None:
    """A generator that has a span may be closed after the spans around it."""
    outer = enter_span("job-1", "a")
    inner = enter_span("job-1", "b")
    exit_span(outer)
    assert current_span() == "b"
    exit_span(inner)
    assert current_span() is None


async def test_asyncio_task_that_outlives_its_span() -> None:
    ended = asyncio.Event()

    async def child() -> str | None:
        await ended.wait()
        return current_span()

    with span_context("job-1", "a"):
        with span_context("job-1", "b"):
            task = asyncio.create_task(child())
            await asyncio.sleep(0)
        ended.set()
        assert await task == "a"


def test_run_ids_are_unique() -> None:
    assert new_span_id() != new_span_id()
