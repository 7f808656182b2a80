"""Producer state in Redis is complete, bounded, and restored after a loss."""

import asyncio
import gc
from concurrent.futures import ThreadPoolExecutor

import pytest
from asgiref.sync import sync_to_async

from events import outbox
from events.exceptions import ProducerFenced
from events.producer.batch import RETRY_SECONDS, AppendBatch
from events.producer.sender import sync_sender
from events.publisher import RedisStreamPublisher, SyncRedisStreamPublisher, get_publisher
from events.streams import commands
from events.streams.clients import send_command
from events.types import Producer
from tests.faults.clients import KEY, STATE, numbers, publishing, sync_client
from tests.faults.proxy import Act

KEYS = (KEY, STATE)


@pytest.fixture(params=["sync", "async"])
def which(request):
    return request.param


def append(client, number, producer, floor=""):
    event = (b'{"n":%d}' % number, "2026-01-02T03:04:05+00:00", "x")
    command = commands.append(KEYS, producer, floor, [event])
    return [send_command(client, command).decode()] * 2


def test_publishers_of_a_client_share_producers(redis_client):
    for n in range(300):
        SyncRedisStreamPublisher(redis_client).publish_event("abc", {"n": n})
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: get_publisher().publish_event("abc", {"n": n}), range(300)))
    assert redis_client.hlen(STATE) <= 9


async def test_tasks_of_a_loop_share_a_producer(async_redis, redis_client):
    async def task(n):
        await RedisStreamPublisher(async_redis).publish_event("abc", {"n": n})

    await asyncio.gather(*map(task, range(300)))
    assert redis_client.hlen(STATE) == 1


def test_idle_producers_are_removed_after_two_hours(redis_client):
    """All but the last hundred of ten thousand producers are idle for hours."""
    now = redis_client.time()[0]
    for age in range(10_000, 0, -1):
        if age == 100:
            old = {f"p{n}:0": f"7 {(now - 7201) * 1000}-{n}" for n in range(9_900)}
            redis_client.hset(STATE, mapping=old)
        if age <= 100:
            append(redis_client, age, Producer(f"new{age}", 0, 1))
    assert redis_client.hlen(STATE) <= 102
    assert redis_client.hexists(STATE, "new100:0")


def test_producers_are_kept_for_twice_the_retry_period(redis_client):
    """The clock of Redis may be an hour ahead of the clock of the publisher."""
    last = (redis_client.time()[0] - int(2 * RETRY_SECONDS) + 30) * 1000
    redis_client.hset(STATE, mapping={f"p{n}:0": f"7 {last}-{n}" for n in range(1_000)})
    append(redis_client, 1, Producer("new", 0, 1))
    assert redis_client.hlen(STATE) == 1_002  # including the field of the limit


def test_idle_producers_are_scanned_rarely(redis_client):
    for n in range(2_000):
        append(redis_client, n, Producer(f"p{n}", 0, 1))
    redis_client.config_resetstat()
    for n in range(2_000, 2_400):
        append(redis_client, n, Producer(f"p{n}", 0, 1))
    assert redis_client.info("commandstats").get("cmdstat_hgetall", {"calls": 0})["calls"] <= 1
    again = append(redis_client, 5, Producer("p5", 0, 1))
    assert again[1] == redis_client.xrange(KEY)[5][0].decode()


async def test_evicted_state_is_restored_before_a_retry(proxy, redis_client, which):
    """The entries of the stream restore the last appends and the epoch."""
    async with publishing(which, proxy.port) as publish:
        await publish.one({"n": 0})
        proxy.plan(*[Act.LOST_AFTER] * 4)
        error = await publish.failed([{"n": 1}, {"n": 2}], method="many")
        redis_client.delete(STATE)
        ids = await publish.retry(error)
        assert [entry_id.decode() for entry_id, _ in redis_client.xrange(KEY)][1:] == ids
    get_publisher(epoch=4).publish_event("abc", {"n": 3})
    redis_client.delete(STATE)
    with pytest.raises(ProducerFenced):
        get_publisher(epoch=3).publish_event("abc", {"n": 4})
    assert numbers(redis_client) == [0, 1, 2, 3]


@pytest.mark.django_db(transaction=True)
async def test_evicted_state_is_restored_by_an_outbox_append(proxy, redis_client, which):
    async with publishing(which, proxy.port, epoch=2) as publish:
        await publish.one({"n": 0})
        proxy.plan(*[Act.LOST_AFTER] * 4)
        error = await publish.failed({"n": 1})
        redis_client.delete(STATE)
        await sync_to_async(outbox.publish_event)("abc", {"n": 2})
        with pytest.raises(ProducerFenced):
            get_publisher(epoch=1).publish_event("abc", {"n": 3})
        await publish.retry(error)
    assert numbers(redis_client) == [0, 1, 2]


