"""The numbers: what waits in the outbox and in Redis, what is stuck, who works."""

import json
import time
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from events.models import ArchiveCheckpoint, ArchivedEvent, EventLog, Processor
from events.processor import lag, status
from events.processor.status import get_status, is_running
from events.processor.status_text import duration_text, status_json, status_table
from events.types import START, Cursor

pytestmark = [pytest.mark.django_db, pytest.mark.database]

KEY = "job_events:abc"
FIELDS = {"data": "{}"}


@pytest.fixture
def redis_down(settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "REDIS_URL": "unix:///nonexistent/redis.sock"}


def make_log(job_id="abc", position=START, error="", since=None):
    log = EventLog.objects.create(job_id=job_id)
    ArchiveCheckpoint.objects.create(log=log, position=position, error=error, failed_at=since)
    return log


def put_in_outbox(log, seconds_ago=0.0, event_id=None):
    at = timezone.now() - timedelta(seconds=seconds_ago)
    row = {"event_type": "x", "timestamp": "x", "data": "{}"}
    ArchivedEvent.objects.create(log=log, event_id=event_id, written_at=at, **row)


def make_processor(name="host:1", seconds_ago=0.0):
    at = timezone.now() - timedelta(seconds=seconds_ago)
    numbers = {"rounds": 1, "events": 2, "failures": 0, "failing": False, "error": ""}
    return Processor.objects.create(
        name=name, started_at=at, heartbeat_at=at, loops={"relay": numbers, "archiver": numbers}
    )


def add(redis_client, count, key=KEY):
    return [redis_client.xadd(key, FIELDS).decode() for _ in range(count)]


def test_nothing_at_all():
    found = get_status()
    assert not found.running
    assert (found.outbox.depth, found.outbox.oldest_age) == (0, None)
    assert (found.archive.entries, found.archive.oldest_age) == (0, None)
    assert (found.archive.streams, found.archive.complete) == (0, True)
    assert (found.stalled_count, found.stalled, found.processors) == (0, (), ())
    assert not found.healthy


# The outbox


def test_the_outbox_has_a_depth_and_an_age():
    log = make_log()
    for seconds_ago in (5, 90, 0):
        put_in_outbox(log, seconds_ago)
    put_in_outbox(log, 5000, event_id="5-0")
    outbox = get_status().outbox
    assert outbox.depth == 3
    assert 90 <= outbox.oldest_age < 100
    assert outbox.late


def test_an_outbox_that_is_on_its_way_is_not_late():
    put_in_outbox(make_log(), 5)
    assert not get_status().outbox.late


def test_a_clock_that_is_behind_makes_no_negative_age():
    put_in_outbox(make_log(), -100)
    assert get_status().outbox.oldest_age == 0


def test_counting_the_outbox_does_not_read_the_archive():
    if connection.vendor == "sqlite":  # PostgreSQL decides by how much there is
        pending = ArchivedEvent.objects.filter(event_id=None)
        assert "job_events_outbox" in pending.explain()


# The archive


def test_a_stream_that_the_archive_does_not_know_is_behind(redis_client):
    add(redis_client, 3)
    archive = get_status().archive
    assert (archive.entries, archive.behind, archive.unknown, archive.streams) == (3, 1, 1, 1)
    assert 0 <= archive.oldest_age < 10


def test_a_stream_is_behind_by_what_comes_after_its_position(redis_client):
    ids = add(redis_client, 5)
    make_log(position=ids[1])
    archive = get_status().archive
    assert (archive.entries, archive.behind, archive.unknown) == (3, 1, 0)


def test_a_stream_that_is_archived_is_not_behind(redis_client):
    make_log(position=add(redis_client, 5)[-1])
    archive = get_status().archive
    assert (archive.entries, archive.behind, archive.streams) == (0, 0, 1)
    assert archive.oldest_age is None


def test_a_log_without_a_position_is_wholly_behind(redis_client):
    add(redis_client, 2)
    EventLog.objects.create(job_id="abc")
    archive = get_status().archive
    assert (archive.entries, archive.unknown) == (2, 0)


def test_what_is_trimmed_is_not_behind(redis_client):
    ids = add(redis_client, 5)
    redis_client.xtrim(KEY, minid=ids[3], approximate=False)
    make_log(position=ids[3])
    assert get_status().archive.entries == 1


def test_the_age_is_that_of_the_oldest_entry_of_all_streams(redis_client):
    now = int(time.time() * 1000)
    redis_client.xadd("job_events:old", FIELDS, id=f"{now - 120_000}-0")
    redis_client.xadd("job_events:old", FIELDS, id=f"{now - 90_000}-0")
    add(redis_client, 1)
    make_log("old", position=f"{now - 120_000}-0")
    archive = get_status().archive
    assert archive.entries == 2
    assert 90 <= archive.oldest_age < 100
    assert archive.late


def test_ids_that_no_clock_gave_have_no_age(redis_client):
    redis_client.xadd(KEY, FIELDS, id="1-1")
    archive = get_status().archive
    assert (archive.entries, archive.oldest_age) == (1, None)


def test_ids_of_the_future_have_age_zero(redis_client):
    redis_client.xadd(KEY, FIELDS, id=f"{int(time.time() * 1000) + 3_600_000}-0")
    assert get_status().archive.oldest_age == 0


def test_the_largest_id_can_be_archived(redis_client):
    largest = f"{2**64 - 1}-{2**64 - 1}"
    redis_client.xadd(KEY, FIELDS, id=largest)
    assert get_status().archive.entries == 1
    make_log(position=largest)
    assert get_status().archive.entries == 0


