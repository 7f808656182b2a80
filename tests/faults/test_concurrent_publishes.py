"""Concurrent publishes: batches on one event loop, separate connections in threads."""

import asyncio
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from events.exceptions import RedisUnavailable
from events.producer.sender import sync_sender
from events.publisher import RedisStreamPublisher, SyncRedisStreamPublisher
from tests.faults.clients import (
    KINDS,
    async_client,
    numbers,
    publish_with_retry,
    publishing,
    stream,
    sync_client,
)
from tests.faults.proxy import Act


def evaluations(client):
    return client.info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0)


@pytest.mark.parametrize("kind", KINDS)
async def test_concurrent_calls_are_batched_in_order(proxy, redis_client, kind):
    async with publishing("async", proxy.port, kind) as publish:
        await publish.one({"n": -1})
        redis_client.config_resetstat()
        ids = await asyncio.gather(*[publish.one({"n": n}) for n in range(50)])
    assert stream(redis_client)[1:] == list(zip(ids, range(50), strict=True))
    assert evaluations(redis_client) <= 3


async def test_publishers_of_one_client_keep_the_order_of_calls(proxy, redis_client):
    async with async_client(proxy.port) as client:
        publishers = [RedisStreamPublisher(client) for _ in range(3)]
        calls = [
            publishers[n % 3].publish_events("abc", [{"n": 2 * n}, {"n": 2 * n + 1}])
            if n % 2
            else publishers[n % 3].publish_event("abc", {"n": 2 * n})
            for n in range(20)
        ]
        await asyncio.gather(*calls)
    assert numbers(redis_client) == [n for n in range(40) if n % 2 == 0 or n // 2 % 2]


async def test_lost_replies_of_two_epochs(proxy, redis_client):
    """Publishers of two epochs share a client. A lost reply repeats the sequences of both."""
    async with async_client(proxy.port) as client:
        first, second = (RedisStreamPublisher(client, epoch=epoch) for epoch in (0, 2))
        await first.publish_event("abc", {"n": -1})
        for start in range(0, 60, 6):
            proxy.plan(Act.PASS, Act.LOST_AFTER, Act.LOST_AFTER)
            ids = await asyncio.gather(
                first.publish_event("abc", {"n": start}),
                first.publish_event("abc", {"n": start + 1}),
                second.publish_events("abc", [{"n": start + 2}, {"n": start + 3}]),
                first.publish_event("abc", {"n": start + 4}),
                second.publish_event("abc", {"n": start + 5}),
            )
            by_id = dict(stream(redis_client))
            flat = [*ids[:2], *ids[2], *ids[3:]]
            assert [by_id[event_id] for event_id in flat] == list(range(start, start + 6))
    assert sorted(numbers(redis_client)) == list(range(-1, 60))


async def test_error_of_one_job_is_raised_to_its_callers_only(proxy, redis_client):
    redis_client.set("job_events:bad", "x")
    async with async_client(proxy.port) as client:
        publisher = RedisStreamPublisher(client)
        proxy.plan(Act.PASS, Act.LOST_AFTER)
        outcomes = await asyncio.gather(
            *[publisher.publish_event("bad" if n % 5 == 0 else "abc", {"n": n}) for n in range(20)],
            return_exceptions=True,
        )
    assert [n for n in range(20) if not isinstance(outcomes[n], str)] == [0, 5, 10, 15]
    assert numbers(redis_client) == [n for n in range(20) if n % 5]


@pytest.mark.parametrize("kind", ["plain", "blocking", "no-retries"])
def test_threads_share_a_publisher_while_replies_are_lost(proxy, redis_client, kind):
    rng = random.Random(kind)
    with sync_client(proxy.port, kind) as client:
        publisher = SyncRedisStreamPublisher(client)

        proxy.plan(*rng.choices([*list(Act)[:5], Act.PASS, Act.PASS], k=70))
        with ThreadPoolExecutor(8) as pool:
            ids = list(pool.map(lambda n: publish_with_retry(publisher, n), range(100)))
    by_id = dict(stream(redis_client))
    assert [by_id[event_id] for event_id in ids] == list(range(100))
    assert len(by_id) == 100


def test_interrupt_between_command_and_reply(proxy, redis_client):
    """The next caller must not receive the unread reply. Celery's soft time limit interrupts."""
    with sync_client(proxy.port, "single", seconds=5) as client:
        publisher = SyncRedisStreamPublisher(client)
        publisher.publish_event("abc", {"n": 0})
        for n in range(1, 8):

            def publish(n=n):
                return publisher.publish_event("abc", {"n": n}, idempotency_key=str(n))

            proxy.plan(Act.SLOW)
            with pytest.raises(Interruption):
                interrupt_after(0.003 * n, publish)
            assert (publish(), n) == stream(redis_client)[-1]
            assert client.get("nothing") is None
    assert numbers(redis_client) == list(range(8))


class Interruption(Exception):
    """Raised by the signal handler."""


def interrupt_after(seconds, call):
    import signal

    def interrupt(_number, _frame):
        raise Interruption

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return call()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


async def test_publisher_takes_no_connection_from_a_small_pool(proxy, redis_client):
    for kind in ("single", "blocking"):
        async with async_client(proxy.port, kind) as client:
            publisher = RedisStreamPublisher(client)
            await publisher.publish_event("abc", {"n": 0})
            assert await client.xlen("job_events:abc")
            proxy.plan(*[Act.LOST_AFTER] * 5)
            with pytest.raises(RedisUnavailable) as caught:
                await publisher.publish_event("abc", {"n": 1})
            await publisher.retry(caught.value.pending)
            assert await client.xlen("job_events:abc")
    assert numbers(redis_client) == [0, 1, 0, 1]


async def test_cancelled_and_retried_calls_leak_no_connections(proxy, redis_client):
    async with async_client(proxy.port, "no-retries") as client:
        publisher = RedisStreamPublisher(client)
        for n in range(110):
            task = asyncio.create_task(publisher.publish_event("abc", {"n": n}))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        for n in range(110, 130):
            proxy.plan(*[Act.LOST_AFTER] * 8)
            errors = await asyncio.gather(
                *[publisher.publish_event("abc", {"n": n}) for _ in range(20)],
                return_exceptions=True,
            )
            proxy.plan()
            await asyncio.gather(*[publisher.retry(error.pending) for error in errors])
        pool = client.connection_pool
        assert len(pool._in_use_connections) <= 2
    expected = [*range(110), *[n for n in range(110, 130) for _ in range(20)]]
    assert numbers(redis_client) == expected


async def test_concurrent_calls_with_and_without_key_keep_their_order(proxy, redis_client):
    async with async_client(proxy.port) as client:
        publisher = RedisStreamPublisher(client)
        await publisher.publish_event("abc", {"n": -1})
        redis_client.config_resetstat()
        keys = [None, "a", "b", "a", None, None, "c", *[f"{n}" for n in range(43)]]
        ids = await asyncio.gather(
            *[
                publisher.publish_event(
                    "abc", {"n": ord(key) if key == "a" else n}, idempotency_key=key
                )
                for n, key in enumerate(keys)
            ]
        )
        assert ids[1] == ids[3]
        by_id = dict(stream(redis_client))
        assert [by_id[each] for each in ids] == [
            ord("a") if key == "a" else n for n, key in enumerate(keys)
        ]
        unique = list(dict.fromkeys(ids))
        assert [each for each, _ in stream(redis_client)][1:] == unique


async def test_callers_of_a_failed_batch_retry_independently(proxy, redis_client):
    """A caller retries once, twice or not at all. No event is appended twice."""
    async with async_client(proxy.port) as client:
        publisher = RedisStreamPublisher(client)
        for act in (Act.LOST_AFTER, Act.LOST_BEFORE, Act.HALF, Act.SWALLOWED):
            redis_client.flushall()
            await publisher.publish_event("abc", {"n": -1})
            proxy.plan(*[act] * 8)
            errors = await asyncio.gather(
                publisher.publish_event("abc", {"n": 0}),
                publisher.publish_events("abc", [{"n": 1}, {"n": 2}]),
                publisher.publish_event("abc", {"n": 3}),
                return_exceptions=True,
            )
            proxy.plan()
            later = await publisher.publish_event("abc", {"n": 9})
            middle = await publisher.retry(errors[1].pending)
            first, again = await asyncio.gather(
                *[publisher.retry(error.pending) for error in errors[:2]]
            )
            assert again == middle
            by_id = dict(stream(redis_client))
            assert [by_id[each] for each in (first, *middle, later)] == [0, 1, 2, 9]
            assert sorted(by_id.values()) == [-1, 0, 1, 2, 3, 9]


def test_publishers_created_concurrently_share_a_sender(proxy, redis_client):
    for _ in range(30):
        with sync_client(proxy.port) as client:
            barrier, senders = threading.Barrier(8), []

            def create(client=client, barrier=barrier, senders=senders):
                barrier.wait()
                senders.append(sync_sender(SyncRedisStreamPublisher(client)._senders))

            threads = [threading.Thread(target=create) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert len(set(map(id, senders))) == 1
