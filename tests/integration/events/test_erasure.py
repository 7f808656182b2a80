"""Erasure: a deleted log is removed everywhere, and neither read nor written any more."""

import asyncio
import threading
from contextlib import aclosing
from datetime import timedelta
from time import sleep

import pytest
from asgiref.sync import sync_to_async
from django.db import connection, connections, transaction
from django.utils import timezone

from events import erasure, outbox
from events.archive import reader as archive_reader
from events.archive import retention
from events.archive.archiver import Archiver
from events.archive.filters import EventFilter
from events.archive.importer import import_events
from events.erasure import Eraser, delete_log, erase_log
from events.exceptions import LogDeleted, RedisCommandError
from events.history import has_log, read_events, reader, search_events
from events.live import await_events, follow
from events.live.messages import KeepAlive, Live
from events.live.presence import mark_watched
from events.models import ArchiveCheckpoint, ArchivedEvent, EventLog
from events.outbox import relay, writer
from events.outbox.relay import Relay
from events.outbox.writer import redis_breaker
from events.producer import publish_sequenced
from events.publisher import RedisStreamPublisher, get_publisher
from events.transfer.export import iter_pages
from events.types import Cursor, Event

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

STREAM, STATE = b"job_events:abc", b"{job_events:abc}:producers"
MONTH_MS = 30 * 24 * 60 * 60 * 1000


def publish(*numbers, job_id="abc"):
    return get_publisher().publish_events(job_id, [{"n": n} for n in numbers])


def archive():
    archiver = Archiver()
    while archiver.step():
        pass


def erase(eraser=None):
    """Run the step until it finds nothing to do; return the sum of what it returned."""
    eraser, total = eraser or Eraser(), 0
    while count := eraser.step():
        total += count
    return total


def append_only(monkeypatch, name="_append"):
    """Leave what follows a commit to `process_events`."""
    module = writer if name == "_append" else erasure
    monkeypatch.setattr(module, name, lambda *_arguments: None)


def write_log(monkeypatch):
    """Write archived, appended and pending events of both kinds."""
    publish(1, 2)
    outbox.publish_event("abc", {"n": 3, "text": "cinnamon"})
    archive()
    publish(4)
    outbox.publish_event("abc", {"n": 5})
    with monkeypatch.context() as patch:
        append_only(patch)
        outbox.publish_event("abc", {"n": 6})
    mark_watched(["abc"])


def check_erased(redis_client, job_id="abc"):
    """Check that only the tombstones remain."""
    log = EventLog.objects.get(job_id=job_id)
    assert log.deleted_at <= log.erased_at
    assert log.sequence == 0
    assert not ArchivedEvent.objects.filter(log=log).exists()
    assert not ArchiveCheckpoint.objects.filter(log=log).exists()
    state = f"{{job_events:{job_id}}}:producers".encode()
    assert {key for key in redis_client.scan_iter() if job_id.encode() in key} == {state}
    assert redis_client.hgetall(state) == {b"expiring": b"deleted"}
    assert MONTH_MS - 60_000 < redis_client.pttl(state) <= MONTH_MS
    check_refused(job_id)


def check_refused(job_id="abc"):
    for write in (publish, lambda *_, job_id: outbox.publish_event(job_id, {"n": 7})):
        with pytest.raises(LogDeleted):
            write(7, job_id=job_id)
    with pytest.raises(LogDeleted):
        read_events(job_id)


# What is removed


def test_log_is_removed_everywhere(monkeypatch, redis_client):
    write_log(monkeypatch)
    publish(1, job_id="other")
    archive()
    delete_log("abc")
    check_erased(redis_client)
    assert [event.data["n"] for event in read_events("other")] == [1]
    assert len(publish(2, job_id="other")) == 1


def test_search_terms_are_removed(monkeypatch):
    write_log(monkeypatch)
    job_ids = EventLog.objects.values("job_id")
    query = EventFilter.of(None, "cinnamon", None)
    assert len(search_events(job_ids, query, limit=9).events) == 1
    delete_log("abc")
    assert not search_events(job_ids, query, limit=9).events
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM job_events_terms WHERE job_events_terms MATCH 'cinnamon'"
            )
            assert cursor.fetchone() == (0,)


def test_job_id_without_a_log_is_refused(redis_client):
    delete_log("abc")
    check_erased(redis_client)


