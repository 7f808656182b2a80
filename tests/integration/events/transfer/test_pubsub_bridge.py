"""`bridge_pubsub`: old publishers and new readers, alone, together, and through failures."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep

import pytest

from events.exceptions import RedisUnavailable
from events.history import read_events
from events.publisher import get_publisher
from events.streams.clients import get_redis
from events.streams.retry import CLIENT_ERRORS
from events.testing.redis_server import EmbeddedRedis
from events.transfer import pubsub_bridge
from events.transfer.pubsub_bridge import PubSubBridge, event_of
from tests.integration.events.test_mirror import Listener

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]

NOW = "2026-01-02T03:04:05.678901+00:00"


def send(data, *, job_id="abc", event="thought", **more):
    """Publish like the first version of the callback handler."""
    payload = {"event": event, "data": data, "timestamp": NOW, "job_id": job_id, **more}
    get_redis().publish(f"job:{job_id}:events", json.dumps(payload))


def wait_for(condition, seconds=20.0):
    deadline = monotonic() + seconds
    while not condition():
        assert monotonic() < deadline
        sleep(0.01)


class Running:
    """A bridge in a thread."""

    def __init__(self):
        self.stopping = threading.Event()
        self.bridge = PubSubBridge(self.stopping.is_set)
        self.thread = threading.Thread(target=self.bridge.run)
        self.thread.start()
        wait_for(lambda: self.bridge._marker)

    def stop(self):
        self.stopping.set()
        self.thread.join(20)
        assert not self.thread.is_alive()

    @property
    def count(self):
        return dict(self.bridge._counts)


@contextmanager
def bridges(count: int = 1) -> Iterator[list[Running]]:
    running = [Running() for _ in range(count)]
    try:
        yield running
    finally:
        for each in running:
            each.stop()


def numbers(job_id="abc"):
    return [event.data.get("n") for event in read_events(job_id, limit=1000)]


def wait_for_numbers(expected, job_id="abc"):
    wait_for(lambda: len(numbers(job_id)) >= len(expected))
    sleep(0.2)
    assert numbers(job_id) == expected


def check_bridges_after_failure(seconds):
    """Send until the bridges are connected again, and check what is in the log.

    Pub/Sub loses messages while there is no master.
    """
    n, began = 1, monotonic()
    while True:
        with suppress(*CLIENT_ERRORS, RedisUnavailable):
            send({"n": n})
            if monotonic() > began + 2 and numbers()[-1] == n - 1:
                break
        n += 1
        assert monotonic() < began + seconds
        sleep(0.1)
    sleep(2)  # the other bridges
    later = [*range(n + 1, n + 21)]
    for each in later:
        send({"n": each})
    wait_for(lambda: numbers()[-20:] == later)
    assert numbers() == sorted({*numbers()})


@pytest.mark.parametrize(
    ("message", "event"),
    [
        ({"event": "x", "data": {"n": 1}, "timestamp": NOW, "job_id": "abc"},
         {"event_type": "x", "timestamp": NOW, "n": 1}),
        ({"event": "x", "data": {"event_type": "y", "timestamp": "z"}, "timestamp": NOW},
         {"event_type": "x", "timestamp": NOW}),
        ({"event": "x", "data": "text"}, {"event_type": "x", "data": "text"}),
        ({"event": "x", "data": [1], "timestamp": None}, {"event_type": "x", "data": [1]}),
        ({"event": "x", "event_id": "1-1"}, None),
        ({"data": {"n": 1}}, {"event_type": "unknown", "raw": '{"data": {"n": 1}}'}),
        ([1], {"event_type": "unknown", "raw": "[1]"}),
    ],
)  # fmt: skip
def test_event_of_a_message(message, event):
    assert event_of(json.dumps(message).encode()) == event


@pytest.mark.parametrize("data", [b"{broken", b"", b"\xff\xfe", b"NaN"])
def test_message_that_is_not_json(data):
    event = event_of(data)
    assert event == {"event_type": "unknown", "raw": data.decode("utf-8", "replace")}


def test_old_publisher_and_new_readers():
    with bridges():
        for n in range(100):
            send({"n": n})
        send({"text": "same"}, event="token")
        send({"text": "same"}, event="token")
        wait_for_numbers([*range(100), None, None])
    first, *_, last = read_events("abc")
    assert (first.event_type, first.timestamp, first.data["n"]) == ("thought", NOW, 0)
    assert (last.event_type, last.data["text"]) == ("token", "same")


def test_bad_messages_do_not_stop_it(settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "MAX_EVENT_BYTES": 1000}
    client = get_redis()
    client.rpush("job_events:list", 1)  # not a stream
    with bridges(2) as running:
        client.publish("job:abc:events", "{broken")
        client.publish("job:abc:events", b"\xff")
        send({"n": 0}, event="")  # not an event type
        send({"n": 0, "text": "x" * 2000})  # too large
        client.publish("job:a b:events", "{}")
        client.publish("job::events", "{}")
        client.publish("job:list:events", "{}")
        send({"n": 1})
        wait_for_numbers([None, None, None, 1])
        wait_for(lambda: all(each.count["refused"] == 4 for each in running))
    events = read_events("abc")
    assert [event.data.get("raw", "")[:9] for event in events] == [
        "{broken",
        "\ufffd",
        '{"event":',
        "",
    ]


def test_old_and_new_publishers_with_old_and_new_readers(settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "MIRROR_PUBSUB": True}
    listener = Listener(get_redis())
    with bridges(2) as running:
        for n in range(20):
            send({"n": n}) if n % 2 else get_publisher().publish_event("abc", {"n": n})
            wait_for(lambda n=n: len(numbers()) == n + 1)  # two connections have no order
        wait_for(lambda: all(each.count.get("mirrored") == 10 for each in running))
        wait_for_numbers([*range(20)])
    messages = listener.received(20)
    listener.close()
    assert [message["data"]["n"] for message in messages] == [*range(20)]


def test_bridges_that_join_and_leave_append_each_message_once():
    sent = 0

    def some():
        nonlocal sent
        for _ in range(50):
            send({"n": sent, "same": 1})
            send({"n": None})
            sent += 1

    first = Running()
    some()
    second = Running()
    some()
    third = Running()
    some()
    first.stop()
    some()
    second.stop()
    some()
    third.stop()
    # Also in one order: a bridge that joins waits for those that are behind.
    assert numbers() == [n for each in range(sent) for n in (each, None)]


def test_stopping_appends_what_was_received(monkeypatch):
    running = Running()
    real = pubsub_bridge.publish_sequenced
    entered = threading.Event()

    def slow(*arguments, **options):
        entered.set()
        sleep(0.01)
        return real(*arguments, **options)

    monkeypatch.setattr(pubsub_bridge, "publish_sequenced", slow)
    for n in range(30):
        send({"n": n})
    entered.wait(10)
    running.stop()
    assert numbers() == [*range(30)]


def test_connections_that_are_killed(caplog):
    """redis-py subscribes again by itself; the numbers begin again."""
    with bridges(2) as running:
        for n in range(10):
            send({"n": n})
        wait_for_numbers([*range(10)])
        markers = {each.bridge._marker for each in running}
        assert len(markers) == 1
        get_redis().client_kill_filter(_type="pubsub")
        wait_for(lambda: {each.bridge._marker for each in running}.isdisjoint({*markers, ""}))
        wait_for(lambda: len({each.bridge._marker for each in running}) == 1)
        for n in range(10, 20):
            send({"n": n})
        wait_for_numbers([*range(20)])


def markers_of(running):
    return {each.bridge._marker for each in running}


def test_one_of_two_connections_is_killed_while_messages_arrive():
    with bridges(2) as running:
        seen = {""}
        for n in range(300):
            if n in (100, 200):
                # Both listen again: they have received the same new marker.
                wait_for(lambda: len(markers_of(running)) == len(markers_of(running) - seen) == 1)
                seen.update(markers_of(running))
                client_id = int(get_redis().client_list(_type="pubsub")[n // 200]["id"])
                get_redis().client_kill_filter(_id=client_id)
            send({"n": n})
        wait_for_numbers([*range(300)])


def test_numbers_that_redis_refused_or_lost(redis_client):
    """A key that is no stream refuses some messages for one bridge; later ones are appended."""
    with bridges(2) as running:
        send({"n": 0})
        wait_for_numbers([0])
        redis_client.rename("job_events:abc", "kept")
        redis_client.rpush("job_events:abc", 1)
        send({"n": 1})
        wait_for(lambda: all(each.count.get("refused") == 1 for each in running))
        redis_client.rename("kept", "job_events:abc")
        send({"n": 2})
        send({"n": 3})
        wait_for_numbers([0, 2, 3])


def test_redis_that_is_out_of_memory_for_a_while(redis_client, monkeypatch):
    monkeypatch.setattr(pubsub_bridge, "RETRY_SECONDS", 0.05)
    with bridges(2):
        redis_client.config_set("maxmemory", 1)
        try:
            for n in range(10):
                send({"n": n})
            sleep(0.3)
        finally:
            redis_client.config_set("maxmemory", 0)
        wait_for_numbers([*range(10)])


def test_a_new_marker_bounds_the_numbers(monkeypatch):
    monkeypatch.setattr(pubsub_bridge, "MAX_MARKER_JOBS", 5)
    with bridges(2) as running:
        for n in range(40):
            send({"n": n}, job_id=f"job-{n % 20}")
        for n in range(20):
            wait_for_numbers([n, n + 20], f"job-{n}")
        assert all(len(each.bridge._numbers) <= 20 for each in running)


@pytest.fixture
def own_redis(short_tmp: Path, settings) -> Iterator[EmbeddedRedis]:
    server = EmbeddedRedis(short_tmp / "bridge")
    server.start()
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "REDIS_URL": server.url}
    yield server
    server.stop()


def test_redis_restarts(own_redis, monkeypatch, caplog):
    monkeypatch.setattr(pubsub_bridge, "RETRY_SECONDS", 0.1)
    with bridges(2) as running:
        for n in range(10):
            send({"n": n})
        wait_for_numbers([*range(10)])
        own_redis.stop()
        wait_for(lambda: "bridge_disconnected" in caplog.text)
        own_redis.start()
        wait_for(lambda: len({each.bridge._marker for each in running} - {""}) == 1)
        wait_for(lambda: get_redis().pubsub_numpat() == 1)
        wait_for(lambda: get_redis().pubsub_numsub("job_events::markers")[0][1] == 2)
        sleep(0.3)
        for n in range(10, 20):
            send({"n": n})
        wait_for_numbers([*range(20)])
