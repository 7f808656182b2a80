"""Each loss of Redis is recorded with its interval, and reported in the log that it affects."""

import itertools
import logging
import random
from datetime import timedelta
from itertools import pairwise
from time import monotonic, sleep

import pytest
from django.db.models import F
from django.utils import timezone

from events import outbox
from events.archive.archiver import Archiver
from events.archive.importer import import_events
from events.archive.losses import record_delivered
from events.erasure import delete_log
from events.history import read_events
from events.models import ArchiveCheckpoint, EventLog, LogGap
from events.processor import get_status
from events.processor.losses import REPORT_DELAY, report_losses
from events.producer.sender import senders_of, sync_sender
from events.publisher import SyncRedisStreamPublisher, get_publisher
from events.streams.clients import get_redis
from events.types import EVENTS_LOST, START, Cursor
from jobs.models import Job
from tests.faults.loss import JOB, KEY, STATE, LogFollower

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.database,
    pytest.mark.usefixtures("fast_relay"),
]

LOSSES = ["wipe", "evict", "delete_stream", "restore_snapshot"]


def archive(archiver=None):
    archiver = archiver or Archiver()
    archiver._maintenance._next_at = 0
    while archiver.step():
        pass
    return archiver


def publish(*numbers):
    return get_publisher().publish_events(JOB, [{"n": n} for n in numbers])


def forget_producers():
    """As in a new process: it does not know what was acknowledged before."""
    sync_sender(senders_of(get_redis())).last_acked.clear()


def report():
    """Report losses; return the events that do it."""
    report_losses(timedelta())
    archive()
    return [event.data for event in read_events(JOB) if event.event_type == EVENTS_LOST]


def gaps():
    return [(str(gap.after), gap.ids) for gap in LogGap.objects.order_by("pk")]


def wait_until(condition):
    deadline = monotonic() + 20
    while not condition():
        assert monotonic() < deadline
        sleep(0.01)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("is_restarted", [False, True], ids=["same archiver", "new archiver"])
@pytest.mark.parametrize("publishes_later", [False, True], ids=["silent", "publishes"])
def test_loss_is_reported_with_its_interval(world, loss, is_restarted, publishes_later):
    publish(1)
    world.snapshot()
    last = publish(2)[-1]
    archiver = archive()
    publish(3)
    world.do(loss)
    forget_producers()
    first = publish(4)[0] if publishes_later else None
    archive(None if is_restarted else archiver)
    assert gaps() == [(last, [])]
    (data,) = report()
    assert (data["after"], data["before"]) == (last, first)
    assert (data["count"], data["ids"]) == (None, [])
    assert report() == [data]  # once
    log = [event.data.get("n") for event in read_events(JOB)]
    assert log == ([1, 2, 4, None] if publishes_later else [1, 2, None])


def test_producer_knows_what_was_acknowledged(world):
    """The archiver is behind, and the older state of Redis has the event at its checkpoint."""
    publish(1)
    archive()
    last = publish(2)[-1]
    world.snapshot()
    lost = publish(3, 4)[-1]
    world.restore_snapshot()
    sleep(0.002)  # the lost ids are not assigned again
    first = publish(5)[0]
    archive()
    assert gaps() == [(last, [lost])]
    (data,) = report()
    assert (data["after"], data["before"], data["ids"]) == (last, first, [lost])
    assert [event.data.get("n") for event in read_events(JOB)] == [1, 2, 5, None]
    publish(6)
    archive()
    assert len(gaps()) == 1


@pytest.mark.parametrize("appended", ["nothing", "by another process"])
def test_producer_knows_a_loss_before_anything_was_archived(world, appended):
    lost = publish(1, 2)[-1]
    world.wipe()
    if appended != "nothing":
        outbox.publish_event(JOB, {"event_type": "tx"})
    publish(3)
    archive()
    assert gaps() == [("0-0", [lost])]


