"""Awaits that are given up anywhere: who publishes the same again finds it there once."""

import asyncio
import random
from contextlib import suppress

import pytest

from events.exceptions import RedisUnavailable
from events.publisher import RedisStreamPublisher
from tests.faults.clients import again, async_client, numbers, stream
from tests.faults.proxy import Act


async def cancelled_after(turns, awaitable):
    """Cancel after so many turns of the loop, some of which take their time; None if it did end."""
    task = asyncio.create_task(awaitable)
    for turn in range(turns):
        await asyncio.sleep(0 if turn < 20 else 0.0005)
    task.cancel()
    with suppress(asyncio.CancelledError):
        return await task
    return None


def publish(publisher, method, first):
    """One event, or three, with numbers from `first`."""
    if method == "publish_event":
        return publisher.publish_event("abc", {"n": first})
    return publisher.publish_events("abc", [{"n": first + i} for i in range(3)])


@pytest.mark.parametrize(
    ("act", "method"),
    [
        (Act.PASS, "publish_event"),
        (Act.PASS, "publish_events"),
        (Act.LOST_AFTER, "publish_event"),
        (Act.HALF, "publish_events"),
    ],
)
async def test_cancelled_at_every_turn_of_the_loop(proxy, redis_client, method, act):
    """Each time on a new client, so that connecting is among what is cut short."""
    expected, cut_short = [], 0
    for turns in range(24):
        async with async_client(proxy.port) as client:
            publisher = RedisStreamPublisher(client)
            proxy.plan(act)
            ids = await cancelled_after(turns, publish(publisher, method, 10 * turns))
            cut_short += ids is None
            ids = ids or await publish(publisher, method, 10 * turns)
        ids = [ids] if isinstance(ids, str) else ids
        expected += [(event_id, 10 * turns + i) for i, event_id in enumerate(ids)]
    assert cut_short > 10
    assert stream(redis_client) == expected


@pytest.mark.parametrize("act", [Act.SLOW, Act.MUTE, Act.SWALLOWED, Act.HELD])
async def test_waiting_for_a_while_only(proxy, redis_client, act):
    async with async_client(proxy.port) as client:
        publisher = RedisStreamPublisher(client)
        await publisher.publish_event("abc", {"n": 0})
        for n in range(1, 3):
            proxy.plan(act)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(publisher.publish_event("abc", {"n": n}), 0.01)
            async with asyncio.timeout(5):
                event_id = await publisher.publish_event("abc", {"n": n})
            assert stream(redis_client)[-1] == (event_id, n)
    assert numbers(redis_client) == list(range(3))


async def test_the_repeat_is_given_up_as_well(proxy, redis_client):
    async with async_client(proxy.port) as client:
        publisher = RedisStreamPublisher(client)
        for n in range(20):
            proxy.plan(*[Act.SLOW, Act.LOST_AFTER, Act.SLOW][: n % 4])
            for turns in (3, 1, 5, 2):
                if await cancelled_after(turns, publisher.publish_event("abc", {"n": n})):
                    break
            else:
                await publisher.publish_event("abc", {"n": n})
    assert numbers(redis_client) == list(range(20))


@pytest.mark.parametrize("seed", range(4))
async def test_some_of_many_are_cancelled(proxy, redis_client, seed):
    """The others are there once, and in the order of their calls; so are these, at most once."""
    chance = random.Random(seed)
    async with async_client(proxy.port) as client:
        publisher = RedisStreamPublisher(client)
        if seed % 2:
            await publisher.publish_event("abc", {"n": -1})
        proxy.plan(*chance.choices(list(Act)[:5], k=8))
        tasks = [asyncio.create_task(publisher.publish_event("abc", {"n": n})) for n in range(50)]
        doomed = set(chance.sample(range(50), 15))
        for n in sorted(doomed):
            for _ in range(chance.randrange(8)):
                await asyncio.sleep(0)
            tasks[n].cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        there = [n for n in numbers(redis_client) if n >= 0]
        answered = [n for n in range(50) if isinstance(outcomes[n], str)]
        assert [n for n in there if n in answered] == answered
        told = [n for n in range(50) if isinstance(outcomes[n], RedisUnavailable)]
        assert set(range(50)) - set(answered) <= doomed | set(told)
        for n in set(range(50)) - set(answered):
            outcomes[n], _ = await again(lambda n=n: publisher.publish_event("abc", {"n": n}))
    by_id = dict(stream(redis_client))
    assert [by_id[outcomes[n]] for n in range(50)] == list(range(50))
    assert sorted(n for n in by_id.values() if n >= 0) == list(range(50))


async def test_those_who_wait_behind_a_cancelled_one_are_served(proxy, redis_client):
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


async def test_the_client_is_closed_in_the_middle(proxy, redis_client):
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
