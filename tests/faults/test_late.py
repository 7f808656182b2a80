"""Calls that were given up, and reach Redis when nobody thinks of them any more."""

import asyncio
import os
import signal

import pytest

from events.exceptions import RedisUnavailable
from events.publisher import RedisStreamPublisher
from tests.faults.clients import STATE, async_client, numbers, publishing
from tests.faults.proxy import Act


@pytest.fixture(params=["sync", "async"])
def which(request):
    return request.param


@pytest.mark.parametrize("repeated", [True, False], ids=["repeated", "not-repeated"])
async def test_every_try_arrives_late(proxy, redis_client, which, repeated):
    """Refused if the caller was told that it was not there; else there once, however many tries."""
    async with publishing(which, proxy.port) as publish:
        await publish.one({"n": -1})
        proxy.plan(*[Act.HELD] * 4)
        with pytest.raises(RedisUnavailable):
            await publish.numbers("many", 0)
        assert proxy.held() > 1  # not 4 where it took so long to connect that a try went by
        if repeated:
            await publish.until_answered("many", 0)
        proxy.release()
        assert numbers(redis_client) == [-1, 0, 1, 2]
        await publish.one({"n": 10})
    assert numbers(redis_client) == [-1, 0, 1, 2, 10]


async def test_a_try_arrives_after_later_calls(proxy, redis_client, which):
    async with publishing(which, proxy.port) as publish:
        for n in range(0, 12, 3):
            proxy.plan(Act.HELD)
            await publish.numbers("many", n)
        proxy.release()
    assert numbers(redis_client) == list(range(12))


async def test_a_try_arrives_when_the_stream_is_gone(proxy, redis_client, which):
    """Nor does it bring a stream back for ever: the note about it expires."""
    async with publishing(which, proxy.port) as publish:
        proxy.plan(Act.HELD, *[Act.LOST_BEFORE] * 3, Act.PASS, *[Act.LOST_BEFORE] * 4)
        with pytest.raises(RedisUnavailable):
            await publish.one({"n": 0})
        with pytest.raises(RedisUnavailable):
            await publish.one({"n": 0})
        assert redis_client.ttl(STATE) > 0
        proxy.release()
        assert not redis_client.exists("job_events:abc")
        await publish.one({"n": 1})
        assert redis_client.ttl(STATE) == redis_client.ttl("job_events:abc") == -1
    assert numbers(redis_client) == [1]


async def test_redis_is_stopped_and_goes_on(redis_server, redis_client, proxy, which):
    """It has everything in its buffers: all tries arrive, after whoever sent them was told off."""
    async with publishing(which, proxy.port, "no-retries") as publish:
        await publish.one({"n": 0})
        os.kill(redis_server.process.pid, signal.SIGSTOP)
        try:
            async with asyncio.timeout(20):
                for _ in range(2):
                    with pytest.raises(RedisUnavailable):
                        await publish.one({"n": 1})
        finally:
            os.kill(redis_server.process.pid, signal.SIGCONT)
        await publish.until_answered("one", 1)
        redis_client.ping()
    assert numbers(redis_client) == [0, 1]


async def test_redis_is_stopped_under_many(redis_server, redis_client, proxy):
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
        for n in range(50):
            await publisher.publish_event("abc", {"n": n})
    assert sorted(numbers(redis_client)) == list(range(-1, 50))
