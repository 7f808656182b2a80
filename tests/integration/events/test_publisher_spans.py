"""`publisher.span` of both publishers: two events, the tree, and exceptions of the body."""

import asyncio
import concurrent.futures
from contextlib import asynccontextmanager
from datetime import date
from decimal import Decimal
from time import monotonic

import numpy as np
import orjson
import pytest

from events.exceptions import InputPending, InvalidJobId, JobCancelled, NotAStream, RedisUnavailable
from events.publisher import RedisStreamPublisher, get_publisher
from events.spans import current_span, span_context

pytestmark = pytest.mark.redis

ROUNDING = 0.001


class GraphInterrupt(Exception):
    """Has the name of the exception of LangGraph."""


class Spans:
    """Calls `span` of either publisher; reads the events."""

    def __init__(self, publisher, client):
        self.publisher = publisher
        self.client = client

    @asynccontextmanager
    async def __call__(self, *args, **data):
        span = self.publisher.span(*args, **data)
        if isinstance(self.publisher, RedisStreamPublisher):
            async with span as run_id:
                yield run_id
        else:
            with span as run_id:
                yield run_id

    def log(self, job_id="abc"):
        entries = self.client.xrange(f"job_events:{job_id}")
        return [orjson.loads(fields[b"data"]) for _, fields in entries]

    def ends(self):
        """Return the data of the ends by name; every span has one start, before its only end."""
        starts, ends = {}, {}
        for event in self.log():
            data = event["data"]
            if event["event_type"] == "span_started":
                assert data["parent_run_id"] in {None, *starts}
                assert starts.setdefault(data["run_id"], data) is data
            else:
                assert event["event_type"] == "span_finished"
                start = starts[data["run_id"]]
                assert (start["name"], start["parent_run_id"]) == (
                    data["name"], data["parent_run_id"],
                )  # fmt: skip
                assert ends.setdefault(data["run_id"], data) is data
        assert starts.keys() == ends.keys()
        return {data["name"]: data for data in ends.values()}


@pytest.fixture(params=["sync", "async"])
async def span(request, redis_client, async_redis):
    is_async = request.param == "async"
    publisher = RedisStreamPublisher(async_redis) if is_async else get_publisher()
    return Spans(publisher, redis_client)


async def test_two_events(span):
    began = monotonic()
    async with span("abc", "load", rows=3) as run_id:
        assert current_span() == run_id
        await asyncio.sleep(0.02)
    assert current_span() is None
    started, finished = span.log()
    assert started["event_type"] == "span_started"
    assert started["data"] == {"rows": 3, "name": "load", "run_id": run_id, "parent_run_id": None}
    assert finished["event_type"] == "span_finished"
    assert 0.01 <= finished["data"].pop("seconds") <= monotonic() - began + ROUNDING
    assert finished["data"] == {
        "status": "done", "name": "load", "run_id": run_id, "parent_run_id": None,
    }  # fmt: skip


async def test_children_in_parallel(span):
    async def branch(name):
        async with span("abc", name):
            await asyncio.sleep(0.01)
            async with span("abc", f"{name}-inner"):
                await asyncio.sleep(0.01)

    async with span("abc", "root") as root:
        await asyncio.gather(*(branch(f"branch-{n}") for n in range(6)))
    ends = span.ends()
    for n in range(6):
        assert ends[f"branch-{n}"]["parent_run_id"] == root
        parent = ends[f"branch-{n}"]["run_id"]
        assert ends[f"branch-{n}-inner"]["parent_run_id"] == parent


async def test_span_of_another_job_is_no_parent(span):
    async with span("abc", "outer") as outer, span("other", "else"), span("abc", "inner"):
        pass
    assert [each["data"]["parent_run_id"] for each in span.log("other")] == [None, None]
    assert span.ends()["inner"]["parent_run_id"] == outer


async def test_task_run_is_the_parent(span):
    with span_context("abc", "k1.1"):
        async with span("abc", "step"):
            pass
    assert [each["data"]["parent_run_id"] for each in span.log()] == ["k1.1", "k1.1"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("boom"), "failed"),
        (ExceptionGroup("two", [ValueError("boom")]), "failed"),
        (StopIteration("boom"), "failed"),
        (JobCancelled(), "cancelled"),
        (asyncio.CancelledError(), "cancelled"),
        (concurrent.futures.CancelledError(), "cancelled"),
        (KeyboardInterrupt(), "cancelled"),
        (InputPending([]), "interrupted"),
        (GraphInterrupt(), "interrupted"),
    ],
)
async def test_exception_of_the_body(span, error, status):
    async def call():
        async with span("abc", "step"):
            raise error

    # A coroutine cannot raise StopIteration: Python replaces it.
    raised = RuntimeError if isinstance(error, StopIteration) else type(error)
    with pytest.raises(raised) as caught:
        await call()
    assert caught.value is error or isinstance(error, StopIteration)
    end = span.ends()["step"]
    assert end["status"] == status
    assert ("boom" in end.get("message", "")) == (status == "failed")
    assert ("error_type" in end) == (status == "failed")
    assert current_span() is None


