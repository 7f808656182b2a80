"""MIRROR_PUBSUB: existing listeners of Pub/Sub receive each appended event once."""

import asyncio
import json
from contextlib import suppress
from time import monotonic

import pytest
import redis
import redis.asyncio
from asgiref.sync import sync_to_async
from django.db import transaction

from events import outbox
from events.exceptions import RedisUnavailable
from events.history import read_events
from events.models import ArchivedEvent
from events.outbox.relay import Relay
from events.producer import publish_sequenced
from events.publisher import RedisStreamPublisher, SyncRedisStreamPublisher, get_publisher
from events.streams.clients import get_redis
from events.testing.redis_server import socket_path
from tests.faults.proxy import Act, proxied

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]

KEYS = ["event", "data", "timestamp", "job_id", "event_id"]


@pytest.fixture(autouse=True)
def _mirrored(settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "MIRROR_PUBSUB": True}


class Listener:
    """A listener of the first version: one channel, JSON messages."""

    def __init__(self, client, job_id="abc"):
        self._pubsub = client.pubsub()
        self._pubsub.subscribe(f"job:{job_id}:events")
        assert self._pubsub.get_message(timeout=5)["type"] == "subscribe"

    def received(self, count, *, seconds=5.0):
        """Return the messages once there are so many, and 0.1 s have brought no other."""
        found, deadline = [], monotonic() + seconds
        while monotonic() < deadline:
            message = self._pubsub.get_message(timeout=0.1)
            if message:
                found.append(json.loads(message["data"]))
            elif len(found) >= count:
                break
        return found

    def close(self):
        self._pubsub.close()


@pytest.fixture
def listener(redis_server):
    with redis.Redis.from_url(redis_server.url) as client:
        listener = Listener(client)
        yield listener
        listener.close()


def assert_mirrored(messages, *, job_id="abc"):
    """The messages are the events of the log."""
    events = read_events(job_id)
    assert [list(message) for message in messages] == [KEYS] * len(events)
    assert [
        (message["event_id"], message["event"], message["timestamp"], message["data"])
        for message in messages
    ] == [(event.id, event.event_type, event.timestamp, event.data) for event in events]
    assert {message["job_id"] for message in messages} <= {job_id}


EVENT = {"event_type": 'a "quoted" ü', "text": "ü€😀\u2028", "n": [1.5, 2**63 - 1, None, {}, []]}


def test_sync_publisher(listener):
    get_publisher().publish_event("abc", EVENT)
    get_publisher().publish_events("abc", [{"n": 1}, {"n": 2}, {"event_type": "other"}])
    get_publisher().publish_events("abc", [{"n": n} for n in range(25)])
    get_publisher().publish_event("other", {"n": 1})
    messages = listener.received(29)
    assert len(messages) == 29
    assert_mirrored(messages)


async def test_async_publisher(listener, redis_server):
    client = redis.asyncio.Redis.from_url(redis_server.url)
    publisher = RedisStreamPublisher(client)
    await asyncio.gather(*[publisher.publish_event("abc", {"n": n}) for n in range(50)])
    await client.aclose()
    messages = await asyncio.to_thread(listener.received, 50)
    assert len(messages) == 50
    await sync_to_async(assert_mirrored)(messages)


def test_transactional_events_and_the_relay(listener, settings):
    outbox.publish_event("abc", {"n": 1})
    with suppress(ZeroDivisionError), transaction.atomic():
        outbox.publish_event("abc", {"n": 2})
        raise ZeroDivisionError
    there = settings.JOB_EVENTS
    settings.JOB_EVENTS = {**there, "REDIS_URL": "unix:///nonexistent/redis.sock"}
    outbox.publish_event("abc", {"n": 3})
    settings.JOB_EVENTS = there
    ArchivedEvent.objects.update(written_at="2026-01-01T00:00:00Z")  # older than MIN_AGE
    assert Relay().step() == 1
    Relay().step()
    messages = listener.received(2)
    assert [message["data"]["n"] for message in messages] == [1, 3]
    assert_mirrored(messages)


def test_repeated_appends_are_mirrored_once(listener):
    for _ in range(2):
        get_publisher().publish_event("abc", {"n": 1}, idempotency_key="a")
        publish_sequenced("abc", [{"n": 2}, {"n": 3}], producer=["p"], sequence=1)
    publish_sequenced("abc", [{"n": 4}], producer=["p"], sequence=3, mirror=False)
    messages = listener.received(3)
    assert [message["data"]["n"] for message in messages] == [1, 2, 3]


@pytest.fixture
def proxy(redis_server):
    with proxied(socket_path(redis_server.directory)) as proxy:
        yield proxy


def test_append_whose_reply_is_lost_is_mirrored_once(listener, proxy):
    with redis.Redis(port=proxy.port, socket_timeout=1) as client:
        publisher = SyncRedisStreamPublisher(client)
        publisher.publish_event("abc", {"n": 1})
        proxy.plan(Act.LOST_AFTER, Act.PASS, Act.LOST_BEFORE, Act.PASS)
        publisher.publish_event("abc", {"n": 2})
        publisher.publish_event("abc", {"n": 3})
        proxy.plan(*[Act.LOST_AFTER] * 4)
        with pytest.raises(RedisUnavailable) as failed:
            publisher.publish_event("abc", {"n": 4})
        publisher.retry(failed.value.pending)
    messages = listener.received(4)
    assert [message["data"]["n"] for message in messages] == [1, 2, 3, 4]
    assert_mirrored(messages)


def test_user_who_may_not_publish_appends_nevertheless(listener, redis_server, redis_client):
    redis_client.execute_command(
        "ACL", "SETUSER", "writer", "on", ">pw", "~*", "+@all", "resetchannels"
    )
    try:
        options = {"username": "writer", "password": "pw"}
        with redis.Redis.from_url(redis_server.url, **options) as client:
            SyncRedisStreamPublisher(client).publish_event("abc", {"n": 1})
            SyncRedisStreamPublisher(client).publish_events("abc", [{"n": 2}, {"n": 3}])
    finally:
        redis_client.execute_command("ACL", "DELUSER", "writer")
    assert [event.data["n"] for event in read_events("abc")] == [1, 2, 3]
    assert listener.received(0) == []


def test_fenced_and_refused_appends_are_not_mirrored(listener):
    get_publisher(epoch=2).publish_event("abc", {"n": 1})
    with pytest.raises(Exception, match="attempt"):
        get_publisher(epoch=1).publish_event("abc", {"n": 2})
    assert [message["data"]["n"] for message in listener.received(1)] == [1]


def test_it_is_off_by_default(listener, settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "MIRROR_PUBSUB": False}
    get_publisher().publish_event("abc", {"n": 1})
    outbox.publish_event("abc", {"n": 2})
    assert listener.received(0) == []
    assert get_redis().xlen("job_events:abc") == 2
