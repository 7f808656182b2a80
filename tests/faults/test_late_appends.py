"""Appends that reach Redis after their caller received RedisUnavailable."""

import asyncio
import os
import signal

import pytest

from events.exceptions import RedisUnavailable
from events.publisher import RedisStreamPublisher
from tests.faults.clients import async_client, numbers, publishing, retried, stream
from tests.faults.proxy import Act


@pytest.fixture(params=["sync", "async"])
def which(request):
    return request.param


@pytest.mark.parametrize("is_retried", [True, False], ids=["retried", "not-retried"])
async def test_late_attempts_are_appended_once(proxy, redis_client, which, is_retried):
    async with publishing(which, proxy.port) as publish:
        await publish.one({"n": -1})
        proxy.plan(*[Act.HELD] * 4)
        with pytest.raises(RedisUnavailable) as caught:
            await publish.numbers("many", 0)
        assert proxy.held() > 1  # fewer than 4 if connecting took an attempt
        ids = await publish.retry(caught.value) if is_retried else None
        proxy.release()
        assert numbers(redis_client) == [-1, 0, 1, 2]
        assert ids in (None, [event_id for event_id, _ in stream(redis_client)[1:]])
        await publish.one({"n": 10})
    assert numbers(redis_client) == [-1, 0, 1, 2, 10]


async def test_attempt_arriving_after_later_calls_is_a_duplicate(proxy, redis_client, which):
    async with publishing(which, proxy.port) as publish:
        for n in range(0, 12, 3):
            proxy.plan(Act.HELD)
            await publish.numbers("many", n)
        proxy.release()
    assert numbers(redis_client) == list(range(12))


async def test_failed_append_arriving_after_its_retry_is_a_duplicate(proxy, redis_client, which):
    async with publishing(which, proxy.port, "no-retries") as publish:
        await publish.one({"n": 0})
        proxy.plan(*[Act.HELD] * 4)
        error = await publish.failed({"n": 1})
        later = [await publish.one({"n": n}) for n in (2, 3)]
        retried_id = await publish.retry(error)
        proxy.release()
        last = await publish.one({"n": 4})
    assert stream(redis_client)[1:] == [*zip(later, (2, 3)), (retried_id, 1), (last, 4)]  # noqa: B905


async def test_attempts_buffered_by_a_stopped_redis(redis_server, redis_client, proxy, which):
    """The socket buffers hold all attempts. Redis runs them after their callers have failed."""
    async with publishing(which, proxy.port, "no-retries") as publish:
        await publish.one({"n": 0})
        os.kill(redis_server.process.pid, signal.SIGSTOP)
        try:
            async with asyncio.timeout(20):
                error = await publish.failed({"n": 1})
                with pytest.raises(RedisUnavailable) as caught:
                    await publish.retry(error)
        finally:
            os.kill(redis_server.process.pid, signal.SIGCONT)
        await retried(lambda: publish.retry(caught.value), publish.publisher)
        redis_client.ping()
    assert numbers(redis_client) == [0, 1]


async def test_batch_buffered_by_a_stopped_redis(redis_server, redis_client, proxy):
    """The failed calls of one batch are retried, half of them concurrently."""
    async with async_client(proxy.port, "no-retries") as client:
        publisher = RedisStreamPublisher(client)
        await publisher.publish_event("abc", {"n": -1})
        os.kill(redis_server.process.pid, signal.SIGSTOP)
        try:
            async with asyncio.timeout(20):
                outcomes = await asyncio.gather(
                    *[publisher.publish_event("abc", {"n": n}) for n in range(50)],
                    return_exceptions=True,
                )
        finally:
            os.kill(redis_server.process.pid, signal.SIGCONT)
        assert {type(outcome) for outcome in outcomes} == {RedisUnavailable}
        ids = [await publisher.retry(outcome.pending) for outcome in outcomes[:25]]
        ids += await asyncio.gather(*[publisher.retry(each.pending) for each in outcomes[25:]])
    by_id = dict(stream(redis_client))
    assert [by_id[event_id] for event_id in ids] == list(range(50))
    assert sorted(by_id.values()) == list(range(-1, 50))