async def test_exception_through_nested_spans(span):
    with pytest.raises(ValueError, match="boom"):
        async with span("abc", "outer"), span("abc", "inner"):
            raise ValueError("boom")
    assert {name: end["status"] for name, end in span.ends().items()} == {
        "outer": "failed", "inner": "failed",
    }  # fmt: skip


async def test_handled_exception(span):
    async with span("abc", "outer"):
        with pytest.raises(ValueError, match="boom"):
            async with span("abc", "inner"):
                raise ValueError("boom")
    assert span.ends()["outer"]["status"] == "done"


async def test_message_is_redacted_and_bounded(span):
    with pytest.raises(ValueError, match="password"):
        async with span("abc", "step"):
            raise ValueError("postgres://me:hunter2@db/x password \0" + "x" * 1_000_000)
    message = span.ends()["step"]["message"]
    assert "hunter2" not in message
    assert len(message) < 11_000


@pytest.mark.parametrize("error", [RedisUnavailable(), TypeError("a fault")])
async def test_failing_publish_does_not_hide_the_exception(span, monkeypatch, error, caplog):
    async def call():
        async with span("abc", "step"):
            monkeypatch.setattr(span.publisher, "publish_event", raising(error))
            raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        await call()
    assert "span_end_not_published" in caplog.text
    assert current_span() is None


async def test_failing_publish_after_success_is_raised(span, monkeypatch):
    with pytest.raises(RedisUnavailable):
        async with span("abc", "step"):
            monkeypatch.setattr(span.publisher, "publish_event", raising(RedisUnavailable()))


def raising(error):
    def publish_event(*_args, **_kwargs):
        raise error

    return publish_event


async def test_invalid_job_id(span):
    with pytest.raises(InvalidJobId):
        async with span("no job", "step"):
            pytest.fail("the body ran")


class Broken:
    def __str__(self):
        raise ValueError("no text")


VALUES = {
    "none": None, "flag": True, "number": np.float64(1.5), "nan": float("nan"), "large": 2**70,
    "decimal": Decimal("1.10"), "date": date(2026, 1, 2), "set": {1}, "bytes": b"abc",
    "tuple": (1, 2), "array": np.arange(3), "surrogate": "\ud800", "nul": "a\0b",
    "broken": Broken(), "error": ValueError("boom"), "keys": {1: 2, None: 3},
    "long": "x" * 2_000_000,
}  # fmt: skip


async def test_any_values(span):
    async with span("abc", "step", **VALUES):
        pass
    data = span.log()[0]["data"]
    assert data.keys() == {*VALUES, "name", "run_id", "parent_run_id"}
    assert (data["number"], data["decimal"], data["nan"]) == (1.5, "1.10", "NaN")


@pytest.mark.parametrize("name", VALUES)
async def test_any_value(span, name):
    async with span("abc", "step", value=VALUES[name]):
        pass
    assert set(span.ends()) == {"step"}


async def test_own_keys_have_priority(span):
    data = {"run_id": "x", "parent_run_id": "y", "status": "z", "seconds": 1}
    async with span("abc", "s" * 2_000_000 + "\ud800", **data) as run_id:
        pass
    start = span.log()[0]["data"]
    assert (start["run_id"], start["parent_run_id"], start["status"]) == (run_id, None, "z")
    assert len(span.ends()) == 1


async def test_timeout(span):
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1), span("abc", "step"):
            await asyncio.sleep(60)
    assert span.ends()["step"]["status"] == "cancelled"


async def test_cancellation_of_the_publish_of_the_start(redis_client, async_redis):
    spans = Spans(RedisStreamPublisher(async_redis), redis_client)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0), spans("abc", "step"):
            pytest.fail("the body ran")
    assert spans.ends()["step"]["status"] == "cancelled"


async def test_refused_start_has_no_end(span, redis_client):
    redis_client.set("job_events:abc", "no stream")
    with pytest.raises(NotAStream):
        async with span("abc", "step"):
            pytest.fail("the body ran")
    assert current_span() is None


async def test_generator_that_is_closed_early(span):
    async def pieces():
        async with span("abc", "step"):
            yield 1
            yield 2

    stream = pieces()
    assert await anext(stream) == 1
    await stream.aclose()
    assert span.ends()["step"]["status"] == "cancelled"


def test_decorator(redis_client):
    publisher = get_publisher()

    @publisher.span("abc", "step")
    def work():
        return current_span()

    assert work() != work()
    assert len(Spans(publisher, redis_client).log()) == 4


async def test_thread_has_the_span_of_its_caller(redis_client):
    publisher = get_publisher()

    def work():
        with publisher.span("abc", "inner"):
            pass

    with publisher.span("abc", "outer") as outer:
        await asyncio.to_thread(work)
    assert Spans(publisher, redis_client).ends()["inner"]["parent_run_id"] == outer
