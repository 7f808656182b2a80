"""What Redis remembers of those who publish: enough, not for ever, and not without bound."""

import asyncio
import secrets
from concurrent.futures import ThreadPoolExecutor

import pytest
from asgiref.sync import sync_to_async

from events import outbox
from events.exceptions import ProducerFenced, RedisCommandError
from events.publisher import RedisStreamPublisher, SyncRedisStreamPublisher, get_publisher
from events.streams import commands, scripts
from events.streams.clients import send_command
from events.types import Producer
from tests.faults.clients import KEY, STATE, numbers, publishing, sync_client
from tests.faults.proxy import Act

KEYS = (KEY, STATE)


@pytest.fixture(params=["sync", "async"])
def which(request):
    return request.param


def append(client, number, producer, floor=""):
    data = b'{"n":%d}' % number
    command = commands.append(KEYS, producer, floor, "2026-01-02T03:04:05+00:00", "x", data)
    return [send_command(client, command).decode()] * 2


def test_many_publishers_of_a_client_are_few_producers(redis_client):
    for n in range(300):
        SyncRedisStreamPublisher(redis_client).publish_event("abc", {"n": n})
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: get_publisher().publish_event("abc", {"n": n}), range(300)))
    assert redis_client.hlen(STATE) <= 9


async def test_many_tasks_of_a_loop_are_one_producer(async_redis, redis_client):
    async def task(n):
        await RedisStreamPublisher(async_redis).publish_event("abc", {"n": n})

    await asyncio.gather(*map(task, range(300)))
    assert redis_client.hlen(STATE) == 1


def test_those_long_silent_are_forgotten(redis_client):
    """Ten thousand producers, all but the last hundred of them hours ago."""
    now = redis_client.time()[0]
    for age in range(10_000, 0, -1):
        if age == 100:
            old = {f"p{n}:0": f"7 {(now - 7200) * 1000}-{n}" for n in range(9_900)}
            redis_client.hset(STATE, mapping=old)
        if age <= 100:
            append(redis_client, age, Producer(f"new{age}", 0, 1))
    assert redis_client.hlen(STATE) <= 102
    assert redis_client.hexists(STATE, "new100:0")


def test_forgetting_costs_little_where_none_are_old(redis_client):
    for n in range(2_000):
        append(redis_client, n, Producer(f"p{n}", 0, 1))
    redis_client.config_resetstat()
    for n in range(2_000, 2_400):
        append(redis_client, n, Producer(f"p{n}", 0, 1))
    assert redis_client.info("commandstats").get("cmdstat_hgetall", {"calls": 0})["calls"] <= 1
    again = append(redis_client, 5, Producer("p5", 0, 1))
    assert again[1] == redis_client.xrange(KEY)[5][0].decode()


async def test_the_state_lost_between_two_tries(proxy, redis_client, which):
    """Evicted alone: the stream itself says what the producers appended last, and the epoch."""
    async with publishing(which, proxy.port) as publish:
        await publish.one({"n": 0})
        proxy.plan(*[Act.LOST_AFTER] * 4)
        with pytest.raises(Exception, match="did not answer"):
            await publish.many([{"n": 1}, {"n": 2}])
        redis_client.delete(STATE)
        ids = await publish.many([{"n": 1}, {"n": 2}])
        assert [entry_id.decode() for entry_id, _ in redis_client.xrange(KEY)][1:] == ids
    get_publisher(epoch=4).publish_event("abc", {"n": 3})
    redis_client.delete(STATE)
    with pytest.raises(ProducerFenced):
        get_publisher(epoch=3).publish_event("abc", {"n": 4})
    assert numbers(redis_client) == [0, 1, 2, 3]


@pytest.mark.django_db(transaction=True)
async def test_the_state_lost_before_a_transactional_event(proxy, redis_client, which):
    """Who finds it gone makes it anew of the stream, whichever way they publish."""
    async with publishing(which, proxy.port, epoch=2) as publish:
        await publish.one({"n": 0})
        proxy.plan(*[Act.LOST_AFTER] * 4)
        with pytest.raises(Exception, match="did not answer"):
            await publish.one({"n": 1})
        redis_client.delete(STATE)
        await sync_to_async(outbox.publish_event)("abc", {"n": 2})
        with pytest.raises(ProducerFenced):
            get_publisher(epoch=1).publish_event("abc", {"n": 3})
        await publish.one({"n": 1})
    assert numbers(redis_client) == [0, 1, 2]


