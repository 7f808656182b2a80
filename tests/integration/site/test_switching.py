"""A running system is switched from Pub/Sub by the steps of migrating.md."""

import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
import redis

from tests.support.project import project, run_script
from tests.support.site import Site

pytestmark = [pytest.mark.extended, pytest.mark.timeout(300)]

NOW = "2026-01-02T03:04:05.678901+00:00"
# A publisher of the new version, in a process with the setting.
PUBLISH = """
from django.conf import settings
from events import outbox
from events.publisher import get_publisher
assert settings.JOB_EVENTS["MIRROR_PUBSUB"]
for n in range({start}, {end}):
    if n % 5:
        get_publisher().publish_event("abc", {{"event_type": "new", "n": n}})
    else:
        outbox.publish_event("abc", {{"event_type": "new", "n": n}})
"""
READ = """
import json
from events.history import read_events
events, after = [], "0"
while page := read_events("abc", after=after):
    events += [[event.event_type, event.data.get("n"), event.id] for event in page]
    after = page[-1].id
print(json.dumps(events))
"""


@pytest.fixture
def site(short_tmp: Path) -> Iterator[Site]:
    mirrored = 'JOB_EVENTS = {**JOB_EVENTS, "MIRROR_PUBSUB": True}'
    with project(short_tmp / "site", mirrored) as site:
        site.manage("migrate")
        site.start_processor()
        yield site


class OldPublisher(threading.Thread):
    """Publishes numbered messages to the channel, without end."""

    def __init__(self, client: redis.Redis) -> None:
        super().__init__()
        self.client = client
        self.sent = 0
        self.stopping = threading.Event()

    def run(self) -> None:
        while not self.stopping.wait(0.002):
            data = {"event": "old", "data": {"n": self.sent}, "timestamp": NOW, "job_id": "abc"}
            self.client.publish("job:abc:events", json.dumps(data))
            self.sent += 1

    def stop(self) -> None:
        self.stopping.set()
        self.join()


class OldListener(threading.Thread):
    def __init__(self, client: redis.Redis) -> None:
        super().__init__()
        self.pubsub = client.pubsub()
        self.pubsub.subscribe("job:abc:events")
        self.received: list[dict[str, Any]] = []
        self.stopping = threading.Event()

    def run(self) -> None:
        while not self.stopping.is_set():
            message = self.pubsub.get_message(timeout=0.1)
            if message and message["type"] == "message":
                self.received.append(json.loads(message["data"]))

    def stop(self) -> None:
        sleep(1)
        self.stopping.set()
        self.join()
        self.pubsub.close()


def start_bridge(site: Site, name: str) -> Any:
    bridge = site._spawn(name, "manage.py", "bridge_pubsub")
    deadline = monotonic() + 40
    while "bridge_listening" not in site.log_of(name):
        assert monotonic() < deadline
        sleep(0.05)
    return bridge


def events_of(site: Site) -> list[list[Any]]:
    events: list[list[Any]] = json.loads(run_script(site, READ))
    return events


def test_switch_without_losing_what_the_bridges_received(site: Site) -> None:
    with redis.Redis.from_url(site.redis.url) as client:
        publisher, listener = OldPublisher(client), OldListener(client)
        listener.start()
        first = start_bridge(site, "bridge-1")
        second = start_bridge(site, "bridge-2")
        publisher.start()
        sleep(1)
        site.stop_child(first, signal.SIGKILL)  # the other one continues
        sleep(1)
        third = start_bridge(site, "bridge-3")
        sleep(1)  # the second one appends what was sent before the third one listened
        second.send_signal(signal.SIGSTOP)  # a machine that is suspended
        sleep(1)
        run_script(site, PUBLISH.format(start=0, end=300))
        second.send_signal(signal.SIGCONT)
        fourth = start_bridge(site, "bridge-4")
        site.stop_child(third)
        sleep(1)
        publisher.stop()
        run_script(site, PUBLISH.format(start=300, end=400))
        site.stop_child(second)
        site.stop_child(fourth)
        listener.stop()
    events = events_of(site)
    assert [n for kind, n, _ in events if kind == "old"] == [*range(publisher.sent)]
    assert [n for kind, n, _ in events if kind == "new"] == [*range(400)]
    assert len(events) == publisher.sent + 400
    received = [
        (each["event"], each["data"]["n"], each.get("event_id")) for each in listener.received
    ]
    assert [n for kind, n, _ in received if kind == "old"] == [*range(publisher.sent)]
    mirrored = [[*each] for each in received if each[0] == "new"]
    assert mirrored == [each for each in events if each[0] == "new"]
    assert "bridged=" in site.log_of("bridge-4")


def test_single_bridge_is_restarted(site: Site) -> None:
    """What is sent while none runs is lost; what was received before SIGTERM is not."""
    with redis.Redis.from_url(site.redis.url) as client:
        publisher = OldPublisher(client)
        bridge = start_bridge(site, "bridge-1")
        publisher.start()
        sleep(1)
        while not client.xlen("job_events:abc"):
            sleep(0.05)
        stopped_at = publisher.sent
        site.stop_child(bridge)
        bridge = start_bridge(site, "bridge-2")
        started_at = publisher.sent
        sleep(1)
        publisher.stop()
        sleep(1)
        site.stop_child(bridge)
    numbers = [n for _, n, _ in events_of(site)]
    assert numbers == sorted({*numbers})
    missing = {*range(publisher.sent)} - {*numbers}
    assert missing <= {*range(stopped_at, started_at)}
    assert [*sorted(missing)] == [*range(min(missing), max(missing) + 1)]
