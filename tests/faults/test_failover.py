"""A replica becomes the primary; connections to the former primary stay open."""

import asyncio
import threading
from datetime import timedelta
from time import sleep

import pytest
from asgiref.sync import sync_to_async

from events.archive.archiver import Archiver
from events.erasure import delete_log, erase_log
from events.exceptions import RedisUnavailable
from events.history import aread_events, read_events
from events.history.reader import wait_for_events
from events.live.presence import mark_watched, seconds_since_watched
from events.models import ArchiveCheckpoint
from events.outbox import writer
from events.outbox.relay import Relay
from events.processor.status import get_status
from events.publisher import RedisStreamPublisher, get_publisher
from events.streams.clients import close_async_redis, get_async_redis, get_redis
from events.types import START
from tests.faults.clients import publishing
from tests.faults.loss import JOB, KEY, LogFollower, World
from tests.support.failover import failover_pair

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


@pytest.fixture
def pair(short_tmp, settings, monkeypatch):
    monkeypatch.setattr("events.outbox.relay.MIN_AGE", timedelta())
    with failover_pair(short_tmp) as pair:
        settings.JOB_EVENTS = {
            **settings.JOB_EVENTS,
            "REDIS_URL": pair.proxy.url,
            "REDIS_TIMEOUT": 1,
            "STREAM_TAIL": 3,
            "KEEP_ALIVE": 0.2,
        }
        writer.redis_breaker.record_success()
        yield pair
        writer.redis_breaker.record_success()


def stalled():
    return list(ArchiveCheckpoint.objects.exclude(error="").values_list("error", flat=True))


@pytest.mark.parametrize("kind", ["plain", "single", "blocking", "no-retries"])
@pytest.mark.parametrize("which", ["sync", "async"])
async def test_publisher_reconnects(pair, which, kind):
    async with publishing(which, pair.proxy.port, kind) as publishing_:
        ids = [await publishing_.one({"n": 1})]
        await asyncio.to_thread(pair.fail_over)
        ids += [await publishing_.one({"n": 2}), *await publishing_.many([{"n": 3}, {"n": 4}])]
        assert await publishing_.one({"n": 5}) > ids[-1]
        assert await awaited_length(publishing_) == 5
    assert pair.new.client.xlen(KEY) == 5


async def awaited_length(publishing_):
    result = publishing_.publisher.get_stream_length("abc")
    return await result if asyncio.iscoroutine(result) else result


@pytest.mark.parametrize("which", ["sync", "async"])
async def test_append_during_the_failover_can_be_retried(pair, which):
    async with publishing(which, pair.proxy.port) as publishing_:
        await publishing_.one({"n": 1})
        pair.stop_replication()
        await asyncio.to_thread(pair.demote)
        error = await publishing_.failed({"n": 2})
        pair.move()
        assert await publishing_.retry(error)
    assert pair.new.client.xlen(KEY) == 2


def test_steps_of_the_processor_fail_during_the_failover_and_stall_no_log(pair):
    world = World()
    world.commit(2)
    world.publish(5)
    Archiver().step()
    delete_log("deleted")
    pair.stop_replication()
    pair.demote()
    world.commit()
    get_status()
    steps = [Relay().step, lambda: erase_log("deleted-2"), lambda: mark_watched([JOB])]
    delete_log("deleted-2")
    for step in steps:
        with pytest.raises(RedisUnavailable):
            step()
    assert stalled() == []
    pair.move()
    writer.redis_breaker.record_success()
    for step in steps:
        step()
    world.commit()
    world.publish(400)  # enough to be trimmed
    world.finish()
    assert stalled() == []
    assert JOB in seconds_since_watched([JOB])
    assert not pair.new.client.exists("job_events:deleted-2")
    assert pair.new.client.xlen(KEY) < 400


def test_archiver_fails_during_the_failover_and_stalls_no_log(pair):
    world = World()
    world.publish(400)
    pair.new.replicate(pair.old)
    pair.stop_replication()
    pair.demote()
    with pytest.raises(RedisUnavailable):  # it trims
        Archiver().step()
    assert stalled() == []
    pair.move()
    world.finish()


@pytest.mark.parametrize("moves_first", [True, False], ids=["moved", "demoted"])
def test_follower_receives_events_of_the_new_primary(pair, moves_first):
    world = World()
    world.publish(2)
    with LogFollower() as follower:
        follower.wait_for(2)
        pair.stop_replication()
        if moves_first:
            pair.move()
        pair.demote()
        sleep(0.5)  # without the move, the follower may reconnect to the former primary
        pair.move()
        world.publish(2)
        follower.wait_for(4)
        world.finish(follower)
    assert follower.resets == []


def test_follower_leaves_a_former_primary_that_receives_no_more_data(pair):
    """It is demoted while no command is blocked, and its replication is broken."""
    world = World()
    world.publish(2)
    with LogFollower() as follower:
        follower.wait_for(2)
        with follower.paused():
            pair.stop_replication()
            pair.move()
            pair.old.client.replicaof("127.0.0.1", "1")
        world.publish(2)
        follower.wait_for(4)
        world.finish(follower)


def test_follower_is_reset_to_the_last_event_that_the_replica_received(pair):
    world = World()
    world.commit(2)
    world.publish(2)
    pair.new.replicate(pair.old)
    with LogFollower() as follower:
        follower.wait_for(4)
        pair.stop_replication()
        world.commit()
        world.publish(2)
        follower.wait_for(7)
        pair.move()
        pair.demote()
        get_redis().connection_pool.disconnect()  # else the former primary may be archived
        world.publish(1)
        world.finish(follower)
    assert len(follower.resets) == 1
    assert len(follower.events) == 6  # the transactional event is appended again


@pytest.mark.parametrize("which", ["sync", "async"])
async def test_history_is_not_read_from_a_former_primary_that_receives_no_more_data(
    pair, which, monkeypatch
):
    monkeypatch.setattr("events.streams.pinned.ROLE_SECONDS", 0.1)
    await asyncio.to_thread(get_publisher().publish_event, JOB, {"n": 1})

    async def read():
        if which == "async":
            return await aread_events(JOB)
        return await sync_to_async(read_events)(JOB)

    assert [event.data["n"] for event in await read()] == [1]
    pair.fail_over()
    pair.old.client.replicaof("127.0.0.1", "1")
    await asyncio.to_thread(pair.new.client.xadd, KEY, {"data": '{"n":2}'})
    await asyncio.sleep(0.2)
    assert [event.data["n"] for event in await read()] == [1, 2]


def test_wait_for_events_continues_on_the_new_primary(pair):
    outcome = []

    def wait():
        outcome.append(wait_for_events(JOB, after=START, seconds=10))

    thread = threading.Thread(target=wait)
    thread.start()
    sleep(0.2)
    pair.fail_over()
    get_publisher().publish_event(JOB, {"n": 1})
    thread.join(10)
    assert outcome == [True]
    assert [event.data["n"] for event in read_events(JOB)] == [1]


async def test_async_client_of_the_project_reconnects(pair):
    publisher = RedisStreamPublisher(get_async_redis())
    await publisher.publish_event(JOB, {"n": 1})
    await asyncio.to_thread(pair.fail_over)
    async with asyncio.timeout(6):
        await asyncio.gather(*[publisher.publish_event(f"abc{n}", {"n": n}) for n in range(50)])
    await close_async_redis()