async def test_what_was_cancelled_and_answered_is_not_kept(async_redis, redis_client):
    """Only by what it is known is remembered of it, for a minute."""
    publisher = RedisStreamPublisher(async_redis)
    await publisher.publish_event("abc", {"n": 0})
    for n in range(1, 9):
        task = asyncio.create_task(publisher.publish_event("abc", {"n": n, "text": "x" * 100_000}))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
    while len(numbers(redis_client)) < 9:  # noqa: ASYNC110 - nothing tells when it is so
        await asyncio.sleep(0.01)
    await publisher.publish_event("abc", {"n": 9})
    remembered = list(publisher._lines.running_loop().unsettled._calls)
    assert len(remembered) == 8
    assert sum(len(event[0]) for call in remembered for event in call.events) == 0


def test_connections_kept_after_many_threads_are_used(proxy, redis_client):
    """Those who come later, one by one, find the connections that are kept, not those without."""
    with sync_client(proxy.port) as client:
        publisher = SyncRedisStreamPublisher(client)
        with ThreadPoolExecutor(10) as pool:
            list(pool.map(lambda n: publisher.publish_event("abc", {"n": n}), range(200)))
        kept = {id(line.connection) for line in publisher._lines.of_process().lines} - {id(None)}
        assert len(kept) == 4
        lent = []
        client.connection_pool.get_connection = lambda: lent.append(1)
        for n in range(20):
            publisher.publish_event("abc", {"n": n})
        assert not lent


async def test_an_earlier_attempt_is_refused(proxy, redis_client, which):
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


async def test_what_was_appended_in_time_is_not_called_stale(proxy, redis_client, which):
    """A later attempt begins between the lost reply and the repeat."""
    async with publishing(which, proxy.port, epoch=1) as publish:
        await publish.one({"n": 0})
        proxy.plan(*[Act.LOST_AFTER] * 4)
        with pytest.raises(Exception, match="did not answer"):
            await publish.one({"n": 1})
        get_publisher(epoch=2).publish_event("abc", {"n": 2})
        await publish.one({"n": 1})
        with pytest.raises(ProducerFenced):
            await publish.one({"n": 3})
    assert numbers(redis_client) == [0, 1, 2]


def test_a_repeat_is_recognised_by_all_that_identifies_it(redis_client):
    first = append(redis_client, 1, Producer("p", 0, 5))
    assert append(redis_client, 1, Producer("p", 0, 5)) == first
    assert append(redis_client, 2, Producer("q", 0, 5)) != first
    assert append(redis_client, 3, Producer("p", 1, 5)) != first
    assert append(redis_client, 4, Producer("p", 0, 6)) != first
    assert numbers(redis_client) == [1, 2, 3, 4]


def test_what_was_given_up_is_refused(redis_client):
    producer = Producer("p", 0, 5)
    command = scripts.RESOLVE.call(KEYS, ("p", 0, 5, 1))
    assert not send_command(redis_client, command)
    with pytest.raises(RedisCommandError, match="given up"):
        append(redis_client, 1, producer)
    assert not send_command(redis_client, command)
    append(redis_client, 2, Producer(secrets.token_urlsafe(9), 0, 1))
    assert numbers(redis_client) == [2]


def test_a_stream_deleted_alone_is_begun_anew(redis_client):
    """The state says more than there is: it is not believed."""
    append(redis_client, 1, Producer("p", 0, 5))
    redis_client.delete(KEY)
    append(redis_client, 1, Producer("p", 0, 5))
    assert numbers(redis_client) == [1]


def test_ids_never_fall_below_what_the_publisher_knows(redis_client):
    """Redis' clock an hour back after a loss, and a loss within the same millisecond."""
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
