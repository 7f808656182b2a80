"""A cluster whose slots move, and whose masters fail, while it is used."""

import asyncio
import threading
from collections import Counter
from contextlib import closing, contextmanager
from datetime import timedelta
from time import monotonic, sleep
from types import SimpleNamespace

import pytest
import redis
import redis.asyncio

from events.archive.archiver import Archiver
from events.exceptions import EventsError, RedisUnavailable
from events.history import read_events
from events.live import follow
from events.models import ArchiveCheckpoint
from events.outbox import writer
from events.publisher import RedisStreamPublisher, SyncRedisStreamPublisher, get_publisher
from events.streams.clients import close_async_redis, get_async_redis, get_redis
from events.streams.cluster import node_of
from events.streams.keys import StreamKeys
from events.streams.memory import read_memory
from events.streams.pubsub import ChannelSubscription
from events.types import Event
from tests.faults.loss import JOB, KEY, STATE, LogFollower, World
from tests.integration.events.test_mirror import Listener
from tests.integration.events.transfer.test_pubsub_bridge import (
    bridges,
    check_bridges_after_failure,
    send,
    wait_for,
    wait_for_numbers,
)
from tests.support.redis_nodes import cluster, wait_until

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.redis,
    pytest.mark.extended,
    pytest.mark.timeout(90),
]

target: dict = {}


def create(asynchronous):
    module = redis.asyncio if asynchronous else redis
    options = {"socket_timeout": 1, "socket_connect_timeout": 1}
    return module.RedisCluster(host="127.0.0.1", port=target["port"], **options)


@pytest.fixture
def start(short_tmp, settings, monkeypatch):
    """Start a cluster and configure it."""
    monkeypatch.setattr("events.outbox.relay.MIN_AGE", timedelta())
    contexts = []

    def start(**options):
        contexts.append(cluster(short_tmp, down_after=1, **options))
        nodes = contexts[0].__enter__()
        target["port"] = nodes.masters[0].port
        settings.JOB_EVENTS = {
            **settings.JOB_EVENTS,
            "REDIS_URL": f"redis://127.0.0.1:{target['port']}",
            "REDIS_CLIENT_FACTORY": f"{__name__}.create",
            "REDIS_TIMEOUT": 2,
            "STREAM_TAIL": 3,
            "KEEP_ALIVE": 0.2,
        }
        writer.redis_breaker.record_success()
        return nodes

    yield start
    get_redis().close()
    writer.redis_breaker.record_success()
    contexts[0].__exit__(None, None, None)


def publish(world, which):
    """Publish an event; retry while its outcome is unknown."""
    event = {"event_type": "step", "n": world.next()}
    if which == "sync":
        return retried(get_publisher(), lambda publisher: publisher.publish_event(JOB, event))
    return asyncio.run(publish_async(event))


async def publish_async(event):
    publisher = RedisStreamPublisher(get_async_redis())
    try:
        return await publisher.publish_event(JOB, event)
    except RedisUnavailable as error:
        return await publisher.retry(error.pending)
    finally:
        await close_async_redis()


def retried(publisher, call):
    deadline = monotonic() + 20
    while True:
        try:
            return call(publisher)
        except RedisUnavailable as error:
            assert monotonic() < deadline
            pending = error.pending
            call = lambda publisher, pending=pending: publisher.retry(pending)  # noqa: E731
            sleep(0.1)


def stalled():
    return list(ArchiveCheckpoint.objects.exclude(error="").values_list("error", flat=True))


def test_jobs_of_all_nodes(start):
    start()
    jobs = [f"job{number}" for number in range(60)]
    publisher = get_publisher()
    assert len({node_of(get_redis(), f"job_events:{job}").name for job in jobs}) == 3
    received = Counter()

    async def read(job):
        async for message in follow(job):
            if isinstance(message, Event):
                received[job] += 1
                if received[job] == 4:
                    return

    async def main():
        async with asyncio.timeout(20):
            readers = [asyncio.create_task(read(job)) for job in jobs]
            async_publisher = RedisStreamPublisher(get_async_redis())
            await asyncio.gather(*[async_publisher.publish_event(job, {"n": 0}) for job in jobs])
            await asyncio.to_thread(publish_all)
            await asyncio.gather(*readers)
        await close_async_redis()

    def publish_all():
        for job in jobs:
            publisher.publish_event(job, {"n": 1})
            publisher.publish_events(job, [{"n": 2}, {"n": 3}])

    asyncio.run(main())
    archiver = Archiver()
    while archiver.step():
        pass
    for job in jobs:
        assert [event.data["n"] for event in read_events(job)] == [0, 1, 2, 3]
    assert ArchiveCheckpoint.objects.exclude(position=None).count() == 60


@pytest.mark.parametrize("which", ["sync", "async"])
def test_slot_moves(start, which):
    nodes, world = start(), World()
    world.commit(2)
    publish(world, which)
    with LogFollower() as follower:
        follower.wait_for(3)
        source, destination = nodes.start_migration(KEY)
        publish(world, which)
        world.commit()
        nodes.move_keys(source, destination, KEY, STATE)
        publish(world, which)
        world.commit()
        world.archive()
        follower.wait_for(7)  # before the end of the migration
        nodes.end_migration(KEY, source, destination)
        publish(world, which)
        world.commit()
        follower.wait_for(9)
        world.finish(follower)
    assert follower.resets == []
    assert stalled() == []