def test_keys_that_are_no_streams_of_jobs_are_passed_over(redis_client):
    redis_client.set(KEY, "text")
    redis_client.hset("job_events:x", "a", "b")
    redis_client.xadd("job_events:no job has this", FIELDS)
    redis_client.xadd(b"job_events:\xff", FIELDS)
    redis_client.xadd("other:abc", FIELDS)
    assert get_status().archive.streams == 0


def test_a_prefix_of_ones_own(redis_client, settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "STREAM_PREFIX": "[x]*:"}
    add(redis_client, 2, key="[x]*:abc")
    add(redis_client, 1)
    add(redis_client, 1, key="x:abc")
    assert get_status().archive.entries == 2


def test_a_thousand_entries_are_counted_and_more_are_reckoned(redis_client):
    pipeline = redis_client.pipeline()
    for number in range(1, 2502):
        pipeline.xadd(KEY, FIELDS, id=f"{number}-0")
    pipeline.execute()
    log = make_log(position="1-0")
    expected = {"1-0": 1501, "1002-0": 1501, "1600-0": 901, "2400-0": 101, "2501-0": 0}
    for position, entries in expected.items():
        ArchiveCheckpoint.objects.filter(log=log).update(position=Cursor.parse(position))
        assert get_status().archive.entries == entries, position
    ArchiveCheckpoint.objects.filter(log=log).update(position=START)
    assert get_status().archive.entries == 2501


def test_many_streams_cost_few_queries(redis_client, django_assert_num_queries):
    for number in range(1200):
        redis_client.xadd(f"job_events:job{number}", FIELDS)
    make_log("job7", position=Cursor(2**60, 0))
    with django_assert_num_queries(4 + 3):
        archive = get_status().archive
    assert (archive.streams, archive.behind, archive.unknown) == (1200, 1199, 1199)
    assert archive.complete


def test_more_streams_than_can_be_looked_at_are_said(redis_client, monkeypatch):
    monkeypatch.setattr(lag, "_STREAMS", 10)
    for number in range(30):
        redis_client.xadd(f"job_events:job{number}", FIELDS)
    archive = get_status().archive
    assert (archive.streams, archive.complete) == (10, False)


def test_without_redis_its_numbers_are_not_known(redis_down):
    put_in_outbox(make_log())
    make_processor()
    start = time.monotonic()
    found = get_status()
    assert time.monotonic() - start < 3
    assert (found.archive.entries, found.archive.oldest_age, found.archive.streams) == (None,) * 3
    assert found.archive.error == "Redis did not answer."
    assert found.outbox.depth == 1
    assert found.running
    assert not found.healthy


@pytest.mark.parametrize("url", ["nonsense", "redis://[::1"])
def test_an_address_that_is_none_is_said(settings, url):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "REDIS_URL": url}
    assert "REDIS_URL is not the address" in get_status().archive.error


# Logs that are stalled


def test_stalled_logs_are_named_the_longest_stalled_first():
    now = timezone.now()
    make_log("fine")
    make_log("late", error="It is broken", since=now)
    make_log("early", error="So is this", since=now - timedelta(hours=1))
    found = get_status()
    assert found.stalled_count == 2
    assert [log.job_id for log in found.stalled] == ["early", "late"]
    assert (found.stalled[1].error, found.stalled[1].since) == ("It is broken", now)


def test_of_many_stalled_logs_some_are_named(monkeypatch):
    monkeypatch.setattr(status, "MAX_STALLED", 3)
    for number in range(5):
        make_log(f"job{number}", error="x", since=timezone.now())
    found = get_status()
    assert (found.stalled_count, len(found.stalled)) == (5, 3)


# Processors


def test_a_processor_is_alive_if_it_was_seen_lately():
    make_processor("host:1", seconds_ago=29)
    make_processor("host:2", seconds_ago=31)
    found = get_status()
    assert found.running
    assert [(each.name, each.alive) for each in found.processors] == [
        ("host:1", True), ("host:2", False),
    ]  # fmt: skip
    assert found.processors[0].loops["relay"]["events"] == 2
    assert found.healthy


def test_one_that_was_not_seen_does_not_count():
    make_processor(seconds_ago=31)
    assert not get_status().running
    assert not is_running()


def test_a_page_asks_one_query(django_assert_num_queries):
    make_processor()
    with django_assert_num_queries(1):
        assert is_running()


# For people, and for programs


def test_the_table_says_it_all(redis_client):
    log = make_log(error="Somebody\nput a list there", since=timezone.now())
    put_in_outbox(log, 300)
    add(redis_client, 2)
    make_processor("host:1")
    make_processor("host:2", seconds_ago=400)
    text = status_table(get_status())
    for part in (
        "process_events running",
        "host:1, started",
        "host:2, started",
        "seen 7 min ago, so it is taken to be dead",
        "1 round, 2 events",
        "outbox         1 event, the oldest for 5 min",
        "archive        2 entries to copy, the oldest for",
        "; 1 stream in Redis",
        "stalled logs   1",
        "abc since ",
        "put a list there",
    ):
        assert part in text, (part, text)


def test_the_table_of_nothing(redis_down):
    text = status_table(get_status())
    assert "process_events NOT RUNNING" in text
    assert "outbox         empty" in text
    assert "archive        not known: Redis did not answer." in text


def test_the_table_tells_of_failures():
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
    assert (data["running"], data["healthy"]) == (True, False)
    assert data["stalled"][0]["job_id"] == "abc"
    assert data["processors"][0]["name"] == "host:1"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.02, "0.0 s"), (1.4, "1 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (2e5, "2 d")],
)
def test_durations(seconds, text):
    assert duration_text(seconds) == text
