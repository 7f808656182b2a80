"""The archiver copies every entry once, and removes only archived entries from Redis."""

from contextlib import suppress

import pytest
from django.db import DatabaseError, InternalError, OperationalError, connection, transaction

from events import outbox
from events.archive import projections
from events.archive.archiver import Archiver
from events.exceptions import CursorExpired
from events.history import archive_position, aread_events, read_events
from events.models import ArchiveCheckpoint, ArchivedEvent, EventLog
from events.producer.batch import RETRY_SECONDS
from events.publisher import get_publisher
from events.streams.clients import get_redis
from events.types import Cursor
from tests.support.database import read_only_database

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


def archive(archiver=None):
    archiver, total = archiver or Archiver(), 0
    while copied := archiver.step():
        total += copied
    return total


def rows(job_id="abc"):
    found = ArchivedEvent.objects.filter(log__job_id=job_id).order_by("event_id")
    return [str(event_id) for event_id in found.values_list("event_id", flat=True)]


class RecordingProjection:
    """Records its calls; `poison` is a job whose events it rejects."""

    def __init__(self):
        self.applied, self.completed, self.locked, self.poison = [], set(), set(), None

    def lock(self, events):
        return self.locked & set(events)

    def apply(self, events):
        for job_id, new_events in events.items():
            if job_id == self.poison:
                raise ValueError("not this one")
            self.applied += [(job_id, event.id) for event in new_events]

    def completed_jobs(self, job_ids):
        return self.completed & set(job_ids)


@pytest.fixture
def projection():
    projection = RecordingProjection()
    projections.append(projection)
    yield projection
    projections.remove(projection)


def test_every_entry_of_every_stream_is_copied():
    ids = get_publisher().publish_events("abc", [{"n": n} for n in range(5000)])
    others = get_publisher().publish_events("def", [{"n": n} for n in range(3)])
    assert archive() == 5003
    assert rows() == ids
    assert rows("def") == others
    assert archive_position("abc") == ids[-1]
    assert archive() == 0


def test_entries_of_external_producers_are_archived(redis_client, caplog):
    entries = [
        {"data": "{broken"}, {"hello": "world"}, {"data": b"\xff\x00"}, {"data": '{"a":"\\u0000"}'},
        {"event_type": "a\x00b", "data": "{}"}, {"data": '{"event_type": "a\\u0000b"}'},
        {"data": '"text"'}, {"data": ""}, {"": ""}, {"data": "{}", "producer": "me"},
        {"data": "{}", "timestamp": "soon"}, {"data": '{"n": 1e400}'}, {"data": "[" * 3000},
    ]  # fmt: skip
    for fields in entries:
        redis_client.xadd("job_events:abc", fields)
    largest = "18446744073709551615-18446744073709551615"
    redis_client.xadd("job_events:abc", {"data": "{}"}, id=largest)
    redis_client.xadd("job_events:no job", {"data": "{}"})
    redis_client.set("job_events:text", "x")
    before = read_events("abc")
    assert archive() == len(entries) + 1
    redis_client.flushall()
    assert read_events("abc") == before
    assert read_events("abc")[-1].id == largest
    assert caplog.messages.count("stream_without_job_id") == 1


def test_event_of_the_outbox_keeps_its_row():
    outbox.publish_event("abc", {"n": 1})
    (pk,) = ArchivedEvent.objects.values_list("pk", flat=True)
    assert archive() == 1
    (row,) = ArchivedEvent.objects.all()
    assert (row.pk, str(row.event_id)) == (pk, read_events("abc")[0].id)


def test_entry_with_a_forged_outbox_producer_gets_its_own_row(redis_client):
    with transaction.atomic():
        outbox.publish_event("abc", {"n": 1})
        forged = {"data": '{"n":2}', "producer": "outbox:0:1"}
        redis_client.xadd("job_events:abc", forged)
    assert archive() == 2
    assert [event.data["n"] for event in read_events("abc")] == [2, 1]
    assert ArchivedEvent.objects.filter(event_id=None).count() == 0


@pytest.mark.parametrize("tail", [0, 100])
def test_stream_is_trimmed_to_its_tail(settings, redis_client, tail):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "STREAM_TAIL": tail}
    ids = get_publisher().publish_events("abc", [{"n": n} for n in range(3000)])
    archive()
    assert tail <= redis_client.xlen("job_events:abc") <= tail + 200
    assert [event.id for event in read_events("abc", limit=3000)] == ids


def test_unarchived_entries_are_not_trimmed(settings, redis_client, projection):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "STREAM_TAIL": 0}
    projection.poison = "abc"
    get_publisher().publish_events("abc", [{"n": n} for n in range(3000)])
    archive()
    assert redis_client.xlen("job_events:abc") == 3000


