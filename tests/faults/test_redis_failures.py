"""A Redis process is killed, restarted from older files, paused, or out of memory."""

import asyncio
import os
import shutil
import signal
from contextlib import aclosing, contextmanager
from datetime import timedelta

import pytest
from django.db import transaction

from events import outbox
from events.archive.archiver import Archiver
from events.exceptions import RedisUnavailable
from events.history import read_events
from events.live import follow
from events.live.messages import KeepAlive
from events.models import ArchivedEvent
from events.outbox import writer
from events.publisher import RedisStreamPublisher, get_publisher
from events.streams.clients import get_redis
from events.testing.redis_server import EmbeddedRedis
from tests.faults.clients import async_client
from tests.faults.loss import JOB, KEY, STATE, LogFollower, World
from tests.faults.proxy import proxied

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


@pytest.fixture
def own_redis(short_tmp, settings, monkeypatch):
    """Redis of a single test, which may kill and restart it; its append-only file is kept."""
    server = EmbeddedRedis(short_tmp / "own", save="", appendfsync="no")
    server.start()
    settings.JOB_EVENTS = {
        **settings.JOB_EVENTS,
        "REDIS_URL": server.url,
        "REDIS_TIMEOUT": 0.5,
        "STREAM_TAIL": 3,
        "KEEP_ALIVE": 0.2,
    }
    monkeypatch.setattr("events.outbox.relay.MIN_AGE", timedelta())
    writer.redis_breaker.record_success()
    yield server
    server.kill()
    writer.redis_breaker.record_success()


@contextmanager
def rolled_back(server):
    """Restart Redis after the block from its files as they were before it."""
    files, kept = server.directory / "appendonlydir", server.directory / "kept"
    shutil.copytree(files, kept)
    yield
    server.kill()
    shutil.rmtree(files)
    shutil.move(kept, files)
    server.start()


@contextmanager
def stopped(server):
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.process.pid, signal.SIGCONT)


@pytest.mark.parametrize("archived", [False, True], ids=["pending", "archived"])
@pytest.mark.parametrize("loss", ["killed", "rolled-back", "wiped"])
def test_follower_converges_after_a_restart(own_redis, loss, archived):
    world = World()
    world.commit(2)
    world.publish(2)
    with LogFollower() as follower:
        follower.wait_for(4)
        if loss == "rolled-back":
            with rolled_back(own_redis):
                world.commit(2)
                if archived:
                    world.archive()
                follower.wait_for(6)
        else:
            world.commit(2)
            if archived:
                world.archive()
            own_redis.kill()
            world.commit()
            if loss == "wiped":
                shutil.rmtree(own_redis.directory / "appendonlydir")
            own_redis.start()
        world.commit()
        world.publish()
        world.finish(follower)


def test_slow_follower_converges_after_a_restart_from_a_snapshot(own_redis):
    """Its cursor is in the stream, the following events are only in the archive."""
    world = World()
    world.commit()
    with LogFollower() as follower:
        follower.wait_for(1)
        with follower.paused(), rolled_back(own_redis):
            world.commit(3)
            world.archive()
        world.publish()
        world.finish(follower)
    assert len(follower.events) == 5


def test_commit_returns_while_redis_hangs(own_redis):
    """No event is appended twice when Redis continues."""
    world = World()
    world.commit(2)
    publisher = get_publisher()
    with stopped(own_redis):
        world.commit()
        with pytest.raises(RedisUnavailable):
            publisher.publish_event("abc", {"event_type": "step", "n": 100})
        world.commit(2)
        with pytest.raises(RedisUnavailable):
            publisher.publish_event("abc", {"event_type": "step", "n": 100})
        with pytest.raises(RedisUnavailable):
            Archiver().step()
        with pytest.raises(RedisUnavailable):
            world.relay()
    publisher.publish_event("abc", {"event_type": "step", "n": 100})
    world.commit()
    whole = world.finish()
    assert [e.data["n"] for e in whole if "n" in e.data] == [100]


@pytest.mark.redis
@pytest.mark.extended
def test_concurrent_publishes_fail_while_redis_hangs(own_redis):
    """They fail in bounded time, and each event is appended at most once."""

    async def publish(port):
        async with async_client(port) as client:
            publisher = RedisStreamPublisher(client)
            return await asyncio.gather(
                *[publisher.publish_event("abc", {"n": n}) for n in range(20)],
                return_exceptions=True,
            )

    with proxied(own_redis.directory / "redis.sock") as proxy, stopped(own_redis):
        outcomes = asyncio.run(asyncio.wait_for(publish(proxy.port), 30))
    assert {type(outcome) for outcome in outcomes} == {RedisUnavailable}
    appended = [event.data["n"] for event in read_events("abc")]
    assert len(appended) == len(set(appended))


def test_outbox_is_relayed_after_an_outage(own_redis):
    world = World()
    world.commit()
    own_redis.kill()
    world.commit(3)
    with pytest.raises(RedisUnavailable):
        get_publisher().publish_event("abc", {})
    with transaction.atomic():
        outbox.publish_event("new", {"tx": 1})
    assert ArchivedEvent.objects.filter(event_id=None).count() == 5
    own_redis.start()
    world.finish()
    assert [event.data["tx"] for event in read_events("new")] == [1]


def test_full_redis_is_trimmed(own_redis):
    """One stream needs a repair, which fails without memory; the others are trimmed."""
    client = get_redis()
    ahead = (client.time()[0] + 3600) * 1000
    client.xadd(KEY, {"data": '{"n":1}'}, id=f"{ahead}-0")
    Archiver().step()
    client.delete(KEY, STATE)
    client.xadd(KEY, {"data": '{"n":2}'})
    get_publisher().publish_events("big", [{"x": "y" * 100, "n": n} for n in range(3000)])
    client.config_set("maxmemory", 1)
    archiver = Archiver()
    while archiver.step():
        pass
    assert client.xlen("job_events:big") < 300
    client.config_set("maxmemory", 0)
    for _ in range(3):
        Archiver().step()
    assert [event.data["n"] for event in read_events("abc")] == [1, 2]
    assert len(read_events("big", limit=5000)) == 3000


async def test_keep_alives_pause_while_redis_is_down(own_redis):
    """A client that receives none reconnects, and says so to its user."""
    received = []

    async def collect():
        async with aclosing(follow(JOB, completion=None)) as messages:
            async for message in messages:
                received.append(type(message))  # noqa: PERF401 - read while it grows

    async def wait_for_keep_alive():
        received.clear()
        async with asyncio.timeout(30):
            while KeepAlive not in received:  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    collecting = asyncio.create_task(collect())
    try:
        await wait_for_keep_alive()
        own_redis.kill()
        await asyncio.sleep(1)
        received.clear()
        await asyncio.sleep(1)
        assert received == []
        own_redis.start()
        await wait_for_keep_alive()
    finally:
        collecting.cancel()
        await asyncio.wait([collecting])
