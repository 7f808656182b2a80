"""A Redis with a few megabytes of memory: what is archived makes room for new events."""

from contextlib import suppress
from datetime import timedelta

import pytest
import redis
from asgiref.sync import sync_to_async
from django.utils import timezone

from events import outbox
from events.archive import projections
from events.archive.archiver import Archiver
from events.exceptions import RedisOutOfMemory, RedisUnavailable
from events.history import read_events
from events.live import follow
from events.live.messages import Live, Reset
from events.live.presence import PRESENCE_TTL_SECONDS, mark_watched
from events.models import ArchiveCheckpoint, ArchivedEvent
from events.outbox.relay import Relay, append_pending
from events.processor import get_status
from events.processor.processor import build_steps
from events.processor.single_pass import pending_work, run_single_pass
from events.publisher import get_publisher
from events.streams.clients import close_async_redis, get_redis
from events.streams.memory import read_memory
from events.testing.redis_server import EmbeddedRedis
from jobs.models import Job

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

MIB = 1024 * 1024
TEXT = "x" * 4096


@pytest.fixture
def small_redis(short_tmp, settings, monkeypatch):
    """A Redis of 12 MiB for one test."""
    server = EmbeddedRedis(short_tmp / "small", save="", appendonly="no", maxmemory="12mb")
    server.start()
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "REDIS_URL": server.url}
    monkeypatch.setattr("events.outbox.relay.MIN_AGE", timedelta())
    yield get_redis()
    server.stop()


def make_jobs(count, *, is_finished=True):
    finished_at = timezone.now() - timedelta(minutes=1) if is_finished else None
    status = Job.Status.COMPLETED if is_finished else Job.Status.RUNNING
    jobs = [Job(task_type="manual", status=status, finished_at=finished_at) for _ in range(count)]
    return [job.job_id for job in Job.objects.bulk_create(jobs)]


def fill(job_ids):
    """Publish to these jobs in turn until Redis is out of memory; return the number of events."""
    count, publisher = 0, get_publisher()
    with suppress(RedisOutOfMemory):
        while True:
            publisher.publish_event(job_ids[count % len(job_ids)], {"n": count, "text": TEXT})
            count += 1
    return count


def archive(archiver=None):
    """Run the steps of an archiver until one copies nothing; that one maintains the streams."""
    archiver = archiver or Archiver()
    while archiver.step():
        pass
    return archiver


def entries(client, job_ids):
    return sum(client.xlen(f"job_events:{job_id}") for job_id in job_ids)


def numbers(job_ids):
    return sorted(event.data["n"] for job_id in job_ids for event in read_events(job_id))


def test_finished_and_archived_jobs_leave_memory_to_new_events(small_redis):
    job_ids = make_jobs(250)
    count = fill(job_ids)
    archive()
    memory = read_memory(small_redis)
    assert not memory.is_under_pressure
    assert memory.used < 4 * MIB
    assert get_publisher().publish_events("new", [{"text": TEXT}] * 200)
    assert entries(small_redis, job_ids) == 0
    assert not small_redis.keys("job_events:[^n]*")  # not even empty streams
    assert numbers(job_ids) == list(range(count))


def test_full_redis_is_not_a_stalled_log(small_redis):
    job_ids = make_jobs(100, is_finished=False)
    fill(job_ids)
    for job_id in job_ids:
        outbox.publish_event(job_id, {"event_type": "committed"})
    with pytest.raises(RedisOutOfMemory):
        Relay().step()
    with pytest.raises(RedisOutOfMemory):
        append_pending(job_ids[0])
    assert not ArchiveCheckpoint.objects.exclude(error="").exists()
    status = get_status()
    assert status.stalled_count == 0
    assert status.redis.is_full
    archive()
    Relay().step()  # some were appended while Redis had just enough memory
    archive()
    assert not ArchivedEvent.objects.filter(event_id=None).exists()
    for job_id in job_ids:
        assert read_events(job_id)[-1].event_type == "committed"


def test_single_pass_makes_room_for_the_outbox(small_redis):
    """Without a permanent process, each run of `process_events --once` starts with a full Redis."""
    job_ids = make_jobs(100)
    fill(job_ids)
    outbox.publish_event("new", {"event_type": "committed"})
    result = run_single_pass(build_steps(single_pass=True), timeout=60)
    assert (result.idle, pending_work(result)) == (True, "")
    assert [event.event_type for event in read_events("new")] == ["committed"]