def test_publisher_waits_while_one_of_two_keys_has_moved(start):
    nodes, world = start(), World()
    publish(world, "sync")
    source, destination = nodes.start_migration(KEY)
    nodes.move_keys(source, destination, KEY)
    timer = threading.Timer(0.3, nodes.move_keys, (source, destination, STATE))
    timer.start()
    publish(world, "sync")
    world.commit()
    timer.join()
    nodes.end_migration(KEY, source, destination)
    world.finish()


@contextmanager
def followed_log(start):
    """A log of two events with a follower; its master, whose replica has them, and the replica.

    A failover loses the writes that the replica has not received.
    """
    nodes, world = start(masters=3, replicas=3), World()
    world.commit()
    publish(world, "sync")
    with LogFollower() as follower:
        follower.wait_for(2)
        old = nodes.owner(KEY)
        new = nodes.replicas[nodes.masters.index(old)]
        written = old.client.info("replication")["master_repl_offset"]
        wait_until(lambda: new.client.info("replication")["slave_repl_offset"] >= written)
        yield SimpleNamespace(nodes=nodes, world=world, follower=follower, old=old, new=new)


def test_master_is_replaced_while_it_runs(start):
    with followed_log(start) as log:
        log.nodes.command(log.new, "FAILOVER", "TAKEOVER")
        wait_until(lambda: log.new.client.info("replication")["role"] == "master")
        for which in ("sync", "async"):
            publish(log.world, which)
            log.world.commit()
        log.world.archive()
        log.follower.wait_for(6)
        log.world.finish(log.follower)
    assert log.follower.resets == []
    assert stalled() == []


def test_master_dies(start):
    with followed_log(start) as log:
        log.old.server.kill()
        log.world.commit()
        with pytest.raises(RedisUnavailable):
            Archiver().step()
        publish(log.world, "sync")
        publish(log.world, "async")
        assert log.new.client.info("replication")["role"] == "master"
        log.follower.wait_for(4)
        writer.redis_breaker.record_success()
        log.world.commit()
        log.world.finish(log.follower)
    assert stalled() == []


def test_all_masters_die(start):
    nodes, world = start(), World()
    publish(world, "sync")
    for node in nodes.masters:
        node.server.kill()
    for step in (Archiver().step, lambda: read_memory(get_redis())):
        with pytest.raises(RedisUnavailable):
            step()


def test_client_of_one_node(start):
    nodes = start()
    for node in nodes.masters:
        if node is not nodes.owner(KEY):
            with pytest.raises(RedisUnavailable, match="needs a client of a cluster"):
                SyncRedisStreamPublisher(node.client).publish_event(JOB, {})


def test_clients_of_users(start):
    nodes = start()

    async def publish():
        client = redis.asyncio.RedisCluster(host="127.0.0.1", port=nodes.masters[1].port)
        publisher = RedisStreamPublisher(client)
        ids = [await publisher.publish_event(JOB, {"n": 1})]
        ids += await publisher.publish_events(JOB, [{"n": 2}, {"n": 3}])
        assert await publisher.get_stream_length(JOB) == 3
        await client.aclose()
        return ids

    ids = asyncio.run(publish())
    client = redis.RedisCluster(host="127.0.0.1", port=nodes.masters[2].port)
    ids += [SyncRedisStreamPublisher(client).publish_event(JOB, {"n": 4})]
    client.close()
    assert [event.id for event in read_events(JOB)] == ids


JOBS = [f"job-{n}" for n in range(8)]


def send_to_all(first, end):
    for n in range(first, end):
        for job_id in JOBS:
            send({"n": n}, job_id=job_id)


def test_bridges_that_join_and_leave(start):
    """All of them subscribe at one node, so that they receive one order."""
    start()
    with bridges() as (first,):
        send_to_all(0, 50)
        with bridges(2) as others:
            send_to_all(50, 100)
            first.stop()
            send_to_all(100, 150)
            for job_id in JOBS:
                wait_for_numbers([*range(150)], job_id)
            assert {len(each.bridge._numbers) for each in others} == {len(JOBS)}


def test_events_are_mirrored_to_listeners_at_all_nodes(start, settings):
    nodes = start()
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "MIRROR_PUBSUB": True}
    listeners = [Listener(node.client, JOB) for node in nodes.masters]
    with bridges(2) as running:
        for n in range(20):
            get_publisher().publish_event(JOB, {"n": n})
        for listener in listeners:
            assert [each["data"]["n"] for each in listener.received(20)] == [*range(20)]
            listener.close()
        wait_for(lambda: all(each.count.get("mirrored") == 20 for each in running))
    wait_for_numbers([*range(20)], JOB)


def test_node_of_the_bridges_dies(start):
    nodes = start(replicas=3)
    with bridges(2):
        send({"n": 0})
        wait_for_numbers([0])
        nodes.owner(StreamKeys("job_events:").markers).server.kill()
        check_bridges_after_failure(30)


def test_subscription_finds_the_new_master(start):
    """The process sends nothing else, from which the client would learn where it is."""
    nodes = start(replicas=3)
    client, _ = create(asynchronous=False), get_redis()
    owner = nodes.owner(StreamKeys("job_events:").markers)
    ChannelSubscription(client).close()
    owner.server.kill()
    wait_until(lambda: any(map(is_master, nodes.replicas)))
    wait_until(lambda: can_subscribe(client))
    client.close()


def is_master(node):
    return node.client.info("replication")["role"] == "master"


def can_subscribe(client):
    try:
        with closing(ChannelSubscription(client)) as subscription:
            return subscription.receive(1) or subscription.receive(1)
    except EventsError:
        return False
