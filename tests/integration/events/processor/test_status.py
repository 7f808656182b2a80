"""Status: running processors, outbox, archive lag and stalled logs; as text and as JSON."""

import json
import time
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from events.models import ArchivedEvent
from events.processor import get_status, is_running, status
from events.processor.status import duration_text, status_json, status_table
from tests.integration.events.processor.conftest import make_log, make_processor, put_in_outbox

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def test_empty_project():
    found = get_status()
    assert not found.running
    assert (found.outbox.depth, found.outbox.oldest_age) == (0, None)
    assert (found.archive.streams, found.archive.behind) == (0, 0)
    assert (found.stalled_count, found.stalled, found.processors) == (0, (), ())
    assert not found.healthy


# The outbox


def test_outbox_has_a_depth_and_an_age():
    log = make_log()
    for seconds_ago in (5, 90, 0):
        put_in_outbox(log, seconds_ago)
    put_in_outbox(log, 5000, event_id="5-0")
    outbox = get_status().outbox
    assert outbox.depth == 3
    assert 90 <= outbox.oldest_age < 100
    assert outbox.late


def test_recent_event_in_the_outbox_is_not_late():
    put_in_outbox(make_log(), 5)
    assert not get_status().outbox.late


def test_time_in_the_future_has_age_zero():
    put_in_outbox(make_log(), -100)
    assert get_status().outbox.oldest_age == 0


def test_outbox_is_counted_by_its_index():
    if connection.vendor == "sqlite":  # PostgreSQL decides by the size of the table
        pending = ArchivedEvent.objects.filter(event_id=None)
        assert "job_events_outbox" in pending.explain()


# The archive


def test_stream_that_is_late_is_not_healthy(redis_client):
    make_processor()
    assert get_status().healthy
    old = int((time.time() - 90) * 1000)
    redis_client.xadd("job_events:abc", {"data": "{}"}, id=f"{old}-0")
    found = get_status()
    assert found.archive.late
    assert not found.healthy


def test_without_redis_the_archive_lag_is_unknown(redis_down):
    put_in_outbox(make_log())
    make_processor()
    start = time.monotonic()
    found = get_status()
    assert time.monotonic() - start < 3
    assert (found.archive.streams, found.archive.behind, found.archive.oldest_age) == (None,) * 3
    assert found.archive.error == "Redis did not answer."
    assert found.outbox.depth == 1
    assert found.running
    assert not found.healthy


@pytest.mark.parametrize("url", ["nonsense", "redis://[::1"])
def test_invalid_redis_url_is_reported(settings, url):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "REDIS_URL": url}
    assert "REDIS_URL" in get_status().archive.error


# Stalled logs


def test_stalled_logs_are_ordered_by_time():
    now = timezone.now()
    make_log("fine")
    make_log("late", error="It is broken", since=now)
    make_log("early", error="So is this", since=now - timedelta(hours=1))
    found = get_status()
    assert found.stalled_count == 2
    assert [log.job_id for log in found.stalled] == ["early", "late"]
    assert (found.stalled[1].error, found.stalled[1].since) == ("It is broken", now)


def test_list_of_stalled_logs_is_bounded(monkeypatch):
    monkeypatch.setattr(status, "MAX_STALLED", 3)
    for number in range(5):
        make_log(f"job{number}", error="x", since=timezone.now())
    found = get_status()
    assert (found.stalled_count, len(found.stalled)) == (5, 3)


# Processors


def test_processor_with_a_recent_heartbeat_is_alive():
    make_processor("host:1", seconds_ago=29)
    make_processor("host:2", seconds_ago=31)
    found = get_status()
    assert found.running
    assert [(each.name, each.alive) for each in found.processors] == [
        ("host:1", True), ("host:2", False),
    ]  # fmt: skip
    assert found.processors[0].loops["relay"]["events"] == 2
    assert found.healthy


def test_processor_without_a_recent_heartbeat_is_not_running():
    make_processor(seconds_ago=31)
    assert not get_status().running
    assert not is_running()


def test_heartbeat_in_the_future_is_not_recent():
    """The processor is dead, and the clock was turned back after its last heartbeat."""
    make_processor(seconds_ago=-31)
    assert not get_status().running
    assert not is_running()


def test_is_running_costs_one_query(django_assert_num_queries):
    make_processor()
    with django_assert_num_queries(1):
        assert is_running()


# Text and JSON


def test_table_shows_the_whole_status(add_entries):
    log = make_log(error="A list is stored\nat the key", since=timezone.now())
    put_in_outbox(log, 300)
    add_entries(2)
    make_processor("host:1")
    make_processor("host:2", seconds_ago=400)
    text = status_table(get_status())
    for part in (
        "process_events running",
        "host:1, started",
        "host:2, started",
        "last heartbeat 7 min ago, considered dead",
        "1 round, 2 events",
        "outbox         1 event, the oldest for 5 min",
        "archive        1 of 1 stream behind, the oldest for",
        "stalled logs   1",
        "abc since ",
        "at the key",
    ):
        assert part in text, (part, text)


def test_table_without_redis(redis_down):
    text = status_table(get_status())
    assert "process_events NOT RUNNING" in text
    assert "outbox         empty" in text
    assert "archive        unknown: Redis did not answer." in text


def test_table_shows_failures():
    processor = make_processor()
    processor.loops["relay"] |= {"failures": 3, "error": "RedisUnavailable: gone"}
    processor.save()
    assert "3 failures, the last: RedisUnavailable: gone" in status_table(get_status())
    processor.loops["relay"] |= {"failing": True}
    processor.save()
    assert "3 failures, FAILING NOW: RedisUnavailable: gone" in status_table(get_status())


def test_json():
    make_processor()
    make_log(error="x", since=timezone.now())
    data = json.loads(status_json(get_status()))
    assert data["outbox"] == {"depth": 0, "oldest_age": None}
    assert data["archive"] == {
        "streams": 0, "behind": 0, "oldest_age": None, "complete": True, "error": "",
    }  # fmt: skip
    assert (data["running"], data["healthy"]) == (True, False)
    assert data["stalled"][0]["job_id"] == "abc"
    assert data["processors"][0]["name"] == "host:1"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.02, "0.0 s"), (1.4, "1 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (2e5, "2 d")],
)
def test_durations(seconds, text):
    assert duration_text(seconds) == text
