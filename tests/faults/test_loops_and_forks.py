"""Publishers shared by several event loops, threads and forks."""

import asyncio
import gc
import multiprocessing
import os
import subprocess
import sys
import threading
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import permutations
from pathlib import Path

import pytest
import redis
import redis.asyncio

from events.exceptions import RedisUnavailable
from events.publisher import RedisStreamPublisher, SyncRedisStreamPublisher
from tests.faults.clients import (
    STATE,
    numbers,
    publish_with_retry,
    retried,
    stream,
    sync_client,
)
from tests.faults.proxy import Act

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def unbound(proxy):
    """A publisher that was created unbound of an event loop, and its client."""
    client = redis.asyncio.Redis(port=proxy.port, socket_timeout=0.2)
    return RedisStreamPublisher(client), client


def test_publisher_in_many_loops(unbound, proxy, redis_client):
    """There are more loops than connections. Some loops lose a reply, some close the client."""
    publisher, client = unbound

    async def publish(n):
        ids = await asyncio.gather(
            publisher.publish_event("abc", {"n": n}), publisher.publish_event("abc", {"n": n + 1})
        )
        if n % 6 == 0:
            await client.aclose()
        return ids

    for n in range(0, 240, 2):
        proxy.plan(*[Act.LOST_AFTER] * (n % 20 == 0))
        asyncio.run(publish(n))
    gc.collect()
    assert numbers(redis_client) == list(range(240))
    # A loop adopts the producer of a closed one.
    assert redis_client.hlen(STATE) < 10


def test_cancelled_call_is_repeated_in_another_loop(unbound, proxy, redis_client):
    """The loop of the cancelled call ends. The call is repeated with its key: appended once."""
    publisher, _ = unbound

    async def cancel(n):
        event = publisher.publish_event("abc", {"n": n}, idempotency_key=str(n))
        task = asyncio.create_task(event)
        for _ in range(n):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            return await task
        return None

    async def repeat(n):
        return await publisher.publish_event("abc", {"n": n}, idempotency_key=str(n))

    cancelled = 0
    for n in range(16):
        proxy.plan([Act.PASS, Act.MUTE, Act.SLOW, Act.HELD][n % 4])
        if asyncio.run(cancel(n)) is None:
            cancelled += 1
            asyncio.run(repeat(n))
        proxy.release()
    assert cancelled > 8
    assert numbers(redis_client) == list(range(16))


def test_loop_ends_with_calls_in_flight_and_queued(unbound, proxy, redis_client):
    """Each call is repeated with its key, in any order, and appended once."""
    publisher, _ = unbound

    def publish(n):
        return publisher.publish_event("abc", {"n": n}, idempotency_key=str(n))

    async def cancel_in_flight(first):
        await publish(first)
        proxy.plan(Act.SWALLOWED, Act.MUTE)
        for n in range(first + 1, first + 4):
            task = asyncio.create_task(publish(n))
            await asyncio.sleep(0.005)
            assert task.cancel()
        await asyncio.wait([task])

    async def repeat(numbers):
        for n in numbers:
            await publish(n)

    for round_, order in enumerate(permutations((1, 2, 3))):
        first = 4 * round_
        asyncio.run(cancel_in_flight(first))
        asyncio.run(repeat([first + n for n in order]))
    assert sorted(numbers(redis_client)) == list(range(24))


def test_append_retried_in_other_loops_and_threads(unbound, proxy, redis_client):
    """Concurrent retries of the failed calls of a batch return the same ids."""
    publisher, _ = unbound

    async def fail():
        proxy.plan(*[Act.LOST_AFTER, Act.LOST_BEFORE] * 4)
        pairs = [[{"n": 2 * n}, {"n": 2 * n + 1}] for n in range(5)]
        calls = [publisher.publish_events("abc", pair) for pair in pairs]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        proxy.plan()
        return outcomes

    async def retry(errors):
        return await asyncio.gather(*[publisher.retry(error.pending) for error in errors])

    errors = asyncio.run(fail())
    assert {type(error) for error in errors} == {RedisUnavailable}
    with ThreadPoolExecutor(6) as pool:
        outcomes = list(pool.map(lambda _: asyncio.run(retry(errors)), range(12)))
    with sync_client(proxy.port) as client:
        outcomes.append([SyncRedisStreamPublisher(client).retry(each.pending) for each in errors])
    by_id = dict(stream(redis_client))
    assert len(by_id) == 10
    for ids in outcomes:
        assert [[by_id[each] for each in pair] for pair in ids] == [
            [2 * n, 2 * n + 1] for n in range(5)
        ]


