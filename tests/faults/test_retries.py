"""Retries after the stream was trimmed, archived, expired, deleted or wiped."""

import asyncio
import pickle
from time import monotonic

import pytest

from events.archive.archiver import Archiver
from events.exceptions import EventsError, RedisUnavailable, RetryExpired
from events.history import read_events
from events.producer import batch
from events.publisher import get_publisher
from events.streams import commands, scripts
from events.streams.clients import send_command
from events.types import Cursor
from tests.faults.clients import KEY, STATE, awaited, numbers, publishing, stream
from tests.faults.proxy import Act

KEYS = (KEY, STATE)
EVENTS = [{"n": 1}, {"n": 2}]


@pytest.fixture(params=["sync", "async"])
def which(request):
    return request.param


@pytest.fixture
async def failed(proxy, redis_client, which):
    """A publisher and the error of publishing EVENTS, which were appended."""
    async with publishing(which, proxy.port) as publish:
        await publish.one({"n": 0})
        proxy.plan(*[Act.LOST_AFTER] * 4)
        yield publish, await publish.failed(EVENTS, method="many")


def arrived(client):
    """Return the ids of EVENTS in the stream."""
    return [event_id for event_id, number in stream(client) if number in (1, 2)]


async def test_retry_after_trim_returns_the_ids(failed, redis_client):
    publish, error = failed
    ids = arrived(redis_client)
    last = get_publisher().publish_events("abc", [{"n": n} for n in range(10, 310)])[-1]
    assert send_command(redis_client, commands.trim(KEYS, Cursor.parse(last))) > 3
    assert await publish.retry(error) == ids
    assert not arrived(redis_client)


@pytest.mark.parametrize("later", [True, False], ids=["published-since", "not-since"])
async def test_retry_after_expiry_returns_the_ids(failed, redis_client, later):
    """The state expires after the retry period."""
    publish, error = failed
    ids = arrived(redis_client)
    command = commands.expire(KEYS, Cursor.parse(ids[-1]), 1)
    assert send_command(redis_client, command)
    await asyncio.sleep(0.01)
    assert not redis_client.exists(KEY)
    assert redis_client.ttl(STATE) > batch.RETRY_SECONDS
    if later:
        await publish.one({"n": 3})
        assert redis_client.ttl(STATE) == redis_client.ttl(KEY) == -1
    assert await publish.retry(error) == ids
    assert numbers(redis_client) == [3] * later


async def test_ids_after_expiry_are_greater_than_expired_ids(redis_client):
    """This holds even if the clock of Redis was rewound."""
    ahead = f"{(redis_client.time()[0] + 60) * 1000}-5"
    redis_client.xadd(KEY, {"data": "{}"}, id=ahead)
    assert send_command(redis_client, commands.expire(KEYS, Cursor.parse(ahead), 1))
    await asyncio.sleep(0.01)
    event_id = get_publisher().publish_event("abc", {"n": 1})
    assert Cursor.parse(event_id) > Cursor.parse(ahead)


async def test_retry_after_deletion_appends_again_once(failed, redis_client):
    publish, error = failed
    redis_client.delete(KEY)
    await publish.one({"n": 3})
    ids = await publish.retry(error)
    assert await publish.retry(error) == ids == arrived(redis_client)
    assert numbers(redis_client) == [3, 1, 2]


async def test_retry_after_burying_a_deleted_stream(failed, redis_client):
    publish, error = failed
    redis_client.delete(KEY)
    assert send_command(redis_client, scripts.BURY.call(KEYS, ()))
    assert redis_client.ttl(STATE) > batch.RETRY_SECONDS
    assert await publish.retry(error) == arrived(redis_client)


async def test_retry_after_wipe_appends_again(failed, redis_client):
    publish, error = failed
    redis_client.flushall()
    ids = await publish.retry(error)
    assert ids == arrived(redis_client)
    assert numbers(redis_client) == [1, 2]


