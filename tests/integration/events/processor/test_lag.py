"""Archive lag: streams with entries that are not archived, and the age of the oldest."""

import time

import pytest

from events.exceptions import RedisUnavailable
from events.models import ArchiveCheckpoint, EventLog
from events.processor import lag
from events.processor.lag import archive_lag
from events.types import Cursor
from tests.integration.events.processor.conftest import make_log

pytestmark = [pytest.mark.django_db, pytest.mark.database]

KEY = "job_events:abc"
FIELDS = {"data": "{}"}


def behind():
    found = archive_lag()
    return found.behind, found.streams


def test_without_streams():
    found = archive_lag()
    assert (found.streams, found.behind, found.oldest_age) == (0, 0, None)
    assert found.complete
    assert not found.late


def test_stream_without_a_log_row_is_behind(add_entries):
    add_entries(3)
    assert behind() == (1, 1)
    assert 0 <= archive_lag().oldest_age < 60


def test_log_row_without_a_checkpoint_is_behind(add_entries):
    add_entries(2)
    EventLog.objects.create(job_id="abc")
    assert behind() == (1, 1)


def test_stream_with_entries_after_its_checkpoint_is_behind(add_entries):
    ids = add_entries(5)
    make_log(position=ids[1])
    assert behind() == (1, 1)


def test_archived_stream_is_not_behind(add_entries):
    make_log(position=add_entries(5)[-1])
    assert behind() == (0, 1)
    assert archive_lag().oldest_age is None


def test_deleted_entry_after_the_checkpoint_is_not_behind(redis_client, add_entries):
    """The stream's last generated id is above the checkpoint, but nothing is left to archive."""
    ids = add_entries(2)
    make_log(position=ids[0])
    redis_client.xdel(KEY, ids[1])
    assert behind() == (0, 1)


def test_trimmed_stream_is_behind_by_its_remaining_entries(redis_client, add_entries):
    ids = add_entries(5)
    redis_client.xtrim(KEY, minid=ids[3], approximate=False)
    make_log(position=ids[3])
    assert behind() == (1, 1)
    ArchiveCheckpoint.objects.update(position=Cursor.parse(ids[4]))
    assert behind() == (0, 1)


def test_age_is_that_of_the_oldest_unarchived_entry(redis_client, add_entries):
    now = int(time.time() * 1000)
    redis_client.xadd("job_events:old", FIELDS, id=f"{now - 7_200_000}-0")
    redis_client.xadd("job_events:old", FIELDS, id=f"{now - 3_600_000}-0")
    redis_client.xadd("job_events:old", FIELDS, id=f"{now - 1_000}-0")
    add_entries(1)
    make_log("old", position=f"{now - 7_200_000}-0")
    found = archive_lag()
    assert found.behind == 2
    assert 3_600 <= found.oldest_age < 7_200
    assert found.late


def test_ids_that_no_clock_assigned_have_no_age(redis_client):
    redis_client.xadd(KEY, FIELDS, id="1-1")
    found = archive_lag()
    assert (found.behind, found.oldest_age) == (1, None)


def test_ids_in_the_future_have_age_zero(redis_client):
    redis_client.xadd(KEY, FIELDS, id=f"{int(time.time() * 1000) + 3_600_000}-0")
    assert archive_lag().oldest_age == 0


def test_largest_id(redis_client):
    largest = f"{2**64 - 1}-{2**64 - 1}"
    redis_client.xadd(KEY, FIELDS, id=largest)
    assert behind() == (1, 1)
    make_log(position=largest)
    assert behind() == (0, 1)


def test_keys_that_are_not_streams_of_jobs_are_ignored(redis_client):
    redis_client.set(KEY, "text")
    redis_client.hset("job_events:x", "a", "b")
    redis_client.xadd("job_events:no job has this", FIELDS)
    redis_client.xadd(b"job_events:\xff", FIELDS)
    redis_client.xadd("other:abc", FIELDS)
    assert behind() == (0, 0)


def test_custom_prefix(add_entries, settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "STREAM_PREFIX": "[x]*:"}
    add_entries(2, key="[x]*:abc")
    add_entries(1)
    add_entries(1, key="x:abc")
    assert behind() == (1, 1)


def test_many_streams_cost_few_queries(redis_client, django_assert_num_queries):
    for number in range(1200):
        redis_client.xadd(f"job_events:job{number}", FIELDS)
    make_log("job7", position=Cursor(2**60, 0))
    with django_assert_num_queries(3):
        found = archive_lag()
    assert (found.streams, found.behind) == (1200, 1199)
    assert found.complete


def test_incomplete_inspection_is_reported(redis_client, monkeypatch):
    monkeypatch.setattr(lag, "MAX_STREAMS", 10)
    for number in range(30):
        redis_client.xadd(f"job_events:job{number}", FIELDS)
    found = archive_lag()
    assert (found.streams, found.complete) == (10, False)


def test_unavailable_redis_raises(redis_down):
    with pytest.raises(RedisUnavailable):
        archive_lag()
