"""Async publishes that are cancelled at any await: the event is appended at most once.

A call with an idempotency key is repeated after the cancellation and appended exactly once.
"""

import asyncio
import random
from contextlib import suppress

import pytest

from events.exceptions import RedisUnavailable
from events.publisher import RedisStreamPublisher
from tests.faults.clients import async_client, numbers, retried, stream
from tests.faults.proxy import Act


async def cancel_after(turns, awaitable):
    """Cancel after some iterations of the loop; return the result, or None if cancelled."""
    task = asyncio.create_task(awaitable)
    for turn in range(turns):
        await asyncio.sleep(0 if turn < 20 else 0.0005)
    task.cancel()
    with suppress(asyncio.CancelledError):
        return await task
    return None


def publish(publisher, method, first, key=None):
    """Publish one event, or three, numbered from `first`."""
    if method == "publish_event":
        return publisher.publish_event("abc", {"n": first}, idempotency_key=key)
    events = [{"n": first + i} for i in range(3)]
    return publisher.publish_events("abc", events, idempotency_key=key)


@pytest.mark.parametrize(
    ("act", "method"),
    [
        (Act.PASS, "publish_event"),
        (Act.PASS, "publish_events"),
        (Act.LOST_AFTER, "publish_event"),
        (Act.HALF, "publish_events"),
    ],
)
async def test_cancelled_at_every_iteration_of_the_loop(proxy, redis_client, method, act):
    """Each call uses a new client: connecting may be cancelled, too."""
    expected, cancelled = [], 0
    for turns in range(24):
        async with async_client(proxy.port) as client:
            publisher = RedisStreamPublisher(client)
            proxy.plan(act)
            key = f"call {turns}"
            ids = await cancel_after(turns, publish(publisher, method, 10 * turns, key))
            cancelled += ids is None
            ids = ids or await publish(publisher, method, 10 * turns, key)
        ids = [ids] if isinstance(ids, str) else ids
        expected += [(event_id, 10 * turns + i) for i, event_id in enumerate(ids)]
    assert cancelled > 10
    assert stream(redis_client) == expected