def test_client_with_an_idle_connection_of_another_loop(unbound, redis_client):
    """The sender neither uses nor closes it."""
    publisher, client = unbound

    async def publish():
        await publisher.publish_event("abc", {"n": 0})

    other = asyncio.new_event_loop()
    connection_id = other.run_until_complete(client.client_id())
    asyncio.run(publish())
    assert other.run_until_complete(client.client_id()) == connection_id
    other.run_until_complete(client.aclose())
    other.close()
    assert numbers(redis_client) == [0]


def test_sender_closes_its_connection_after_the_client_is_collected(redis_server):
    """The pool is too small to reserve a connection: the sender opens its own."""
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", COLLECTED_CLIENT_SCRIPT.format(url=redis_server.url)],
        env={"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (ran.stdout, ran.stderr) == ("[1, 0]\n", "")


def test_concurrent_loops_in_several_threads(unbound, proxy, redis_client):
    publisher, _ = unbound
    acts = [Act.PASS, Act.LOST_AFTER, Act.PASS, Act.HALF, Act.SLOW, Act.PASS]
    proxy.plan(*acts * 20)

    async def publish(first):
        ids = []
        for n in range(first, first + 10):
            event_ids, _ = await retried(
                lambda n=n: publisher.publish_event("abc", {"n": n}), publisher
            )
            ids += event_ids
        return ids

    with ThreadPoolExecutor(6) as pool:
        answers = pool.map(lambda n: asyncio.run(publish(n)), range(0, 360, 10))
        ids = [event_id for answer in answers for event_id in answer]
    by_id = dict(stream(redis_client))
    assert [by_id[event_id] for event_id in ids] == list(range(360))
    assert len(by_id) == 360


def test_call_cancelled_in_one_thread_and_repeated_in_another(unbound, proxy, redis_client):
    """The loop of the cancelled call still sends it."""
    publisher, _ = unbound

    def publish(n):
        return publisher.publish_event("abc", {"n": n}, idempotency_key=str(n))

    for n in range(12):
        cancelled, done = threading.Event(), threading.Event()

        async def cancel(n=n, cancelled=cancelled, done=done):
            tasks = [asyncio.create_task(publisher.publish_event("abc", {"n": -n}))]
            await asyncio.sleep(0)
            tasks.append(asyncio.create_task(publish(100 + n)))
            for _ in range(1 + n % 5):
                await asyncio.sleep(0)
            tasks[1].cancel()
            await asyncio.gather(*tasks[1:], return_exceptions=True)
            cancelled.set()
            await tasks[0]
            await asyncio.to_thread(done.wait, 10)

        async def repeat(n=n):
            await publish(100 + n)

        proxy.plan(Act.SLOW)
        thread = threading.Thread(target=lambda cancel=cancel: asyncio.run(cancel()))
        thread.start()
        assert cancelled.wait(5)
        asyncio.run(repeat())
        done.set()
        thread.join()
    assert sorted(n for n in numbers(redis_client) if n >= 100) == list(range(100, 112))


PUBLISH_SCRIPT = """
import asyncio, redis.asyncio
from events.publisher import RedisStreamPublisher
client = redis.asyncio.Redis.from_url({url!r})
publisher = RedisStreamPublisher(client)
async def main(close):
    asyncio.get_running_loop().slow_callback_duration = 60  # no warnings on slow machines
    await asyncio.gather(*[publisher.publish_event("abc", {{}}) for _ in range(3)])
    if close:
        await client.aclose()
for close in (True, False, True):
    asyncio.run(main(close))
loop = asyncio.new_event_loop()
loop.run_until_complete(main(True))
loop.close()
asyncio.run(main(True))
print("published")
"""


COLLECTED_CLIENT_SCRIPT = """
import asyncio, gc, redis, redis.asyncio
from events.producer import sender
from events.publisher import RedisStreamPublisher
sender.IDLE_SECONDS = 0.1
counts = []
async def publish():
    options = dict(max_connections=1, client_name="collected")
    async with redis.asyncio.Redis.from_url({url!r}, **options) as client:
        await RedisStreamPublisher(client).publish_event("abc", {{}})
def count():
    with redis.Redis.from_url({url!r}) as other:
        counts.append(sum(each["name"] == "collected" for each in other.client_list()))
async def main():
    await publish()
    gc.collect()
    count()
    await asyncio.sleep(1)
    count()
asyncio.run(main())
print(counts)
"""


def test_no_resource_warning_until_exit(redis_server):
    ran = subprocess.run(
        [
            sys.executable,
            "-X",
            "dev",
            "-W",
            "error",
            "-c",
            PUBLISH_SCRIPT.format(url=redis_server.url),
        ],
        env={"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (ran.stdout, ran.stderr) == ("published\n", "")


def start_fork(task, *args):
    """Start a forked process, like Celery's prefork pool."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of the tests' proxy
        process = multiprocessing.get_context("fork").Process(target=task, args=args)
        process.start()
    return process


def results_of(processes, receiver):
    answers = []
    for _ in processes:
        assert receiver.poll(60)
        answers.append(receiver.recv())
    for process in processes:
        process.join(10)
        assert process.exitcode == 0
    return [pair for answer in answers for pair in answer]


def _publish_in_fork(publisher, first, pipe):
    """Publish in several threads that start at the same time."""
    barrier = threading.Barrier(4)

    def publish(start):
        barrier.wait()
        return [(publish_with_retry(publisher, n), n) for n in range(start, start + 10)]

    with ThreadPoolExecutor(4) as pool:
        pairs = [pair for part in pool.map(publish, range(first, first + 40, 10)) for pair in part]
    pipe.send(pairs)


@pytest.mark.parametrize("kind", ["plain", "blocking", "single"])
def test_forks_of_a_process_with_producers(proxy, redis_client, kind):
    with sync_client(proxy.port, kind if kind != "single" else "plain", seconds=2) as client:
        publisher = SyncRedisStreamPublisher(client)
        with ThreadPoolExecutor(4) as pool:  # creates several producers
            list(pool.map(lambda n: publisher.publish_event("abc", {"n": n}), range(40)))
        receiver, sender = multiprocessing.Pipe(duplex=False)
        proxy.plan(*[Act.PASS, Act.PASS, Act.LOST_AFTER, Act.PASS, Act.HALF] * 20)
        processes = [
            start_fork(_publish_in_fork, publisher, 1000 * fork, sender) for fork in range(1, 5)
        ]
        own = [(publish_with_retry(publisher, n), n) for n in range(40, 80)]
        forked = results_of(processes, receiver)
        sender.close()
        receiver.close()
    by_id = dict(stream(redis_client))
    assert {by_id[event_id] == n for event_id, n in own + forked} == {True}
    assert sorted(by_id.values()) == sorted([*range(40), *[n for _, n in own + forked]])


def _publish_in_loop_of_fork(publisher, first, pipe):
    async def publish():
        ids = await asyncio.gather(
            *[publisher.publish_event("abc", {"n": n}) for n in range(first, first + 20)]
        )
        return list(zip(ids, range(first, first + 20), strict=True))

    pipe.send([*asyncio.run(publish()), *asyncio.run(publish())][:20])


@pytest.mark.parametrize("inside", [False, True], ids=["loop-over", "loop-running"])
def test_forks_of_a_process_with_a_loop(unbound, proxy, redis_client, inside):
    publisher, _ = unbound
    receiver, sender = multiprocessing.Pipe(duplex=False)

    def fork():
        return [start_fork(_publish_in_loop_of_fork, publisher, 100 * n, sender) for n in (1, 2, 3)]

    async def parent():
        await asyncio.gather(*[publisher.publish_event("abc", {"n": n}) for n in range(5)])
        processes = fork() if inside else []
        await asyncio.gather(*[publisher.publish_event("abc", {"n": n}) for n in range(5, 10)])
        return processes

    processes = asyncio.run(parent()) or fork()
    asyncio.run(publisher.publish_event("abc", {"n": 10}))
    forked = results_of(processes, receiver)
    sender.close()
    receiver.close()
    by_id = dict(stream(redis_client))
    assert {by_id[event_id] == n for event_id, n in forked} == {True}
    assert Counter(by_id.values()) == Counter(
        [*range(11), *[n for _, n in forked], *[n for _, n in forked]]
    )


@pytest.mark.parametrize("act", [Act.LOST_AFTER, Act.LOST_BEFORE])
def test_append_retried_by_parent_and_fork(proxy, redis_client, act):
    with sync_client(proxy.port) as client:
        publisher = SyncRedisStreamPublisher(client)
        publisher.publish_event("abc", {"n": 0})
        proxy.plan(*[act] * 4)
        with pytest.raises(RedisUnavailable) as caught:
            publisher.publish_event("abc", {"n": 1})
        receiver, sender = multiprocessing.Pipe(duplex=False)
        fork = start_fork(lambda: sender.send([publisher.retry(caught.value.pending)]))
        event_id = publisher.retry(caught.value.pending)
        assert results_of([fork], receiver) == [event_id]
        sender.close()
        receiver.close()
    assert stream(redis_client)[1:] == [(event_id, 1)]
