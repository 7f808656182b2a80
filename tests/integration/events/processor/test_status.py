"""Status: processors, database, Redis, outbox, archive lag, stalled logs, losses and problems."""

import json
import time
from datetime import timedelta

import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from events.models import ArchivedEvent, LogGap, Processor
from events.processor import get_status, is_running, status
from events.processor.report import duration_text, status_json, status_table
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
    for seconds_ago in (5, 3_600, 0):
        put_in_outbox(log, seconds_ago)
    put_in_outbox(log, 7_200, event_id="5-0")
    outbox = get_status().outbox
    assert outbox.depth == 3
    assert 3_600 <= outbox.oldest_age < 7_200
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


@pytest.mark.timeout(9, func_only=True)
def test_without_redis_the_archive_lag_is_unknown(redis_down):
    put_in_outbox(make_log())
    make_processor()
    found = get_status()
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


def test_processors_dead_for_an_hour_are_not_shown():
    make_processor("host:1", seconds_ago=3590)
    make_processor("host:2", seconds_ago=3610)
    assert [each.name for each in get_status().processors] == ["host:1"]


def test_time_of_the_last_heartbeat_is_kept_longer():
    make_processor(seconds_ago=7200)
    found = get_status()
    assert found.processors == ()
    (problem,) = found.problems
    assert problem.what == "process_events is not running."
    assert problem.since == found.last_heartbeat_at
    assert "Start `manage.py process_events`" in problem.action


# Redis and the database


@pytest.fixture
def full_redis(redis_client):
    redis_client.config_set("maxmemory", 1)
    yield
    redis_client.config_set("maxmemory", 0)


def failing(name, error, seconds_ago=100):
    processor = make_processor()
    stats = {"failures": 3, "failing": True, "error": error, "failing_seconds": seconds_ago}
    processor.loops[name] = {"rounds": 1, "events": 0, **stats}
    processor.save()
    return processor.heartbeat_at - timedelta(seconds=seconds_ago)


def test_memory_of_redis(redis_client):
    redis_client.config_set("maxmemory", 100 * 1024 * 1024)
    try:
        redis = get_status().redis
    finally:
        redis_client.config_set("maxmemory", 0)
    assert 0 < redis.used < redis.limit == 100 * 1024 * 1024
    assert (redis.policy, redis.refusal, redis.is_full) == ("noeviction", "", False)


def test_redis_out_of_memory_is_a_problem(full_redis):
    since = failing("redis", "RedisOutOfMemory: Redis is out of memory")
    found = get_status()
    assert found.redis.is_full
    assert not found.healthy
    (problem,) = found.problems
    assert "Redis is out of memory and refuses new events" in problem.what
    assert problem.since == since
    assert "raise maxmemory" in problem.action
    assert "REFUSES EVENTS" in status_table(found)


def test_redis_that_may_evict_is_a_problem(redis_client):
    make_processor()
    redis_client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        (problem,) = get_status().problems
    finally:
        redis_client.config_set("maxmemory-policy", "noeviction")
    assert "allkeys-lru" in problem.what


def test_redis_user_without_info(redis_client):
    """The memory is unknown; refused events are found nevertheless."""
    redis_client.execute_command("ACL", "SETUSER", "default", "-info")
    try:
        make_processor()
        found = get_status()
    finally:
        redis_client.execute_command("ACL", "SETUSER", "default", "+info")
    assert (found.redis.error, found.redis.policy, found.healthy) == ("", "", True)


def test_redis_user_without_scan(redis_client):
    redis_client.execute_command("ACL", "SETUSER", "default", "-scan")
    try:
        make_processor()
        (problem,) = get_status().problems
    finally:
        redis_client.execute_command("ACL", "SETUSER", "default", "+scan")
    assert "scan" in problem.what


def test_loop_that_fails_for_long_is_a_problem():
    failing("archiver", "DataError: no", seconds_ago=30)
    assert get_status().problems == ()
    Processor.objects.all().delete()
    since = failing("archiver", "DataError: no", seconds_ago=90)
    (problem,) = get_status().problems
    assert "'archiver'" in problem.what
    assert "DataError: no" in problem.what
    assert problem.since == since


def test_problems_of_redis_are_not_repeated_as_delays(redis_down):
    failing("redis", "RedisUnavailable: Redis did not answer.")
    processor = Processor.objects.get()
    processor.loops["archiver"] = processor.loops["redis"]
    processor.save()
    put_in_outbox(make_log(), 300)
    (problem,) = get_status().problems
    assert problem.what == "Redis did not answer."


def test_status_without_the_database():
    found = status.status_without_database(OperationalError("no such table: x"))
    assert not found.healthy
    assert found.outbox.depth is None
    first = status_table(found).splitlines()[0]
    assert first.startswith("The database is not available or not migrated: OperationalError: no")
    assert "outbox         unknown" in status_table(found)
    assert "no such table" in json.loads(status_json(found))["database_error"]


# Losses


def make_gap(job_id, minutes_ago, ids=()):
    log = make_log(job_id, position="5-0")
    at = timezone.now() - timedelta(minutes=minutes_ago)
    return LogGap.objects.create(log=log, after="5-0", ids=list(ids), detected_at=at, reported=True)


def test_losses_are_listed_for_a_day_and_a_problem_for_an_hour():
    make_processor()
    make_gap("old", 25 * 60)
    assert get_status().loss_count == 0
    make_gap("abc", 61, ["6-0", "7-0"])
    found = get_status()
    assert (found.loss_count, found.problems) == (1, ())
    text = status_table(found)
    assert "lost events    1 gap in 24 hours" in text
    assert "between 5-0 and the next event, 2 or more, up to 7-0" in text
    gap = make_gap("new", 1)
    put_in_outbox(gap.log, event_id="9-0")
    found = get_status()
    (problem,) = found.problems
    assert problem.since == gap.detected_at
    assert problem.what == "Redis lost events. Gaps in 24 hours: 2, last of new."
    assert "between 5-0 and 9-0, unknown number" in status_table(found)


# Text and JSON


def test_text_starts_with_at_most_three_problems(full_redis):
    make_gap("lost", 1)
    log = make_log(error="It is\nbroken", since=timezone.now() - timedelta(minutes=5))
    put_in_outbox(log, 300)
    lines = status_table(get_status()).splitlines()
    assert lines[0].startswith("Redis is out of memory and refuses new events")
    assert lines[1].startswith("process_events is not running. Start `manage.py process_events`")
    assert lines[2].startswith("Stalled logs: 1, first that of job abc: It is broken Since")
    assert lines[2].endswith("the log continues by itself. (1 more problem)")
    assert lines[3] == ""


def test_text_starts_with_one_line_if_nothing_is_wrong():
    make_processor()
    assert status_table(get_status()).splitlines()[:2] == ["Everything is processed.", ""]


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
    assert list(data)[:2] == ["healthy", "problems"]
    assert data["problems"][0]["action"]
    assert data["database_error"] == ""
    assert data["redis"]["policy"] == "noeviction"
    assert data["stalled"][0]["job_id"] == "abc"
    assert data["processors"][0]["name"] == "host:1"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.02, "0.0 s"), (1.4, "1 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (2e5, "2 d")],
)
def test_durations(seconds, text):
    assert duration_text(seconds) == text