def test_two_producers_of_a_process_lose_nothing(world):
    """They acknowledge in turn: each one knows a later event than its own last one."""
    first, second = (SyncRedisStreamPublisher(get_redis()) for _ in range(2))
    for number in range(6):
        (first, second)[number % 2].publish_event(JOB, {"n": number})
        sync_sender(senders_of(get_redis()))._producers.rotate()
    archive()
    assert gaps() == []


def test_subscriber_knows_what_it_received(world):
    publish(1)
    with LogFollower() as follower:
        archive()
        last = publish(2)[-1]
        archive()
        lost = publish(3, 4)
        follower.wait_for(4)
        world.wipe()
        forget_producers()
        publish(5)
        wait_until(lambda: follower.resets)
        wait_until(lambda: LogGap.objects.filter(ids=lost).exists())
    archive()
    assert gaps() == [(last, lost)]
    (data,) = report()
    assert (data["after"], data["count"], data["ids"]) == (last, 2, lost)


def test_ids_that_become_known_later_are_reported_again(world):
    last = publish(1)[-1]
    archiver = archive()
    lost = [Cursor.parse(each) for each in publish(2, 3)]
    world.wipe()
    forget_producers()
    archive(archiver)
    assert [data["ids"] for data in report()] == [[]]
    for _ in range(2):
        record_delivered(JOB, Cursor.parse(last), lost)
    assert [data["count"] for data in report()] == [None, 2]


class Log:
    """A log with random losses; `acknowledged` are the stream-first events that publishers know."""

    def __init__(self, world, seed):
        self.world, self.random = world, random.Random(seed)
        self.archivers = [Archiver(), Archiver()]
        self.acknowledged, self.numbers = {}, itertools.count()

    def publish(self):
        numbers = list(itertools.islice(self.numbers, self.random.randint(1, 3)))
        self.acknowledged |= dict(zip(publish(*numbers), numbers, strict=True))

    def commit(self):
        self.world.commit()

    def archive(self):
        self.random.choice(self.archivers).step()

    def maintain(self):
        archiver = self.random.choice(self.archivers)
        archiver._maintenance._next_at = 0
        archiver.step()

    def restart(self):
        self.archivers[self.random.randrange(2)] = Archiver()

    def relay(self):
        self.world.relay()

    def snapshot(self):
        self.world.snapshot()

    def lose(self):
        """Lose data; producers and an archiver run before the next loss."""
        losses = ["wipe", "evict", "delete_stream", "restart_from_snapshot"]
        getattr(self.world, self.random.choice(losses))()
        sleep(0.002)
        self.do(STEPS, self.random.randint(0, 4))
        self.publish()
        self.maintain()

    def do(self, steps, count):
        for _ in range(count):
            getattr(self, self.random.choice(steps))()

    def finish(self):
        """Archive everything; return the acknowledged events that the log does not have."""
        self.publish()  # producers go on
        self.world.settle()
        for archiver in self.archivers:
            archive(archiver)
        kept = {event.data.get("n") for event in read_events(JOB, limit=10_000)}
        return [each for each, number in self.acknowledged.items() if number not in kept]


STEPS = ["publish", "publish", "commit", "archive", "maintain", "restart", "relay"]


@pytest.mark.parametrize("seed", range(8))
def test_random_steps_without_a_loss_report_nothing(world, seed, settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "STREAM_TAIL": seed % 3}
    log = Log(world, seed)
    log.do(STEPS, 60)
    assert log.finish() == []
    assert gaps() == []


@pytest.mark.parametrize("seed", range(16))
def test_each_lost_event_is_in_a_gap(world, seed, settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "STREAM_TAIL": seed % 3}
    log = Log(world, seed)
    log.publish()
    archive()  # else only a producer could report a loss
    log.do([*STEPS, "lose", "snapshot"], 60)
    lost = log.finish()
    ids = [event.cursor for event in read_events(JOB, limit=10_000)]
    recorded = [Cursor.parse(after) for after, _ in gaps()]
    for event_id in map(Cursor.parse, lost):
        before = max(filter(lambda each: each < event_id, ids), default=START)
        assert before in recorded, (event_id, recorded)