def test_deletion_may_be_repeated(monkeypatch, redis_client):
    write_log(monkeypatch)
    for _ in range(2):
        delete_log("abc")
        erase_log("abc")
    assert erase() == 0
    check_erased(redis_client)


def test_rollback_deletes_nothing(monkeypatch):
    write_log(monkeypatch)
    before = read_events("abc")
    with transaction.atomic():
        delete_log("abc")
        with pytest.raises(LogDeleted):
            read_events("abc")
        transaction.set_rollback(True)
    assert read_events("abc") == before
    assert publish(7)
    assert erase() == 0
    erase_log("abc")  # has no effect on a log that is not deleted
    assert len(read_events("abc")) == len(before) + 1


def test_large_log_is_erased_in_batches(monkeypatch, redis_client):
    monkeypatch.setattr(erasure, "MAX_BATCH_EVENTS", 10)
    publish(*range(35))
    archive()
    delete_log("abc")
    assert ArchivedEvent.objects.count() == 25
    with pytest.raises(LogDeleted):
        read_events("abc")
    assert erase() == 3
    check_erased(redis_client)


# Who is refused


WRITES = {
    "event": lambda: publish(1),
    "events": lambda: publish(*range(9)),
    "key": lambda: get_publisher().publish_event("abc", {"n": 1}, idempotency_key="one"),
    "epoch": lambda: get_publisher(epoch=3).publish_event("abc", {"n": 1}),
    "task": lambda: get_publisher().publish_task_progress("abc", "x", 1),
    "sequenced": lambda: publish_sequenced("abc", [{"n": 1}], producer=["me"], sequence=1),
    "outbox": lambda: outbox.publish_event("abc", {"n": 1}),
    "import": lambda: import_events([Event("5-0", "abc", "x", "", b"{}")]),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_writes_are_refused(redis_client, write):
    """The producers have written before, so that the process knows earlier appends of theirs."""
    write()
    archive()
    delete_log("abc")
    for _ in range(2):
        with pytest.raises(LogDeleted):
            write()
    check_erased(redis_client)


async def test_concurrent_async_publishes_are_refused(redis_client, async_redis):
    publisher = RedisStreamPublisher(async_redis)
    await publisher.publish_event("abc", {"n": 1})
    await sync_to_async(delete_log)("abc")
    calls = [publisher.publish_event("abc", {"n": n}) for n in range(3)]
    results = await asyncio.gather(
        *calls, publisher.publish_event("other", {"n": 1}), return_exceptions=True
    )
    assert [type(result) for result in results] == [LogDeleted, LogDeleted, LogDeleted, str]
    await sync_to_async(check_erased)(redis_client)


def test_write_after_the_deletion_in_one_transaction_is_refused():
    outbox.publish_event("abc", {"n": 1})

    @transaction.atomic
    def delete_and_publish():
        delete_log("abc")
        outbox.publish_event("abc", {"n": 2})

    with pytest.raises(LogDeleted):
        delete_and_publish()
    assert len(read_events("abc")) == 1  # the deletion was rolled back as well


def test_event_of_a_committed_transaction_is_not_appended_later(monkeypatch, redis_client):
    append_only(monkeypatch)
    outbox.publish_event("abc", {"n": 1})
    append_only(monkeypatch, "_start_erasure")
    delete_log("abc")
    erasure._erase_streams(["abc"])
    with pytest.raises(LogDeleted):
        relay.append_pending("abc")
    monkeypatch.setattr(relay, "MIN_AGE", timedelta(0))
    assert Relay().step() == 0
    erase()
    check_erased(redis_client)


def test_pruning_does_not_change_a_deleted_log(monkeypatch, redis_client):
    publish(*range(20))
    archive()
    log = EventLog.objects.get()
    point = Cursor.parse(read_events("abc")[10].id)
    append_only(monkeypatch, "_start_erasure")
    delete_log("abc")
    assert retention.delete_before(log.pk, point) == 10
    with pytest.raises(LogDeleted):
        read_events("abc")
    assert retention.retention_point("abc", before=point, keep=1) is None
    erase()
    check_erased(redis_client)


# Readers


@pytest.mark.parametrize("in_database_only", [False, True])
def test_reads_raise(monkeypatch, in_database_only):
    ids = publish(*range(5))
    archive()
    if in_database_only:
        append_only(monkeypatch, "_start_erasure")
    delete_log("abc")
    reads = [
        {}, {"order": "desc"}, {"after": ids[0]}, {"after": ids[0], "strict": True},
        {"after": "9-0", "strict": True}, {"before": ids[3], "limit": 1}, {"search": "x"},
    ]  # fmt: skip
    for arguments in reads:
        with pytest.raises(LogDeleted):
            read_events("abc", **arguments)
    with pytest.raises(LogDeleted):
        list(iter_pages("abc"))
    assert has_log("abc")
    assert not has_log("other")
    assert read_events("other") == []


@pytest.mark.parametrize("after", [None, "0"])
def test_deletion_while_a_page_is_read(monkeypatch, after):
    """The log is deleted, and half of it erased, between the two queries of a page."""
    publish(*range(20))
    archive()
    monkeypatch.setattr(erasure, "MAX_BATCH_EVENTS", 10)

    def page_of_a_deleted_log(log, query):
        if EventLog.objects.filter(deleted_at=None).exists():
            delete_log("abc")
        return archive_reader.archived_page(log, query)

    monkeypatch.setattr(reader, "archived_page", page_of_a_deleted_log)
    with pytest.raises(LogDeleted):
        read_events("abc", after=after)
    assert ArchivedEvent.objects.count() == 10


@pytest.mark.parametrize("is_archived", [False, True])
async def test_subscribers_receive_neither_reset_nor_end(settings, is_archived):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "KEEP_ALIVE": 0.1}
    await sync_to_async(publish)(*range(3))
    if is_archived:
        await sync_to_async(archive)()
    received = []
    async with asyncio.timeout(20), aclosing(follow("abc")) as messages:
        with pytest.raises(LogDeleted):  # noqa: PT012 - the loop raises
            async for message in messages:
                received.append(type(message))
                if isinstance(message, Live):
                    await sync_to_async(delete_log)("abc")
    assert received.count(Event) == 3
    assert {Live} <= {*received} <= {Event, Live, KeepAlive}


