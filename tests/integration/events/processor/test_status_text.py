"""The status as text and as JSON."""

import json

import pytest
from django.utils import timezone

from events.processor import get_status
from events.processor.status_text import duration_text, status_json, status_table
from tests.integration.events.processor.conftest import make_log, make_processor, put_in_outbox

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def test_the_table_shows_the_whole_status(add_entries):
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


def test_the_table_without_redis(redis_down):
    text = status_table(get_status())
    assert "process_events NOT RUNNING" in text
    assert "outbox         empty" in text
    assert "archive        unknown: Redis did not answer." in text


def test_the_table_shows_failures():
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
