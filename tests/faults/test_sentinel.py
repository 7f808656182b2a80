"""Sentinel replaces a primary that dies while events are published."""

import asyncio
import threading
from datetime import timedelta
from time import monotonic, sleep

import pytest
import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from events.archive.archiver import Archiver
from events.exceptions import EventsError, RedisUnavailable
from events.outbox import writer
from events.publisher import RedisStreamPublisher, get_publisher
from events.streams.clients import close_async_redis, get_async_redis, get_redis
from tests.faults.loss import JOB, LogFollower, World
from tests.integration.events.transfer.test_pubsub_bridge import (
    bridges,
    check_bridges_after_failure,
    send,
    wait_for_numbers,
)
from tests.support.redis_nodes import SERVICE, nodes, sentinel, wait_until

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.redis,
    pytest.mark.extended,
    pytest.mark.timeout(90),
]

RECOVERY_SECONDS = 30
target: dict = {}


def create(asynchronous):
    module = redis.asyncio if asynchronous else redis
    retry = (AsyncRetry if asynchronous else Retry)(NoBackoff(), 0)
    options = {"socket_timeout": 1, "socket_connect_timeout": 1}
    service = module.Sentinel([("127.0.0.1", target["port"])], **options)
    return service.master_for(SERVICE, retry=retry, **options)


@pytest.fixture
def service(short_tmp, settings, monkeypatch):
    """The primary, the replica, and a client of the Sentinel."""
    monkeypatch.setattr("events.outbox.relay.MIN_AGE", timedelta())
    with nodes(short_tmp, 2) as (primary, replica):
        replica.replicate(primary)
        with sentinel(short_tmp / "sentinel", primary, down_after=0.5) as watching:
            target["port"] = watching.get_connection_kwargs()["port"]
            settings.JOB_EVENTS = {
                **settings.JOB_EVENTS,
                "REDIS_URL": f"redis://127.0.0.1:{primary.port}",
                "REDIS_CLIENT_FACTORY": f"{__name__}.create",
                "REDIS_TIMEOUT": 1,
                "STREAM_TAIL": 3,
                "KEEP_ALIVE": 0.2,
            }
            writer.redis_breaker.record_success()
            wait_until(lambda: watching.sentinel_slaves(SERVICE))
            yield primary, replica, watching
            for client in get_redis().connection_pool.sentinel_manager.sentinels:
                client.close()
            get_redis().close()
    writer.redis_breaker.record_success()


class Publishers:
    """A sync and an async publisher in threads; they retry what failed."""

    def __init__(self) -> None:
        self.acknowledged: dict[str, int] = {}
        self.stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._publish),
            threading.Thread(target=lambda: asyncio.run(self._publish_async())),
        ]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_exception):
        self.stopped.set()
        for thread in self._threads:
            thread.join(20)

    def _publish(self):
        publisher, number, pending = None, 10_000, None
        while not self.stopped.is_set() or pending:
            event = {"event_type": "step", "n": number}
            try:
                publisher = publisher or get_publisher()
                call = publisher.retry(pending) if pending else publisher.publish_event(JOB, event)
            except RedisUnavailable as error:
                pending = error.pending
                sleep(0.05)
            else:
                self.acknowledged[call] = number
                number, pending = number + 1, None
                sleep(0.005)

    async def _publish_async(self):
        publisher, number, pending = RedisStreamPublisher(get_async_redis()), 20_000, None
        while not self.stopped.is_set() or pending:
            event = {"event_type": "step", "n": number}
            try:
                if pending:
                    event_id = await publisher.retry(pending)
                else:
                    event_id = await publisher.publish_event(JOB, event)
            except RedisUnavailable as error:
                pending = error.pending
                await asyncio.sleep(0.05)
            else:
                self.acknowledged[event_id] = number
                number, pending = number + 1, None
                await asyncio.sleep(0.005)
        await close_async_redis()


@pytest.mark.parametrize("how", ["killed", "demoted"])
def test_failover_under_load(service, how):
    """No committed event is lost, and all readers converge to the log."""
    primary, replica, watching = service
    world = World()
    with LogFollower() as follower, Publishers() as publishers:
        world.commit(3)
        follower.wait_for(50)
        if how == "killed":
            primary.server.kill()
        else:
            watching.sentinel_failover(SERVICE)
        began = monotonic()
        while replica.client.info("replication")["role"] != "master":
            world.commit()
            assert monotonic() - began < RECOVERY_SECONDS
            sleep(0.05)
        count = len(publishers.acknowledged)
        wait_until(lambda: len(publishers.acknowledged) > count + 50, RECOVERY_SECONDS)
        for _ in range(3):
            world.commit()
            try_to_archive(world)
        publishers.stopped.set()
        for thread in publishers._threads:
            thread.join(20)
        whole = world.finish(follower)
    in_log = {event.id for event in whole}
    lost = [event_id for event_id in publishers.acknowledged if event_id not in in_log]
    assert len(lost) < len(publishers.acknowledged) / 2  # what was not replicated nor archived


def try_to_archive(world):
    """Archive a batch, unless the former primary is still unreachable.

    `world.archive` does not end while others publish as fast as it archives.
    """
    try:
        Archiver().step()
    except EventsError:
        sleep(0.2)
    else:
        world.check_archive()


@pytest.mark.parametrize("how", ["killed", "demoted"])
def test_failover_under_bridges(service, how):
    primary, _, watching = service
    with bridges(2):
        send({"n": 0})
        wait_for_numbers([0])
        if how == "killed":
            primary.server.kill()
        else:
            watching.sentinel_failover(SERVICE)
            # Until then it accepts messages and events, which are lost.
            info = primary.client.info
            wait_until(lambda: info("replication")["role"] == "slave", RECOVERY_SECONDS)
        check_bridges_after_failure(RECOVERY_SECONDS)