async def test_acknowledged_events_are_released_from_memory(async_redis, redis_client):
    """This includes the events of a cancelled call."""
    publisher = RedisStreamPublisher(async_redis)
    await publisher.publish_event("abc", {"n": 0})
    for n in range(1, 9):
        task = asyncio.create_task(publisher.publish_event("abc", {"n": n, "text": "x" * 100_000}))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
    while len(numbers(redis_client)) < 9:  # noqa: ASYNC110 - no event to wait for
        await asyncio.sleep(0.01)
    await publisher.publish_event("abc", {"n": 9})
    del task  # the traceback of its exception refers to the frames of the call
    gc.collect()
    # `isinstance` would evaluate the lazy objects of other tests.
    batches = [each for each in gc.get_objects() if type(each) is AppendBatch]
    assert not any(len(part) > 50_000 for batch in batches for part in batch.command
                   if isinstance(part, bytes))  # fmt: skip


def test_producers_with_a_reserved_connection_are_preferred(proxy, redis_client):
    with sync_client(proxy.port, seconds=5) as client:
        publisher = SyncRedisStreamPublisher(client)
        with ThreadPoolExecutor(10) as pool:
            list(pool.map(lambda n: publisher.publish_event("abc", {"n": n}), range(200)))
        producers = sync_sender(publisher._senders)._producers
        reserved = {id(each.connection) for each in producers} - {id(None)}
        assert len(reserved) == 4
        acquired = []
        client.connection_pool.get_connection = lambda: acquired.append(1)
        for n in range(20):
            publisher.publish_event("abc", {"n": n})
        assert not acquired


async def test_earlier_attempt_is_fenced(proxy, redis_client, which):
    async with publishing(which, proxy.port) as publish:
        publisher = type(publish.publisher)
        client = publish.publisher._redis

        async def attempt(epoch, method="one"):
            publish.publisher = publisher(client, epoch=epoch)
            await publish.numbers(method, epoch)

        for epoch in (1, 0, 2, 2, 0):
            await attempt(epoch)
        for method in ("one", "many"):
            with pytest.raises(ProducerFenced, match="attempt 2, not at 1"):
                await attempt(1, method)
        await attempt(0)
    assert numbers(redis_client) == [1, 0, 2, 2, 0, 0]


async def test_append_retried_after_a_later_attempt_began(proxy, redis_client, which):
    """It is acknowledged if it arrived before the attempt began, otherwise fenced."""
    async with publishing(which, proxy.port, epoch=1) as publish:
        await publish.one({"n": 0})
        proxy.plan(*[Act.LOST_AFTER] * 4)
        arrived = await publish.failed({"n": 1})
        proxy.plan(*[Act.LOST_BEFORE] * 4)
        lost = await publish.failed({"n": 2})
        get_publisher(epoch=2).publish_event("abc", {"n": 3})
        assert await publish.retry(arrived) == redis_client.xrange(KEY)[1][0].decode()
        for _ in range(2):
            with pytest.raises(ProducerFenced):
                await publish.retry(lost)
        with pytest.raises(ProducerFenced):
            await publish.one({"n": 4})
    assert numbers(redis_client) == [0, 1, 3]


def test_append_is_identified_by_producer_epoch_and_sequence(redis_client):
    first = append(redis_client, 1, Producer("p", 0, 5))
    assert append(redis_client, 1, Producer("p", 0, 5)) == first
    assert append(redis_client, 2, Producer("q", 0, 5)) != first
    assert append(redis_client, 3, Producer("p", 1, 5)) != first
    assert append(redis_client, 4, Producer("p", 0, 6)) != first
    assert numbers(redis_client) == [1, 2, 3, 4]


def test_state_of_a_deleted_stream_is_ignored(redis_client):
    """The state refers to an entry that is missing in the stream."""
    append(redis_client, 1, Producer("p", 0, 5))
    redis_client.delete(KEY)
    append(redis_client, 1, Producer("p", 0, 5))
    assert numbers(redis_client) == [1]


def test_ids_are_greater_than_the_last_acknowledged_id(redis_client):
    """This holds after a loss with a rewound clock, and after a loss within a millisecond."""
    ahead = (redis_client.time()[0] + 3600) * 1000
    _, last = append(redis_client, 1, Producer("p", 0, 1), floor=f"{ahead}-7")
    assert last == f"{ahead}-8"
    redis_client.xadd(KEY, {"x": 1})
    redis_client.flushall()
    redis_client.xadd(KEY, {"data": '{"n":2}'})
    assert append(redis_client, 3, Producer("q", 0, 1), floor=last)[1] == f"{ahead}-9"
    for n in range(300):
        known = append(redis_client, n, Producer("r", 0, n + 1))[1]
        redis_client.flushall()
        fresh = append(redis_client, n, Producer("s", 0, n + 1), floor=known)[1]
        assert tuple(map(int, fresh.split("-"))) > tuple(map(int, known.split("-")))
        redis_client.flushall()
