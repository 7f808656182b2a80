"""Transactional publishing: exactly once, in commit order, and never after a rollback."""

import logging
from contextlib import suppress

import pytest
from django.db import transaction
from django.utils import timezone

from events import outbox
from events.archive.archiver import Archiver
from events.exceptions import EventTooLarge, InvalidEvent, InvalidJobId, ProducerFenced
from events.history import read_events
from events.models import ArchivedEvent, EventLog
from events.outbox.relay import Relay
from events.outbox.writer import redis_breaker
from events.publisher import get_publisher

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


def numbers(job_id="abc"):
    return [event.data["n"] for event in read_events(job_id)]


def publish(n, job_id="abc"):
    outbox.publish_event(job_id, {"event_type": "counted", "n": n})


def publish_and_roll_back(n):
    with suppress(ZeroDivisionError), transaction.atomic():
        publish(n)
        raise ZeroDivisionError


@pytest.fixture
def redis_down(settings):
    """No server listens on the address of Redis until the fixture is called."""
    there = settings.JOB_EVENTS
    settings.JOB_EVENTS = {**there, "REDIS_URL": "unix:///nonexistent/redis.sock"}

    def back():
        settings.JOB_EVENTS = there
        ArchivedEvent.objects.update(written_at="2026-01-01T00:00:00Z")  # older than MIN_AGE

    return back


def test_publishing_without_a_transaction():
    publish(1)
    (event,) = read_events("abc")
    assert (event.event_type, event.data["n"]) == ("counted", 1)
    assert event.producer == "outbox:0:1"


def test_commit_appends_events():
    with transaction.atomic():
        publish(1)
        publish(2)
        assert numbers() == []
    assert numbers() == [1, 2]


def test_rollback_appends_no_event():
    publish(1)
    publish_and_roll_back(2)
    with transaction.atomic():
        publish(3)
        publish_and_roll_back(4)
        publish(5)
    assert numbers() == [1, 3, 5]
    rows = ArchivedEvent.objects.order_by("pk")
    assert list(rows.values_list("sequence", flat=True)) == [1, 2, 3]


def test_missing_type_and_timestamp_are_added():
    outbox.publish_event("abc", {})
    (event,) = read_events("abc")
    assert event.event_type == "unknown"
    assert event.timestamp == event.data["timestamp"]


@pytest.mark.parametrize(
    ("job_id", "event", "error"),
    [
        ("a b", {}, InvalidJobId),
        (None, {}, InvalidJobId),
        ("abc", [], InvalidEvent),
        ("abc", {"x": float("nan")}, InvalidEvent),
        ("abc", {"x": "\x00"}, InvalidEvent),
        ("abc", {"x": "\ud800"}, InvalidEvent),
        ("abc", {"event_type": ""}, InvalidEvent),
        ("abc", {"timestamp": "soon"}, InvalidEvent),
        ("abc", {"x": "x" * 256 * 1024}, EventTooLarge),
    ],
)
def test_invalid_event_writes_nothing(job_id, event, error):
    with transaction.atomic():
        with pytest.raises(error):
            outbox.publish_event(job_id, event)
        assert not EventLog.objects.exists()
        publish(1)
    assert numbers() == [1]


def test_transactional_and_stream_first_events_have_one_order():
    publish(1)
    get_publisher().publish_event("abc", {"n": 2})
    with transaction.atomic():
        publish(4)
        get_publisher().publish_event("abc", {"n": 3})
    assert numbers() == [1, 2, 3, 4]


def test_commit_without_redis_is_relayed(redis_down, caplog):
    for n in range(5):
        publish(n)
    assert "job_event_deferred" in caplog.messages
    redis_down()
    assert Relay().step() == 5
    assert Relay().step() == 0
    assert numbers() == [0, 1, 2, 3, 4]


def test_next_commit_appends_pending_events(redis_down):
    publish(1)
    publish(2)
    redis_down()
    redis_breaker.record_success()  # close the circuit
    publish(3)
    assert numbers() == [1, 2, 3]


def test_circuit_breaker_skips_an_unresponsive_redis(redis_down, caplog):
    caplog.set_level(logging.WARNING)
    for n in range(20):
        publish(n)
    assert caplog.messages.count("job_event_deferred") < 5


def test_relay_skips_events_that_were_just_committed(redis_down, settings):
    publish(1)
    redis_down()
    ArchivedEvent.objects.update(written_at=timezone.now())
    assert Relay().step() == 0


def test_log_that_redis_refuses_does_not_delay_others(redis_client, caplog):
    publish(1, "good")
    publish(1, "bad")
    redis_client.delete("job_events:bad")
    redis_client.set("job_events:bad", "text")
    publish(2, "bad")
    publish(2, "good")
    ArchivedEvent.objects.update(written_at="2026-01-01T00:00:00Z")
    assert Relay().step() == 0
    assert numbers("good") == [1, 2]
    log = EventLog.objects.select_related("archived").get(job_id="bad")
    assert log.archived.error.startswith("NotAStream")
    redis_client.delete("job_events:bad")
    assert Relay().step() == 2
    while Archiver().step():
        pass
    log.archived.refresh_from_db()
    assert (log.archived.error, numbers("bad")) == ("", [1, 2])


def test_event_of_a_later_attempt_fences_earlier_publishers():
    first = get_publisher(epoch=1)
    first.publish_event("abc", {"n": 1})
    outbox.publish_event("abc", {"n": 2}, epoch=2)
    with pytest.raises(ProducerFenced, match="attempt 2, not at 1"):
        first.publish_event("abc", {"n": 3})
    get_publisher(epoch=2).publish_event("abc", {"n": 4})
    get_publisher().publish_event("abc", {"n": 5})
    outbox.publish_event("abc", {"n": 6}, epoch=1)
    assert numbers() == [1, 2, 4, 5, 6]
