"""The archiver repairs a stream that lost entries, also if it is interrupted."""

from datetime import timedelta

import pytest

from events.archive import repair
from events.archive.archiver import Archiver
from events.history import read_events
from events.producer.sender import senders_of, sync_sender
from events.publisher import get_publisher
from events.streams import commands, scripts
from events.streams.clients import send_command
from events.types import Cursor
from tests.faults.loss import JOB, KEY, STATE, position

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]
KEYS = (KEY, STATE)


@pytest.fixture(autouse=True)
def fast_relay(monkeypatch, settings):
    monkeypatch.setattr("events.outbox.relay.MIN_AGE", timedelta())
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "STREAM_TAIL": 3}


def test_lost_entries_are_not_marked_as_archived(world, redis_client):
    """The archiver trims newer entries before the relay appends the lost ones again."""
    world.commit()
    redis_client.delete(KEY)
    world.publish(500)
    world.archive()
    assert redis_client.xlen(KEY) < 500
    world.finish()


def test_lost_entries_are_not_marked_as_repaired(world, redis_client):
    world.do("commit", "from_the_future", "archive", "wipe", "commit_unseen", "relay")
    world.do("delete_stream", "external", "archive")
    world.finish()


def test_entry_id_assigned_twice(world, redis_client):
    """The clock was rewound after the stream was deleted."""
    world.commit()
    ((entry_id, _),) = redis_client.xrange(KEY)
    redis_client.delete(KEY)
    redis_client.xadd(KEY, {"data": '{"n":1}'}, id=entry_id)
    world.commit()
    world.finish()


def test_restored_external_entry_is_not_moved_twice(world, redis_client):
    """A snapshot restores the entry at its old id, below the archive checkpoint."""
    world.do("from_the_future", "archive", "wipe", "external", "snapshot", "archive", "archive")
    world.do("restart_from_snapshot", "archive", "archive", "external")
    assert len(world.finish()) == 3


def test_loss_of_the_state_alone_duplicates_no_event(world, redis_client):
    """This holds even before the archiver runs."""
    world.do("publish", "commit", "commit", "delete_state", "publish", "commit")
    assert [event.data.get("tx") for event in world.check()] == [None, 2, 3, None, 5]
    world.do("archive", "delete_state", "commit", "delete_state", "commit")
    world.finish()


def test_replaced_stream_is_not_trimmed(redis_client):
    redis_client.xadd(KEY, {"n": 1}, id="5-0")
    redis_client.xadd(KEY, {"n": 1}, id="7-0")
    for n in range(200):
        redis_client.xadd(KEY, {"n": n}, id=f"1{n:03}-0")
    assert send_command(redis_client, commands.trim(KEYS, Cursor(6, 0))) == 0
    assert send_command(redis_client, commands.trim(KEYS, Cursor(1150, 0))) > 0
    assert redis_client.xrange(KEY, "1150-0", "1150-0")


def test_external_appends_during_a_repair(world, redis_client, monkeypatch):
    """All entries are moved above the checkpoint, and none is appended below it afterwards."""
    world.do("from_the_future", "archive", "wipe", "external")
    real, seen = repair.send_command, []

    def send_after_external_append(client, command):
        if command[1] == scripts.RESEQUENCE.sha and len(seen) < 3:
            seen.append(command)
            world.external()
        return real(client, command)

    monkeypatch.setattr(repair, "send_command", send_after_external_append)
    for _ in range(4):
        Archiver().step()
    assert len(world.finish()) == 2 + len(seen)
    assert len(seen) > 1
    assert not redis_client.hexists(STATE, "rewound")


def test_resequence_of_a_replaced_stream_is_refused(world, redis_client):
    """An archiver read the entries to move before the stream was lost and filled again."""
    world.do("from_the_future", "archive", "wipe", "external")
    at = Cursor.parse(position())
    ((low, _),) = redis_client.xrange(KEY)
    command = commands.resequence(KEYS, at, "", Cursor.parse(low.decode()), [low.decode()])
    world.do("wipe", "external", "external")
    get_publisher().publish_event(JOB, {"n": world.next(), "event_type": "step"})
    assert send_command(redis_client, command) == -1
    ids = [event.data["n"] for event in world.finish()]
    assert sorted(ids) == [1, 3, 4, 5]


def test_state_of_a_deleted_stream_expires(world, redis_client):
    world.publish()
    archiver = Archiver()
    world.archive(archiver)
    redis_client.delete(KEY)
    archiver._maintenance._next_at = 0
    world.archive(archiver)
    assert redis_client.ttl(STATE) > 0
    world.publish()
    assert redis_client.ttl(STATE) == redis_client.ttl(KEY) == -1
    world.finish()


def test_commit_order_after_a_restored_snapshot_and_a_rewound_clock(world):
    """The next commit must not be appended below the archive checkpoint."""
    world.publish()
    world.commit()
    world.snapshot()
    world.from_the_future()
    world.archive()
    world.restart_from_snapshot()
    world.commit()
    sync_sender(senders_of(world.redis)).last_acked[KEYS] = f"1 {position()}"
    world.publish()
    world.commit()
    world.archive()
    world.finish()


def test_ids_increase_after_any_loss(world):
    """New ids are above all ids that were archived or read before the loss."""
    highest = Cursor(0, 0)
    losses = [
        "wipe",
        "delete_stream",
        "evict",
        "restart_from_snapshot",
        "delete_state",
        "restart_from_snapshot",
        "wipe",
    ]
    for round_, loss in enumerate(losses):
        world.do("commit", "publish", "external", "relay")
        if round_ == 1:
            world.from_the_future()
        world.settle()
        world.snapshot() if round_ == 2 else None
        new = [event.cursor for event in read_events(JOB, after=highest, limit=1000)]
        assert new
        highest = new[-1]
        world.do(loss)
    world.finish()