async def test_cancelled_append_is_sent_before_later_calls(proxy, redis_client):
    async with async_client(proxy.port) as client:
        publisher = RedisStreamPublisher(client)
        for n in range(0, 40, 2):
            proxy.plan([Act.PASS, Act.LOST_AFTER, Act.SLOW, Act.HALF][n // 2 % 4])
            await cancel_after(1 + n % 7, publisher.publish_event("abc", {"n": n}))
            await publisher.publish_event("abc", {"n": n + 1})
    assert numbers(redis_client) == list(range(40))


@pytest.mark.parametrize("act", [Act.SLOW, Act.MUTE, Act.SWALLOWED, Act.HELD])
async def test_call_repeated_after_a_timeout(proxy, redis_client, act):
    async with async_client(proxy.port) as client:
        publisher = RedisStreamPublisher(client)
        await publisher.publish_event("abc", {"n": 0})
        for n in range(1, 3):
            proxy.plan(act)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(publish(publisher, "publish_event", n, str(n)), 0.01)
            async with asyncio.timeout(5):
                event_id = await publish(publisher, "publish_event", n, str(n))
            assert stream(redis_client)[-1] == (event_id, n)
    assert numbers(redis_client) == list(range(3))


async def test_repeated_calls_are_cancelled(proxy, redis_client):
    async with async_client(proxy.port) as client:
        publisher = RedisStreamPublisher(client)
        for n in range(20):
            proxy.plan(*[Act.SLOW, Act.LOST_AFTER, Act.SLOW][: n % 4])
            for turns in (3, 1, 5, 2):
                if await cancel_after(turns, publish(publisher, "publish_event", n, str(n))):
                    break
            else:
                await publish(publisher, "publish_event", n, str(n))
    assert numbers(redis_client) == list(range(20))


async def test_cancelled_retry_is_repeated(proxy, redis_client):
    async with async_client(proxy.port, "no-retries") as client:
        publisher = RedisStreamPublisher(client)
        for n in range(20):
            proxy.plan(*[Act.LOST_AFTER if n % 2 else Act.LOST_BEFORE] * 4)
            with pytest.raises(RedisUnavailable) as caught:
                await publisher.publish_event("abc", {"n": n})
            proxy.plan([Act.SLOW, Act.LOST_AFTER, Act.HALF, Act.PASS][n % 4])
            await cancel_after(n % 9, publisher.retry(caught.value.pending))
            event_id = await publisher.retry(caught.value.pending)
            assert (event_id, n) in stream(redis_client)
    assert numbers(redis_client) == list(range(20))


@pytest.mark.parametrize("keyed", [True, False], ids=["key", "no-key"])
@pytest.mark.parametrize("seed", range(4))
async def test_cancelling_some_concurrent_calls(proxy, redis_client, seed, keyed):
    """The others are appended once and in call order, the cancelled ones at most once."""
    rng = random.Random(seed)
    async with async_client(proxy.port) as client:
        publisher = RedisStreamPublisher(client)

        def call(n):
            return publish(publisher, "publish_event", n, f"{n}" if keyed else None)

        if seed % 2:
            await publisher.publish_event("abc", {"n": -1})
        proxy.plan(*rng.choices(list(Act)[:5], k=8))
        tasks = [asyncio.create_task(call(n)) for n in range(50)]
        doomed = set(rng.sample(range(50), 15))
        for n in sorted(doomed):
            for _ in range(rng.randrange(8)):
                await asyncio.sleep(0)
            tasks[n].cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        appended = [n for n in numbers(redis_client) if n >= 0]
        answered = [n for n in range(50) if isinstance(outcomes[n], str)]
        assert [n for n in appended if n in answered] == answered
        failed = [n for n in range(50) if isinstance(outcomes[n], RedisUnavailable)]
        cancelled = set(range(50)) - set(answered) - set(failed)
        assert cancelled <= doomed
        for n in failed:
            (outcomes[n],), _ = await retried(
                lambda n=n: publisher.retry(outcomes[n].pending), publisher
            )
        for n in cancelled if keyed else ():
            (outcomes[n],), _ = await retried(lambda n=n: call(n), publisher)
        last = publish(publisher, "publish_event", 50)
        await retried(lambda: last, publisher)  # sent after all others
    by_id = dict(stream(redis_client))
    known = [n for n in range(50) if isinstance(outcomes[n], str)]
    assert [by_id[outcomes[n]] for n in known] == known
    appended = sorted(n for n in by_id.values() if 0 <= n < 50)
    assert appended == (list(range(50)) if keyed else sorted({*known, *appended}))


async def test_calls_queued_behind_a_cancelled_one_complete(proxy, redis_client):
    async with async_client(proxy.port) as client:
        publisher = RedisStreamPublisher(client)
        await publisher.publish_event("abc", {"n": 0})
        proxy.plan(Act.SLOW)
        first = asyncio.create_task(publisher.publish_event("abc", {"n": 1}))
        await asyncio.sleep(0)
        others = [asyncio.create_task(publisher.publish_event("abc", {"n": n})) for n in (2, 3)]
        await asyncio.sleep(0.01)
        first.cancel()
        others[0].cancel()
        assert (await others[1], 3) == stream(redis_client)[-1]
    assert numbers(redis_client) == [0, 1, 2, 3]


async def test_client_closed_during_calls(proxy, redis_client):
    async with async_client(proxy.port) as client:
        publisher = RedisStreamPublisher(client)
        for n in range(24):
            proxy.plan(Act.SLOW)
            task = asyncio.create_task(publisher.publish_event("abc", {"n": n}))
            for _ in range(n):
                await asyncio.sleep(0)
            await client.aclose()
            await task
    assert numbers(redis_client) == list(range(24))
