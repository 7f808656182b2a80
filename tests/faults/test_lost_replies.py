"""Lost commands and replies: after the call or its retry, the event is in the log once."""

import asyncio

import pytest

from events.exceptions import RedisCommandError, RedisUnavailable
from tests.faults.clients import KINDS, awaited, numbers, publishing, retried, stream
from tests.faults.proxy import Act

FAULTS = [act for act in Act if act is not Act.PASS]


@pytest.fixture(params=["sync", "async"])
def which(request):
    return request.param


@pytest.mark.parametrize("method", ["one", "many"])
async def test_equal_content_after_a_lost_reply_is_a_new_event(proxy, redis_client, which, method):
    """The first publish raises but is appended. Its sequence identifies it, not its content."""
    async with publishing(which, proxy.port) as publish:
        proxy.plan(*[Act.LOST_AFTER] * 4)
        error = await publish.failed(*([{"n": 0}] if method == "one" else [[{"n": 0}, {"n": 0}]]),
                                     method=method)  # fmt: skip
        event = {"n": 0} if method == "one" else [{"n": 0}, {"n": 0}]
        later = [await getattr(publish, method)(event) for _ in range(2)]
        first = await publish.retry(error)
    ids = [first, *later] if method == "one" else [*first, *later[0], *later[1]]
    assert len(set(ids)) == len(ids)
    assert stream(redis_client) == [(event_id, 0) for event_id in ids]


async def test_acknowledged_events_with_equal_content_are_kept(proxy, redis_client, which):
    """Some of the events fail and are not retried."""
    acknowledged = []
    async with publishing(which, proxy.port, "no-retries") as publish:
        for round_ in range(9):
            if round_ % 3 == 0:
                proxy.plan(*[Act.LOST_AFTER] * 4)
            try:
                acknowledged.append(await publish.one({"n": 0}))
            except RedisUnavailable:
                continue
    assert len(acknowledged) == len(set(acknowledged)) == 6
    ids = [event_id for event_id, _ in stream(redis_client)]
    assert set(acknowledged) < set(ids)
    assert len(ids) == 9


@pytest.mark.parametrize("act", FAULTS)
@pytest.mark.parametrize(("which", "method"), [("sync", "one"), ("async", "many")])
async def test_fault_in_first_and_later_commands(proxy, redis_client, which, method, act):
    """Faults in the first call of a client and later ones, in calls of one and two commands."""
    expected = []
    async with publishing(which, proxy.port) as publish:
        for n, acts in enumerate([(act,), (Act.PASS, act), (act, act)]):
            if n < 2:
                redis_client.script_flush()
            proxy.plan(*acts)
            ids, _ = await publish.until_acknowledged(method, 10 * n)
            expected += zip(ids, range(10 * n, 10 * n + 3), strict=False)
    assert stream(redis_client) == expected
    assert len(expected) == (3 if method == "one" else 9)


@pytest.mark.parametrize("kind", KINDS)
async def test_kinds_of_clients(proxy, redis_client, which, kind):
    async with publishing(which, proxy.port, kind) as publish:
        await publish.one({"n": 0})
        proxy.plan(Act.LOST_AFTER)
        await publish.until_acknowledged("one", 1)
        proxy.plan(Act.HALF)
        await publish.until_acknowledged("many", 2)
        proxy.plan(*[Act.LOST_AFTER] * 4)
        error = await publish.failed({"n": 5})
        await publish.retry(error)
    assert numbers(redis_client) == [0, 1, 2, 3, 4, 5]


async def test_consecutive_lost_replies(proxy, redis_client, which):
    async with publishing(which, proxy.port) as publish:
        proxy.plan(*[Act.LOST_AFTER] * 11)
        ids, retries = await publish.until_acknowledged("many", 0)
        assert proxy.pending() == 0
        assert retries > 0
    assert [entry_id for entry_id, _ in stream(redis_client)] == ids


async def test_refused_connections(proxy, redis_client, which):
    """Connections are refused before the first command and after a lost reply."""
    async with publishing(which, proxy.port, "no-retries") as publish:
        proxy.refuse(6)
        _, retries = await publish.until_acknowledged("one", 0)
        assert retries > 0
        proxy.plan(Act.LOST_AFTER)
        proxy.refuse(6)
        await publish.until_acknowledged("one", 1)
    assert numbers(redis_client) == [0, 1]