async def test_waiting_raises(settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "KEEP_ALIVE": 0.1}
    (event_id,) = await sync_to_async(publish)(1)
    waiting = asyncio.create_task(await_events("abc", after=Cursor.parse(event_id), seconds=20))
    await asyncio.sleep(0.2)
    await sync_to_async(delete_log)("abc")
    with pytest.raises(LogDeleted):
        await waiting


# Interruptions


def test_deletion_without_redis(settings, monkeypatch, redis_client):
    write_log(monkeypatch)
    before = settings.JOB_EVENTS
    settings.JOB_EVENTS = {**before, "REDIS_URL": "unix:///nonexistent/redis.sock"}
    delete_log("abc")
    with pytest.raises(LogDeleted):
        outbox.publish_event("abc", {"n": 7})
    settings.JOB_EVENTS = before
    redis_breaker.record_success()
    assert redis_client.exists(STREAM)
    assert erase() == 1
    check_erased(redis_client)


def test_events_between_the_commit_and_the_step_in_redis_are_removed(monkeypatch, redis_client):
    write_log(monkeypatch)
    append_only(monkeypatch, "_start_erasure")
    delete_log("abc")
    assert publish(7)
    archive()
    erase()
    check_erased(redis_client)


def test_archiver_that_knows_the_stream_archives_nothing(monkeypatch, redis_client):
    archiver = Archiver()
    publish(1)
    while archiver.step():
        pass
    publish(2)
    append_only(monkeypatch, "_start_erasure")
    delete_log("abc")
    assert archiver.step() == 0
    erase()
    redis_client.xadd(STREAM, {"data": "{}"})
    assert archiver.step() == 0
    assert not ArchivedEvent.objects.exists()


@pytest.mark.parametrize("loss", ["xadd", "wiped", "restored"])
def test_stream_of_an_erased_log_is_erased_again(monkeypatch, redis_client, loss, caplog):
    write_log(monkeypatch)
    dump = redis_client.dump(STREAM)
    delete_log("abc")
    if loss == "xadd":
        redis_client.xadd(STREAM, {"data": "{}"})
    elif loss == "wiped":
        redis_client.flushall()
        assert publish(7)
    else:
        redis_client.flushall()
        redis_client.restore(STREAM, 0, dump)
    archive()
    assert not ArchivedEvent.objects.exists()
    assert erase() == 1
    check_erased(redis_client)
    assert caplog.messages.count("erased_stream_found") == 1


