"""Subscribers while Redis is rolled back or wiped and events are appended again."""

import shutil

import pytest


@pytest.fixture
def subscribe(world):
    """Start a subscriber that receives messages when signalled."""

    def subscribe(cursor="0-0", seconds=10):
        child = world.run("subscribe", cursor=cursor)
        child.wait_for("started", seconds)
        return child

    return subscribe


def take(child, count):
    """Return the next events and resets."""
    received = []
    for _ in range(count):
        child.proceed()
        received.append(child.wait_for("received", 15))
    return received


def back_up(world):
    """Copy the append-only file like a backup."""
    backup = world.directory / "backup"
    shutil.rmtree(backup, ignore_errors=True)
    shutil.copytree(world.redis.directory / "appendonlydir", backup)


def roll_back(world):
    world.kill_redis()
    live = world.redis.directory / "appendonlydir"
    shutil.rmtree(live)
    shutil.copytree(world.directory / "backup", live)
    world.restore()


def test_archived_events_are_delivered_after_a_rollback(world, subscribe):
    """The last delivered event is in the stream, the next one only in the archive."""
    world.write({"commit": "t1"})
    child = subscribe()
    assert take(child, 1) == ["t1"]
    back_up(world)
    world.write({"commit": "t2"}, {"publish": "s1"}, {"archive": 100})
    roll_back(world)
    world.write({"commit": "t3"})
    assert take(child, 3) == ["t2", "s1", "t3"]


def test_events_appended_again_follow_a_reset(world, subscribe):
    world.write({"commit": "t1"}, {"commit": "t2"})
    child = subscribe()
    assert take(child, 2) == ["t1", "t2"]
    world.wipe_redis()
    world.do("relay_once")
    world.write({"commit": "t3"})
    assert take(child, 4) == ["reset after 0-0", "t1", "t2", "t3"]


MOMENTS = ["archiver after read"]


def lose_while_archiving(world, moment):
    """Wipe Redis while an archiver holds the events that it read; relay them again."""
    archiver = world.run("archive_once", stops=[moment], rounds=1)
    archiver.wait_for("reached")
    world.wipe_redis()
    world.do("relay_once")
    return archiver


@pytest.mark.parametrize("moment", MOMENTS)
def test_later_readers_receive_no_duplicates(world, moment):
    """The archiver has not run another round."""
    world.write({"commit": "t1"}, {"archive": 100}, {"commit": "t2"})
    archiver = lose_while_archiving(world, moment)
    archiver.proceed()
    archiver.join()
    dump = world.run("dump_of", job="abc").wait_for("dump")
    assert [name for _, name, *_ in dump["log"]] == ["t1", "t2"]
    assert [name for _, name, *_ in dump["followed"]["0-0"]] == ["t1", "t2"]


@pytest.mark.parametrize("moment", MOMENTS)
def test_no_event_appears_before_events_that_were_read(world, moment):
    """A subscriber that resumes from its cursor receives the rest of the log."""
    world.write({"commit": "t1"}, {"archive": 100}, {"publish": "s1"}, {"commit": "t2"})
    archiver = lose_while_archiving(world, moment)
    world.write({"publish": "s2"})
    seen = world.run("dump_of", job="abc").wait_for("dump")["log"]
    archiver.proceed()
    archiver.join()
    world.write({"commit": "t3"})
    log = world.drained()["abc"]["log"]
    cursor = log.index(seen[-1])
    assert [name for _, name, *_ in log[: cursor + 1]] == [name for _, name, *_ in seen]
