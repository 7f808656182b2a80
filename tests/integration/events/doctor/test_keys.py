"""Findings about keys under our prefix."""

import time

import pytest

from events.archive.archiver import Archiver
from events.doctor import key_scan
from events.doctor.key_scan import find_keys
from events.erasure import delete_log
from events.live.presence import mark_watched
from events.publisher import get_publisher
from events.streams.pubsub import ChannelSubscription
from tests.integration.events.doctor.conftest import find

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]

CHECKS = ("orphaned-streams", "foreign-keys", "consumer-groups")


def publish(*job_ids):
    for job_id in job_ids:
        get_publisher().publish_event(job_id, {"n": 1})
    Archiver().step()


@pytest.mark.parametrize("prefix", ["job_events:", "{tenant}:", "a*b[c]:"])
def test_our_own_keys_are_recognized(settings, prefix):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "STREAM_PREFIX": prefix}
    publish("a", "b", "deleted")
    mark_watched(["a", "only-watched"])
    delete_log("deleted")
    found = find_keys()
    assert (found.streams, found.states) == ({"a", "b"}, {"a", "b", "deleted"})
    assert (found.foreign, found.complete) == ([], True)
    assert {name: find(name).state for name in CHECKS} == dict.fromkeys(CHECKS, "ok")


def test_markers_of_the_bridge_are_recognized(redis_client):
    subscription = ChannelSubscription(redis_client)
    subscription.mark()
    assert redis_client.keys("job_events::*")
    found = find_keys()
    subscription.close()
    assert found.foreign == []


def test_stream_without_a_log(redis_client):
    publish("known")
    redis_client.xadd("job_events:new", {"data": "{}"})
    assert find("orphaned-streams").state == "ok"  # it will be archived
    old = int((time.time() - 90) * 1000)
    redis_client.xadd("job_events:old", {"data": "{}"}, id=f"{old}-0")
    finding = find("orphaned-streams")
    assert finding.state == "warning"
    assert finding.seen == "Without a log: 1 (old), of 3 streams."


def test_state_without_a_stream(redis_client):
    publish("a")
    redis_client.delete("job_events:a")
    finding = find("orphaned-streams")
    assert (finding.state, "(a)" in finding.seen) == ("warning", True)


def test_foreign_keys(redis_client):
    publish("a")
    redis_client.set("job_events:a:progress", 5)
    redis_client.hset("job_events:b", "a", "hash")
    redis_client.set("{job_events:c", "x")
    redis_client.set("job_events", "another prefix")
    finding = find("foreign-keys")
    assert finding.state == "warning"
    assert finding.seen.startswith("Not ours: 3 (")
    assert "job_events:b (hash)" in finding.seen


def test_consumer_groups(redis_client):
    publish("a", "b")
    redis_client.xgroup_create("job_events:b", "workers")
    finding = find("consumer-groups")
    assert finding.state == "warning"
    assert finding.seen == "With consumer groups: 1 (b), of 2 streams."


def test_scan_is_bounded(redis_client, monkeypatch):
    monkeypatch.setattr(key_scan, "MAX_KEYS", 100)
    for number in range(5000):
        redis_client.set(f"job_events:{number}:other", 1)
    found = find_keys()
    assert not found.complete
    assert len(found.foreign) < 3000
    finding = find("foreign-keys")
    assert "3 " not in finding.seen[:12]
    assert finding.seen.endswith(", …).")