@pytest.mark.django_db(transaction=True)
def test_archived_events_survive_a_wipe(redis_client):
    get_publisher().publish_events("abc", EVENTS)
    before = read_events("abc")
    while Archiver().step():
        pass
    get_publisher().publish_event("abc", {"n": 3})
    redis_client.flushall()
    assert read_events("abc") == before


async def test_wipe_between_retries_of_a_batch(proxy, redis_client):
    """Each caller receives the id of its own event."""
    async with publishing("async", proxy.port) as publish:
        await publish.one({"n": 0})
        proxy.plan(*[Act.LOST_AFTER] * 8)
        errors = await asyncio.gather(*[publish.one({"n": n}) for n in (1, 2, 3)],
                                      return_exceptions=True)  # fmt: skip
        proxy.plan()
        second = await publish.retry(errors[1])
        redis_client.flushall()
        ids = [await publish.retry(errors[2]), await publish.retry(errors[0])]
        assert await publish.retry(errors[1]) == second
    assert set(stream(redis_client)) <= {(ids[0], 3), (ids[1], 1), (second, 2)}


@pytest.mark.parametrize("acknowledged", [True, False])
async def test_retry_expires_after_an_hour(failed, redis_client, monkeypatch, proxy, acknowledged):
    publish, error = failed
    ids = await publish.retry(error) if acknowledged else None
    calls = proxy.calls
    now = monotonic()
    monkeypatch.setattr(batch, "monotonic", lambda: now + batch.RETRY_SECONDS + 1)
    if acknowledged:
        assert await publish.retry(error) == ids
    else:
        with pytest.raises(RetryExpired):
            await publish.retry(error)
    assert proxy.calls == calls
    monkeypatch.setattr(batch, "monotonic", lambda: now + batch.RETRY_SECONDS - 60)
    assert await publish.retry(error) == arrived(redis_client)
    assert numbers(redis_client) == [0, 1, 2]


async def test_failed_retry_does_not_extend_the_hour(failed, redis_client, monkeypatch, proxy):
    publish, error = failed
    now = monotonic()
    monkeypatch.setattr(batch, "monotonic", lambda: now + batch.RETRY_SECONDS - 60)
    proxy.plan(*[Act.LOST_BEFORE] * 4)
    with pytest.raises(RedisUnavailable) as caught:
        await publish.retry(error)
    monkeypatch.setattr(batch, "monotonic", lambda: now + batch.RETRY_SECONDS + 60)
    with pytest.raises(RetryExpired):
        await publish.retry(caught.value)


async def test_retry_does_not_lower_the_floor_of_new_ids(failed, redis_client):
    publish, error = failed
    ahead = (redis_client.time()[0] + 60) * 1000
    redis_client.xadd(KEY, {"data": '{"n":3}'}, id=f"{ahead}-0")
    last = await publish.one({"n": 4})
    assert Cursor.parse(last).ms == ahead
    await publish.retry(error)
    redis_client.flushall()
    assert Cursor.parse(await publish.one({"n": 5})) > Cursor.parse(last)


async def test_error_is_pickled_without_the_append(failed):
    _, error = failed
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == str(error)
    assert copy.pending is None


@pytest.mark.parametrize("pending", [None, "abc", object()])
async def test_retry_rejects_other_objects(failed, pending):
    publish, _ = failed
    with pytest.raises(TypeError, match="`pending`"):
        await awaited(publish.publisher.retry(pending))


async def test_failed_call_with_key_can_be_repeated_and_retried(proxy, redis_client, which):
    async with publishing(which, proxy.port) as publish:
        proxy.plan(*[Act.LOST_BEFORE] * 4)
        with pytest.raises(EventsError) as caught:
            await publish.many(EVENTS, idempotency_key="a")
        ids = await publish.many(EVENTS, idempotency_key="a")
        assert await publish.retry(caught.value) == ids
    assert stream(redis_client) == [(ids[0], 1), (ids[1], 2)]