# What is not a loss


def test_nothing_is_lost_without_a_loss(world):
    archiver = Archiver()
    for number in range(20):
        publish(number)
        world.commit()
        archive(archiver)
        archive()
    assert gaps() == []


@pytest.mark.parametrize("keeps_state", [True, False])
def test_expired_stream_is_not_lost(world, keeps_state):
    at = timezone.now() - timedelta(minutes=1)
    Job.objects.create(job_id=JOB, status=Job.Status.COMPLETED, finished_at=at)
    publish(1)
    archiver = archive()
    world.redis.delete(KEY)
    if not keeps_state:
        world.redis.delete(STATE)
    for each in (archiver, Archiver(), None):
        archive(each)
    forget_producers()
    publish(2)  # a late event, in a new stream
    archive(archiver)
    assert gaps() == []
    assert [event.data["n"] for event in read_events(JOB)] == [1, 2]


def test_stream_trimmed_to_nothing_is_not_lost(world, settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "STREAM_TAIL": 0}
    archiver = Archiver()
    for number in range(3):
        publish(number)
        archive(archiver)
        assert world.redis.xlen(KEY) == 0
        archive()
    assert gaps() == []


def test_imported_log_is_not_lost(world):
    publish(1, 2)
    events = read_events(JOB)
    world.wipe()
    import_events(events)
    forget_producers()
    archive()
    publish(3)
    archive()
    assert gaps() == []
    assert [event.data["n"] for event in read_events(JOB)] == [1, 2, 3]


def test_log_without_a_row_is_not_lost(world):
    publish(1)
    archiver = archive()
    world.wipe()
    EventLog.objects.all().delete()
    archive(archiver)
    report_losses(timedelta())
    assert not EventLog.objects.exists()


def test_restart_with_all_data_is_not_a_loss(world):
    publish(1)
    archiver = archive()
    publish(2)
    world.snapshot()
    world.restart_from_snapshot()
    publish(3)
    archive(archiver)
    assert gaps() == []


# Reports


def test_loss_is_logged_and_in_the_status(world, caplog):
    last = publish(1)[-1]
    archiver = archive()
    world.wipe()
    forget_producers()
    archive(archiver)
    with caplog.at_level(logging.ERROR):
        report()
    (record,) = [each for each in caplog.records if each.message == EVENTS_LOST]
    assert (record.job_id, record.after, record.before) == (JOB, last, None)
    status = get_status()
    (loss,) = status.losses
    assert (loss.job_id, loss.after) == (JOB, last)
    assert loss.before == read_events(JOB)[-1].id  # that of the report
    assert any("Redis lost events" in problem.what for problem in status.problems)


def test_loss_is_reported_after_a_delay_and_once(world):
    publish(1)
    archiver = archive()
    world.wipe()
    archive(archiver)
    assert report_losses() == 0
    LogGap.objects.update(detected_at=F("detected_at") - REPORT_DELAY)
    assert [report_losses(), report_losses()] == [1, 0]


def test_deleted_log_has_no_gaps(world):
    last = publish(1)[-1]
    archiver = archive()
    world.wipe()
    archive(archiver)
    assert gaps() == [(last, [])]
    delete_log(JOB)
    assert gaps() == []
    record_delivered(JOB, START, [Cursor.parse(last)])
    assert (gaps(), report_losses(timedelta())) == ([], 0)


def test_two_archivers_record_one_gap(world):
    publish(1)
    archivers = [archive(), archive()]
    world.wipe()
    forget_producers()
    publish(2)
    for each in archivers:
        archive(each)
    assert len(gaps()) == 1
    report()
    log = read_events(JOB)
    assert all(a.cursor < b.cursor for a, b in pairwise(log))
    assert ArchiveCheckpoint.objects.get().position == log[-1].cursor
