"""What publishers, subscriptions and task runs count."""

import asyncio
from contextlib import aclosing, suppress

import pytest

from events.exceptions import EventTooLarge, ProducerFenced, RedisUnavailable
from events.execution.adapter import QueueAdapter, Retry
from events.execution.run import Delivery
from events.live import follow
from events.live.messages import Live, Reset
from events.outbox.writer import publish_event
from events.producer.external import publish_sequenced
from events.publisher import RedisStreamPublisher, SyncRedisStreamPublisher, get_publisher
from events.streams.clients import get_redis
from events.types import Cursor
from jobs import services
from tests.support.metrics import increase

pytestmark = pytest.mark.django_db(transaction=True)


def errors(publisher, error):
    return increase("publish_errors_total", publisher=publisher, error=error)


def published(publisher):
    return increase("published_events_total", publisher=publisher)


def test_events_of_a_sync_publisher():
    events = published("sync")
    get_publisher().publish_event("abc", {})
    get_publisher().publish_events("abc", [{}, {}])
    assert events() == 3


async def test_events_of_an_async_publisher(async_redis):
    events = published("async")
    publisher = RedisStreamPublisher(async_redis)
    await asyncio.gather(*[publisher.publish_event(f"job-{n % 3}", {}) for n in range(20)])
    assert events() == 20


def test_events_of_an_external_producer():
    events, late = published("external"), errors("external", "OutOfOrderSequence")
    publish_sequenced("abc", [{}, {}], producer=["p"], sequence=1)
    with pytest.raises(Exception, match="next event has the number 3"):
        publish_sequenced("abc", [{}], producer=["p"], sequence=9)
    assert (events(), late()) == (2, 1)


def test_events_of_the_outbox():
    events = published("outbox")
    publish_event("abc", {})
    assert events() == 1


async def test_fenced_producers(async_redis):
    sync, concurrent = errors("sync", "ProducerFenced"), errors("async", "ProducerFenced")
    SyncRedisStreamPublisher(get_redis(), epoch=2).publish_event("abc", {})
    with pytest.raises(ProducerFenced):
        SyncRedisStreamPublisher(get_redis(), epoch=1).publish_event("abc", {})
    fenced = RedisStreamPublisher(async_redis, epoch=1)
    results = await asyncio.gather(
        *[fenced.publish_event("abc", {}) for _ in range(3)], return_exceptions=True
    )
    assert all(isinstance(each, ProducerFenced) for each in results)
    assert (sync(), concurrent()) == (1, 3)


def test_errors_of_invalid_events():
    too_large = errors("sync", "EventTooLarge")
    publisher = get_publisher()
    publisher.max_event_bytes = 10
    with pytest.raises(EventTooLarge):
        publisher.publish_event("abc", {"text": "x" * 100})
    assert too_large() == 1


def test_errors_of_an_unavailable_redis(settings):
    failed = errors("sync", "RedisUnavailable")
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "REDIS_URL": "unix:///nonexistent/redis.sock"}
    with pytest.raises(RedisUnavailable):
        get_publisher().publish_event("abc", {})
    assert failed() == 1


async def test_subscriptions():
    first = get_publisher().publish_event("abc", {})
    subscribers = increase("subscribers", transport="python")
    new = increase("subscriptions_total", transport="python", resumes="false")
    resumed = increase("subscriptions_total", transport="python", resumes="true")
    lag = increase("delivery_lag_seconds_count")
    async with (
        aclosing(follow("abc")) as one,
        aclosing(follow("abc", after=Cursor.parse(first))) as two,
    ):
        for messages in (one, two):
            async for message in messages:
                if isinstance(message, Live):
                    break
        assert (subscribers(), new(), resumed()) == (2, 1, 1)
        get_publisher().publish_event("abc", {})
        await anext(one)
        with suppress(TimeoutError):
            async with asyncio.timeout(0.2):
                await anext(one)
    assert subscribers() == 0
    assert lag() == 1


async def test_resets():
    get_publisher().publish_event("abc", {})
    resets = increase("resets_total", reason="CursorLost")
    async with aclosing(follow("abc", after=Cursor(1, 1))) as messages:
        assert isinstance(await anext(messages), Reset)
    assert resets() == 1


class Adapter(QueueAdapter):
    name = "counting"


def run_task(work, key="k"):
    delivery = Delivery("counting", key, "abc", "write", sends_heartbeats=False)
    return Adapter().run(delivery, work)


def runs(outcome):
    return increase("task_runs_total", queue="counting", task_type="write", outcome=outcome)


def test_outcomes_of_task_runs(monkeypatch):
    completed, failed, retried = runs("completed"), runs("failed"), runs("retry")
    rejected = runs("rejected")
    services.job_create(job_id="abc", task_type="manual")
    monkeypatch.setattr(Adapter, "outcome", lambda *_: Retry(1.0))
    with pytest.raises(ZeroDivisionError):
        run_task(lambda: 1 / 0)
    monkeypatch.undo()
    run_task(lambda: 1)
    run_task(lambda: 1)  # a redelivery after the end
    assert (completed(), retried(), rejected(), failed()) == (1, 1, 1, 0)