async def test_concurrent_calls_with_equal_content_are_two_events(proxy, redis_client, which):
    """Both replies are lost and both callers retry."""
    async with publishing(which, proxy.port) as publish:
        proxy.plan(*[Act.LOST_AFTER] * 8)
        calls = [retried(lambda: publish.one({"n": 7}), publish.publisher) for _ in range(2)]
        outcomes = await asyncio.gather(*calls)
    assert sorted(stream(redis_client)) == sorted((ids[0], 7) for ids, _ in outcomes)
    assert len(stream(redis_client)) == 2


@pytest.mark.parametrize("act", [Act.LOST_AFTER, Act.LOST_BEFORE])
async def test_retry_while_redis_is_full(proxy, redis_client, which, act):
    """An append that arrived is acknowledged. A lost one is refused and may be retried again."""
    async with publishing(which, proxy.port) as publish:
        proxy.plan(*[act] * 4)
        error = await publish.failed({"n": 0})
        redis_client.config_set("maxmemory", 1)
        try:
            (reply,) = await asyncio.gather(publish.retry(error), return_exceptions=True)
        finally:
            redis_client.config_set("maxmemory", 0)
        assert isinstance(reply, str if act is Act.LOST_AFTER else RedisCommandError)
        event_id = await publish.retry(error)
    assert stream(redis_client) == [(event_id, 0)]


async def test_late_attempt_after_an_out_of_memory_error(proxy, redis_client, which):
    """The error leaves the outcome of the first attempt open, which arrives later."""
    async with publishing(which, proxy.port) as publish:
        await publish.one({"n": 0})
        proxy.plan(Act.HELD, Act.PASS)
        redis_client.config_set("maxmemory", 1)
        try:
            error = await publish.failed({"n": 1})
        finally:
            redis_client.config_set("maxmemory", 0)
        assert "out of memory" in str(error)
        proxy.release()
        assert await publish.retry(error) == stream(redis_client)[-1][0]
    assert numbers(redis_client) == [0, 1]


async def test_failed_retry_can_be_retried(proxy, redis_client, which):
    async with publishing(which, proxy.port, "no-retries") as publish:
        proxy.plan(*[Act.LOST_AFTER] * 4)
        error = await publish.failed([{"n": 0}, {"n": 1}], method="many")
        for _ in range(3):
            proxy.refuse(4)
            with pytest.raises(RedisUnavailable) as caught:
                await publish.retry(error)
            error = caught.value
            proxy.refuse(0)
        ids = await publish.retry(error)
        assert await publish.retry(error) == ids
    assert stream(redis_client) == [(ids[0], 0), (ids[1], 1)]


async def test_flushed_scripts_during_retries(proxy, redis_client, which):
    async with publishing(which, proxy.port) as publish:
        for n in range(0, 18, 3):
            redis_client.script_flush()
            proxy.plan(*[Act.LOST_AFTER, Act.PASS, Act.HALF][: n % 4])
            await publish.until_acknowledged("many", n)
    assert numbers(redis_client) == list(range(18))


@pytest.mark.parametrize("act", FAULTS)
async def test_idempotency_key_identifies_a_repeated_call(proxy, redis_client, which, act):
    """The caller repeats the call instead of retrying it, like another process."""
    async with publishing(which, proxy.port) as publish:
        for n in range(0, 30, 10):
            proxy.plan(*[act] * 4)
            ids = None
            while ids is None:
                try:
                    ids = await publish.numbers("many", n, idempotency_key=f"key {n}")
                except RedisUnavailable:
                    continue
            proxy.release()
            assert await publish.numbers("many", n, idempotency_key=f"key {n}") == ids
    assert numbers(redis_client) == [0, 1, 2, 10, 11, 12, 20, 21, 22]


async def test_failed_reads_cannot_be_retried(proxy, which):
    async with publishing(which, proxy.port, "no-retries") as publish:
        proxy.refuse(9)
        with pytest.raises(RedisUnavailable) as caught:
            await awaited(publish.publisher.get_stream_length("abc"))
        assert caught.value.pending is None
        with pytest.raises(TypeError, match="`pending`"):
            await publish.retry(caught.value)