def test_wiped_redis_is_no_way_around_the_database(redis_client):
    publish(1)
    delete_log("abc")
    redis_client.flushall()
    with pytest.raises(LogDeleted):
        outbox.publish_event("abc", {"n": 2})
    with pytest.raises(LogDeleted):
        read_events("abc")


def test_redis_that_is_out_of_memory(redis_client):
    publish(*range(10))
    redis_client.config_set("maxmemory", 1)
    try:
        delete_log("abc")
    finally:
        redis_client.config_set("maxmemory", 0)
    check_erased(redis_client)


def test_error_of_one_log_does_not_delay_others(monkeypatch, redis_client):
    for job_id in ("abc", "bad"):
        publish(1, job_id=job_id)
    original = erasure._erase_streams

    def fail(job_ids):
        errors = {"bad": RedisCommandError("no permission")} if "bad" in job_ids else {}
        return errors | original([each for each in job_ids if each != "bad"])

    monkeypatch.setattr(erasure, "_erase_streams", fail)
    delete_log("bad")
    append_only(monkeypatch, "_start_erasure")
    delete_log("abc")
    with pytest.raises(RedisCommandError):
        erase()
    check_erased(redis_client)
    with pytest.raises(RedisCommandError):
        erase_log("bad")
    monkeypatch.setattr(erasure, "_erase_streams", original)
    assert erase() == 1
    check_erased(redis_client, "bad")


def test_many_logs_of_one_transaction(monkeypatch, redis_client, django_assert_max_num_queries):
    job_ids = [f"job{number}" for number in range(250)]
    with transaction.atomic():
        for job_id in job_ids:
            delete_log(job_id)
    assert not EventLog.objects.filter(erased_at=None).exists()
    append_only(monkeypatch, "_start_erasure")
    for job_id in job_ids:
        publish_late(job_id)
        delete_log(job_id)
    with django_assert_max_num_queries(60):
        assert erase() == len(job_ids)
    for job_id in job_ids[::50]:
        check_erased(redis_client, job_id)


def publish_late(job_id):
    erasure.get_redis().xadd(f"job_events:{job_id}", {"data": "{}"})


def test_several_processes_erase_one_log(monkeypatch, redis_client):
    monkeypatch.setattr(erasure, "MAX_BATCH_EVENTS", 5)
    publish(*range(40))
    archive()
    append_only(monkeypatch, "_start_erasure")
    delete_log("abc")

    def run():
        try:
            erase_log("abc")
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert erase() == 0
    check_erased(redis_client)


def test_deletion_waits_for_an_open_transaction(redis_client):
    """The transaction commits its event, which is erased with the others."""
    outbox.publish_event("abc", {"n": 1})
    published, deleted = threading.Event(), threading.Event()

    def delete():
        published.wait(20)
        delete_log("abc")
        deleted.set()
        connections.close_all()

    thread = threading.Thread(target=delete)
    thread.start()
    with transaction.atomic():
        outbox.publish_event("abc", {"n": 2})
        published.set()
        sleep(0.3)
        assert not deleted.is_set()
    thread.join()
    check_erased(redis_client)


# Tombstones


def test_tombstone_expires(settings, redis_client):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "TOMBSTONE_TTL": 7200}
    for job_id, hours in (("abc", 3.1), ("kept", 2.9)):
        publish(1, job_id=job_id)
        delete_log(job_id)
        erased_at = timezone.now() - timedelta(hours=hours)
        EventLog.objects.filter(job_id=job_id).update(deleted_at=erased_at, erased_at=erased_at)
    assert 0 < redis_client.pttl(STATE) <= 7_200_000
    redis_client.delete(STATE)  # it has expired
    assert erase() == 0
    assert list(EventLog.objects.values_list("job_id", flat=True)) == ["kept"]
    outbox.publish_event("abc", {"n": 2})
    assert publish(3)
    assert [event.data["n"] for event in read_events("abc")] == [2, 3]


def test_deletion_that_is_not_finished_does_not_expire(monkeypatch):
    publish(1)
    append_only(monkeypatch, "_start_erasure")
    delete_log("abc")
    EventLog.objects.update(deleted_at=timezone.now() - timedelta(days=60))
    assert erase() == 1
    assert EventLog.objects.get().erased_at is not None
