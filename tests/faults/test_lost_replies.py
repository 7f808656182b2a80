"""Whatever happens to a command or to its reply: after the call the event is there once."""

import asyncio

import pytest

from events.exceptions import RedisCommandError, RedisUnavailable
from tests.faults.clients import KINDS, numbers, publishing, stream
from tests.faults.proxy import Act

WHICH = ("sync", "async")
FAULTS = [act for act in Act if act is not Act.PASS]


@pytest.fixture(params=WHICH)
def which(request):
    return request.param


@pytest.mark.parametrize("act", FAULTS)
@pytest.mark.parametrize(("which", "method"), [("sync", "one"), ("async", "many")])
async def test_each_fault_in_each_place(proxy, redis_client, which, method, act):
    """In the first call of a client, and later; where a call is one command, and where two."""
    expected = []
    async with publishing(which, proxy.port) as publish:
        for n, acts in enumerate([(act,), (Act.PASS, act), (act, act)]):
            if n < 2:
                redis_client.script_flush()
            proxy.plan(*acts)
            ids, _ = await publish.until_answered(method, 10 * n)
            expected += zip(ids, range(10 * n, 10 * n + 3), strict=False)
    assert stream(redis_client) == expected
    assert len(expected) == (3 if method == "one" else 9)


@pytest.mark.parametrize("kind", KINDS)
async def test_each_kind_of_client(proxy, redis_client, which, kind):
    async with publishing(which, proxy.port, kind) as publish:
        await publish.one({"n": 0})
        proxy.plan(Act.LOST_AFTER)
        await publish.until_answered("one", 1)
        proxy.plan(Act.HALF)
        await publish.until_answered("many", 2)
    assert numbers(redis_client) == [0, 1, 2, 3, 4]


async def test_eleven_lost_replies_in_a_row(proxy, redis_client, which):
    async with publishing(which, proxy.port) as publish:
        proxy.plan(*[Act.LOST_AFTER] * 11)
        ids, attempts = await publish.until_answered("many", 0)
        assert proxy.pending() == 0
        assert attempts > 0
    assert [entry_id for entry_id, _ in stream(redis_client)] == ids


async def test_connections_that_are_refused(proxy, redis_client, which):
    """Before the first word, and after each lost reply: what can't be sent is not there twice."""
    async with publishing(which, proxy.port, "no-retries") as publish:
        proxy.refuse(6)
        await publish.until_answered("one", 0)
        proxy.plan(Act.LOST_AFTER)
        proxy.refuse(6)
        await publish.until_answered("one", 1)
    assert numbers(redis_client) == [0, 1]


async def test_the_same_content_is_told_apart(proxy, redis_client, which):
    """Two callers publish what looks alike, both replies are lost, and both try again."""
    same = {"n": 7}
    async with publishing(which, proxy.port) as publish:
        proxy.plan(*[Act.LOST_AFTER] * 8)
        first = await asyncio.gather(publish.one(same), publish.one(same), return_exceptions=True)
        lost = sum(isinstance(outcome, Exception) for outcome in first)
        for _ in range(lost):
            await publish.until_answered_as(same)
    assert numbers(redis_client) == [7, 7]


async def test_a_repeat_after_an_answer_is_a_new_event(proxy, redis_client, which):
    async with publishing(which, proxy.port) as publish:
        proxy.plan(*[Act.LOST_AFTER] * 5)
        await publish.until_answered("one", 0)
        await publish.one({"n": 0})
    assert numbers(redis_client) == [0, 0]


@pytest.mark.parametrize("act", [Act.LOST_AFTER, Act.LOST_BEFORE])
async def test_redis_is_full_when_the_call_is_repeated(proxy, redis_client, which, act):
    """What became of it can't be written down: that is told, and the next repeat finds out."""
    async with publishing(which, proxy.port) as publish:
        proxy.plan(*[act] * 4)
        with pytest.raises(RedisUnavailable):
            await publish.one({"n": 0})
        redis_client.config_set("maxmemory", 1)
        try:
            (answer,) = await asyncio.gather(publish.one({"n": 0}), return_exceptions=True)
        finally:
            redis_client.config_set("maxmemory", 0)
        assert isinstance(answer, str if act is Act.LOST_AFTER else RedisCommandError)
        if not isinstance(answer, str):
            await publish.one({"n": 0})
    assert numbers(redis_client) == [0]


async def test_what_became_of_a_call_is_asked_in_vain_first(proxy, redis_client, which):
    """Whoever asks is cut off as well: the call is not forgotten by that."""
    async with publishing(which, proxy.port, "no-retries") as publish:
        proxy.plan(*[Act.LOST_AFTER] * 4)
        with pytest.raises(RedisUnavailable):
            await publish.many([{"n": 0}, {"n": 1}])
        proxy.refuse(4)
        with pytest.raises(RedisUnavailable):
            await publish.many([{"n": 0}, {"n": 1}])
        proxy.refuse(0)
        ids = await publish.many([{"n": 0}, {"n": 1}])
    assert stream(redis_client) == [(ids[0], 0), (ids[1], 1)]


async def test_redis_forgets_its_scripts_in_the_middle(proxy, redis_client, which):
    async with publishing(which, proxy.port) as publish:
        for n in range(0, 18, 3):
            redis_client.script_flush()
            proxy.plan(*[Act.LOST_AFTER, Act.PASS, Act.HALF][: n % 4])
            await publish.until_answered("many", n)
    assert numbers(redis_client) == list(range(18))
