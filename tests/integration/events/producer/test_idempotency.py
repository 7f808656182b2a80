"""Idempotency keys of publish calls: one contract for both publishers."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis.asyncio

from events.exceptions import IdempotencyConflict, InvalidEvent, ProducerFenced
from events.publisher import RedisStreamPublisher, SyncRedisStreamPublisher, get_publisher
from events.streams import commands
from events.streams.clients import send_command
from events.types import Cursor

pytestmark = pytest.mark.redis

KEY, STATE = "job_events:abc", "{job_events:abc}:producers"
NOW = "2026-01-02T03:04:05+00:00"


@pytest.fixture(params=["sync", "async"])
async def publish(request, redis_client, redis_server):
    """Calls `publish_event` of a new publisher, or `publish_events` for a list."""
    async_client = redis.asyncio.Redis.from_url(redis_server.url)

    async def call(data, key, *, epoch=0, job_id="abc"):
        if request.param == "sync":
            publisher = SyncRedisStreamPublisher(redis_client, epoch=epoch)
        else:
            publisher = RedisStreamPublisher(async_client, epoch=epoch)
        method = publisher.publish_events if isinstance(data, list) else publisher.publish_event
        result = method(job_id, data, idempotency_key=key)
        return result if request.param == "sync" else await result

    yield call
    await async_client.aclose()
    await asyncio.sleep(0)


def numbers(client):
    return [json.loads(fields[b"data"])["n"] for _, fields in client.xrange(KEY)]


EVENTS = [{"n": 1}, {"n": 2}, {"n": 3, "event_type": "x", "timestamp": NOW}]


async def test_first_call_appends_and_later_ones_return_its_ids(publish, redis_client):
    event_id = await publish({"n": 0}, "a")
    ids = await publish(EVENTS, "b")
    assert [entry_id.decode() for entry_id, _ in redis_client.xrange(KEY)] == [event_id, *ids]
    get_publisher().publish_event("abc", {"n": 4})
    for _ in range(2):
        assert await publish({"n": 0}, "a") == event_id
        assert await publish(EVENTS, "b") == ids
    assert numbers(redis_client) == [0, 1, 2, 3, 4]


async def test_one_event_and_a_list_of_one_are_the_same_content(publish):
    event_id = await publish({"n": 0}, "a")
    assert await publish([{"n": 0}], "a") == [event_id]


async def test_key_is_shared_by_both_publishers(publish, redis_client):
    event_id = get_publisher().publish_event("abc", {"n": 0}, idempotency_key="a")
    assert await publish({"n": 0}, "a") == event_id


@pytest.mark.parametrize(
    "other",
    [
        {"n": 2}, {"n": 1, "m": 1}, {"n": 1, "event_type": "x"}, {"n": 1, "timestamp": NOW}, {},
        [{"n": 1}, {"n": 1}],
    ],
)  # fmt: skip
async def test_other_content_is_a_conflict(publish, redis_client, other):
    event_id = await publish({"n": 1}, "a")
    with pytest.raises(IdempotencyConflict):
        await publish(other, "a")
    assert numbers(redis_client) == [1]
    assert await publish({"n": 1}, "a") == event_id


async def test_generated_timestamp_is_not_content(publish, redis_client):
    event_id = await publish({"n": 1}, "a")
    await asyncio.sleep(0.001)
    assert await publish({"n": 1, "event_type": "unknown"}, "a") == event_id
    first = await publish({"n": 2, "timestamp": NOW}, "b")
    assert await publish({"n": 2, "timestamp": NOW}, "b") == first
    with pytest.raises(IdempotencyConflict):
        await publish({"n": 2}, "b")


async def test_key_belongs_to_one_job(publish, redis_client):
    await publish({"n": 1}, "a")
    await publish({"n": 2}, "a", job_id="other")
    assert redis_client.xlen("job_events:other") == 1


@pytest.mark.parametrize("key", ["", "x" * 201, 5, b"a", True])
async def test_invalid_key(publish, redis_client, key):
    with pytest.raises(InvalidEvent, match="idempotency_key"):
        await publish({"n": 1}, key)
    with pytest.raises(ValueError, match="1 to 200 characters"):
        await publish(EVENTS, key)
    assert redis_client.dbsize() == 0


@pytest.mark.parametrize("key", ["x", "x" * 200, "\x00", " ", "\ud800", "ü🎉" * 100, "a:b"])
async def test_any_text_is_a_key(publish, redis_client, key):
    event_id = await publish({"n": 1}, key)
    assert await publish({"n": 1}, key) == event_id
    assert await publish({"n": 1}, key[:-1] + "?") != event_id


async def test_empty_list_does_not_use_the_key(publish, redis_client):
    assert await publish([], "a") == []
    await publish({"n": 1}, "a")
    assert numbers(redis_client) == [1]


async def test_typed_methods_treat_the_key_as_event_data(publish, redis_client):
    for _ in range(2):
        get_publisher().publish_task_started("abc", "x", idempotency_key="a")
    data = [json.loads(fields[b"data"]) for _, fields in redis_client.xrange(KEY)]
    assert [each["idempotency_key"] for each in data] == ["a", "a"]


async def test_key_is_the_same_at_every_attempt(publish, redis_client):
    """A repeated call returns its ids before fencing; a new key of an old attempt is fenced."""
    event_id = await publish({"n": 1}, "a", epoch=1)
    await publish({"n": 2}, "b", epoch=2)
    assert await publish({"n": 1}, "a", epoch=2) == event_id
    assert await publish({"n": 1}, "a", epoch=1) == event_id
    with pytest.raises(ProducerFenced):
        await publish({"n": 3}, "c", epoch=1)
    assert redis_client.hget(STATE, "epoch") == b"2"
    assert numbers(redis_client) == [1, 2]


async def test_keys_of_trimmed_entries(publish, redis_client):
    event_id, ids = await publish({"n": 0}, "a"), await publish(EVENTS, "b")
    get_publisher().publish_events("abc", [{"n": n} for n in range(300)])
    last = redis_client.xrevrange(KEY, count=1)[0][0].decode()
    command = commands.trim((KEY, STATE), Cursor.parse(last))
    assert send_command(redis_client, command) > 4
    assert await publish({"n": 0}, "a") == event_id
    assert await publish(EVENTS, "b") == ids
    with pytest.raises(IdempotencyConflict):
        await publish({"n": 1}, "a")


async def test_keys_after_eviction_of_the_state(publish, redis_client):
    """Keys and digests are restored from the entries of all epochs."""
    event_id, ids = await publish({"n": 0}, "a", epoch=3), await publish(EVENTS, "b")
    redis_client.delete(STATE)
    assert await publish({"n": 0}, "a") == event_id
    redis_client.delete(STATE)
    with pytest.raises(IdempotencyConflict):
        await publish({"n": 1}, "b")
    assert await publish(EVENTS, "b") == ids
    with pytest.raises(ProducerFenced):
        await publish({"n": 5}, "c", epoch=2)
    assert numbers(redis_client) == [0, 1, 2, 3]


async def test_lost_events_can_be_published_again(publish, redis_client):
    await publish({"n": 0}, "a")
    redis_client.delete(KEY)
    await publish({"n": 1}, "a")
    redis_client.flushall()
    await publish({"n": 2}, "a")
    assert numbers(redis_client) == [2]


async def test_keys_are_kept_for_two_hours(publish, redis_client):
    """Older ones are removed when there are more than 256."""
    now = redis_client.time()[0]
    await publish({"n": 0}, "a")
    old = {f"{n:016}": f"1 {(now - 7300) * 1000}-{n} {n:016}" for n in range(500)}
    recent = {f"{n:016}": f"1 {(now - 7100) * 1000}-{n} {n:016}" for n in range(1000, 1100)}
    redis_client.hset(STATE, mapping={**old, **recent})
    await publish({"n": 1}, "b")
    assert redis_client.hlen(STATE) == 100 + 2 + 1  # including the field of the limit
    await publish({"n": 0}, "a")
    assert numbers(redis_client) == [0, 1]


async def test_concurrent_calls_with_the_same_key(publish, redis_client, redis_server):
    """The calls are made by threads and tasks with both publishers."""
    client = redis.asyncio.Redis.from_url(redis_server.url)

    def in_thread(_):
        return get_publisher().publish_events("abc", EVENTS, idempotency_key="a")

    with ThreadPoolExecutor(8) as pool:
        loop = asyncio.get_running_loop()
        threads = [loop.run_in_executor(pool, in_thread, n) for n in range(20)]
        publisher = RedisStreamPublisher(client)
        tasks = [publisher.publish_events("abc", EVENTS, idempotency_key="a") for _ in range(20)]
        outcomes = await asyncio.gather(*threads, *tasks)
    await client.aclose()
    assert all(ids == outcomes[0] for ids in outcomes)
    assert numbers(redis_client) == [1, 2, 3]