def test_events_that_are_not_archived_are_kept(small_redis):
    class Projection:
        def lock(self, events):
            return {"kept"} & set(events)

        def apply(self, events):
            pass

        def completed_jobs(self, job_ids):
            return job_ids

    projection = Projection()
    projections.append(projection)
    try:
        ids = get_publisher().publish_events("kept", [{"n": n} for n in range(50)])
        get_publisher().publish_events("gone", [{"n": n} for n in range(50)])
        fill_with_other_data(small_redis)
        archive()
        assert small_redis.xlen("job_events:kept") == 50
        assert not small_redis.exists("job_events:gone")
    finally:
        projections.remove(projection)
    small_redis.delete("filler")
    archive()
    assert [event.id for event in read_events("kept")] == ids


def fill_with_other_data(client):
    """Fill the memory with a key of another program until events are refused."""
    size = 0
    while not read_memory(client).is_full:
        size += 64 * 1024
        with suppress(redis.ResponseError):
            client.setrange("filler", size, b"x")


def test_stream_that_already_expires_is_emptied(small_redis, settings):
    (job_id,) = make_jobs(1)
    get_publisher().publish_event(job_id, {"n": 1})
    archiver = archive()
    key, state = f"job_events:{job_id}", f"{{job_events:{job_id}}}:producers"
    assert (small_redis.xlen(key), small_redis.pttl(key) > 0) == (1, True)
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "MEMORY_PRESSURE": 0.01}
    archiver._maintenance._next_at = 0
    archiver.step()
    assert small_redis.xlen(key) == 0
    assert small_redis.pttl(state) > 3_600_000  # publishers retry for an hour
    assert [event.data["n"] for event in read_events(job_id)] == [1]


def test_repeated_append_after_its_event_was_trimmed(small_redis, settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "MEMORY_PRESSURE": 0.01}
    publisher = get_publisher()
    (event_id,) = publisher.publish_events("abc", [{"n": 1}], idempotency_key="once")
    archive()
    assert small_redis.xlen("job_events:abc") == 0
    assert publisher.publish_events("abc", [{"n": 1}], idempotency_key="once") == [event_id]
    assert publisher.publish_event("abc", {"n": 2}) != event_id
    archive()
    assert [event.data["n"] for event in read_events("abc")] == [1, 2]


async def test_subscribers_continue_while_streams_keep_nothing(small_redis, settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "MEMORY_PRESSURE": 0.01, "KEEP_ALIVE": 0.2}
    publish = sync_to_async(get_publisher().publish_event)
    received, sent = [], []
    sent.append(await publish("abc", {"n": 0}))
    messages = follow("abc")
    async for message in messages:
        assert not isinstance(message, Reset)
        if isinstance(message, Live):
            for number in range(1, 4):
                await sync_to_async(archive)()
                assert await sync_to_async(small_redis.xlen)("job_events:abc") == 0
                sent.append(await publish("abc", {"n": number}))
        elif hasattr(message, "id"):
            received.append(message.id)
            if len(received) == 4:
                break
    await messages.aclose()
    await close_async_redis()
    assert received == sent


def test_stream_that_was_rewound_is_repaired_without_memory(small_redis):
    """The repair moves entries and removes others: it needs no further memory."""
    publisher = get_publisher()
    publisher.publish_events("abc", [{"n": n} for n in range(5)])
    dump, state = (small_redis.dump(key) for key in KEYS)
    publisher.publish_events("abc", [{"n": n} for n in range(5, 9)])
    archive()
    small_redis.delete(*KEYS)
    for key, value in zip(KEYS, (dump, state), strict=True):
        small_redis.restore(key, 0, value)
    fill_with_other_data(small_redis)
    archive()
    assert small_redis.xlen("job_events:abc") == 0
    small_redis.delete("filler")
    assert publisher.publish_event("abc", {"n": 9})
    archive()
    assert [e.data["n"] for e in read_events("abc") if "n" in e.data] == list(range(10))


KEYS = ("job_events:abc", "{job_events:abc}:producers")


def test_watched_jobs_stay_watched_without_memory(small_redis):
    """Otherwise AUTO_CANCEL_SECONDS would cancel jobs that have subscribers."""
    mark_watched(["abc"])
    (key,) = small_redis.keys("*watched*")
    small_redis.pexpire(key, 1000)
    fill_with_other_data(small_redis)
    with suppress(RedisOutOfMemory):
        mark_watched(["abc", "never-watched"])
    assert small_redis.pttl(key) > (PRESENCE_TTL_SECONDS - 60) * 1000


def test_refused_publish_has_appended_nothing(small_redis):
    publisher = get_publisher()
    publisher.publish_event("abc", {"n": 1})
    fill_with_other_data(small_redis)
    for events in ([{"n": 2}], [{"n": 2}, {"n": 3}]):
        with pytest.raises(RedisOutOfMemory) as caught:
            publisher.publish_events("abc", events)
        assert not isinstance(caught.value, RedisUnavailable)
    small_redis.delete("filler")
    publisher.publish_event("abc", {"n": 4})
    assert [event.data["n"] for event in read_events("abc") if "n" in event.data] == [1, 4]