def test_stream_of_a_completed_job_expires_with_its_state(redis_client, settings, projection):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "STREAM_TTL": 100}
    publisher = get_publisher()
    publisher.publish_event("abc", {"n": 1})
    publisher.publish_event("def", {"n": 1})
    projection.completed = {"abc"}
    archive()
    keys = ("job_events:abc", "{job_events:abc}:producers")
    # The state lives for as long as publishers retry.
    assert 0 < redis_client.ttl(keys[0]) <= 100 < RETRY_SECONDS < redis_client.ttl(keys[1])
    assert redis_client.ttl("job_events:def") == -1
    # A late event removes the expiry until it is archived.
    publisher.publish_event("abc", {"n": 2})
    assert all(redis_client.ttl(key) == -1 for key in keys)
    archive()
    assert 0 < redis_client.ttl(keys[0]) <= 100 < RETRY_SECONDS < redis_client.ttl(keys[1])
    assert [event.data["n"] for event in read_events("abc")] == [1, 2]


def test_projections_receive_each_event_once(projection):
    ids = get_publisher().publish_events("abc", [{}, {}])
    outbox.publish_event("abc", {})
    archiver = Archiver()
    archive(archiver)
    archive(Archiver())
    assert projection.applied == [("abc", event.id) for event in read_events("abc")]
    assert len(projection.applied) == len(ids) + 1


def test_error_of_a_projection_stalls_only_its_log(projection, caplog):
    projection.poison = "bad"
    for job_id in ("bad", "good"):
        get_publisher().publish_event(job_id, {})
    assert archive() == 1
    assert (rows("good") != [], rows("bad")) == (True, [])
    position = ArchiveCheckpoint.objects.get(log__job_id="bad")
    assert (position.error, position.position) == ("ValueError: not this one", Cursor(0, 0))
    assert position.failed_at is not None
    assert caplog.messages.count("log_stalled") == 1
    projection.poison = None
    assert archive() == 1
    position.refresh_from_db()
    assert (position.error, position.failed_at) == ("", None)


def test_read_only_database_stalls_no_log(caplog):
    archiver = Archiver()
    get_publisher().publish_event("abc", {})
    assert archive(archiver) == 1
    get_publisher().publish_event("abc", {})
    with read_only_database(), pytest.raises((OperationalError, InternalError)):
        archiver.step()
    assert "log_stalled" not in caplog.text
    assert archive(archiver) == 1  # at once


def test_error_that_a_projection_swallows_stalls_its_log(projection):
    """PostgreSQL refuses the rest of the transaction with InternalError, too."""

    def apply(_events):
        with suppress(DatabaseError), connection.cursor() as cursor:
            cursor.execute("SELECT no_such_column")

    projection.apply = apply
    get_publisher().publish_event("abc", {})
    archive()
    stalled = ArchiveCheckpoint.objects.exclude(error="").count()
    assert stalled == (connection.vendor == "postgresql")


def test_log_with_locked_rows_is_archived_later(projection):
    projection.locked = {"abc"}
    get_publisher().publish_event("abc", {})
    assert archive() == 0
    projection.locked = set()
    assert archive() == 1


def test_batch_that_another_archiver_has_stored_is_discarded(projection):
    get_publisher().publish_events("abc", [{"n": n} for n in range(3)])
    slow = Archiver()
    slow._discover_streams()
    batch = slow._read(list(slow._streams.values()))
    archive()
    get_publisher().publish_event("abc", {"n": 3})
    assert slow._store(batch) == 0
    archive(slow)
    assert [event.data["n"] for event in read_events("abc")] == [0, 1, 2, 3]
    assert len(projection.applied) == 4


def test_truncated_log_raises_cursor_expired():
    ids = get_publisher().publish_events("abc", [{"n": n} for n in range(5)])
    archive()
    EventLog.objects.update(truncated_before=Cursor.parse(ids[3]))
    ArchivedEvent.objects.filter(event_id__lt=ids[3]).delete()
    get_redis().delete("job_events:abc")
    with pytest.raises(CursorExpired) as caught:
        read_events("abc", after=ids[0])
    assert caught.value.truncated_before == ids[3]
    assert [event.id for event in read_events("abc", after=caught.value.after)] == ids[3:]
    assert [event.id for event in read_events("abc")] == ids[3:]
    assert [event.id for event in read_events("abc", after="0")] == ids[3:]


async def test_async_reader_merges_both_tiers():
    ids = get_publisher().publish_events("abc", [{"n": n} for n in range(5)])
    from asgiref.sync import sync_to_async

    await sync_to_async(archive)()
    ids += get_publisher().publish_events("abc", [{"n": n} for n in range(5, 9)])
    assert [event.id for event in await aread_events("abc")] == ids
    assert [event.id for event in await aread_events("abc", after=ids[3], limit=3)] == ids[4:7]
