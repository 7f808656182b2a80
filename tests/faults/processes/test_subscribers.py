"""Subscribers of a Redis that is rolled back or wiped, and of what is appended again."""

import shutil

import pytest


@pytest.fixture
def subscribe(world):
    """A subscriber that takes messages when signalled."""

    def subscribe(cursor="0-0", seconds=10):
        child = world.run("subscribe", cursor=cursor)
        child.until("started", seconds)
        return child

    return subscribe


def take(child, count):
    """The next events and resets."""
    received = []
    for _ in range(count):
        child.go()
        received.append(child.until("received", 15))
    return received


def keep(world):
    """Copy what Redis has, as a backup does."""
    kept = world.directory / "kept"
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(world.redis.directory / "appendonlydir", kept)


def roll_back(world):
    world.kill_redis()
    live = world.redis.directory / "appendonlydir"
    shutil.rmtree(live)
    shutil.copytree(world.directory / "kept", live)
    world.restore()


def test_archived_events_are_delivered_after_a_rollback(world, subscribe):
    """The last delivered event is in the stream, the next one in the archive only."""
    world.write({"commit": "t1"})
    child = subscribe()
    assert take(child, 1) == ["t1"]
    keep(world)
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


MOMENTS = ["archiver after reading"]


def lose_while_archiving(world, moment):
    """Redis is wiped while an archiver holds what it read; the relay appends that again."""
    sleeper = world.run("archive_once", stops=[moment], rounds=1)
    sleeper.until("reached")
    world.wipe_redis()
    world.do("relay_once")
    return sleeper


@pytest.mark.parametrize("moment", MOMENTS)
def test_later_readers_receive_nothing_twice(world, moment):
    """The archiver has had no further round."""
    world.write({"commit": "t1"}, {"archive": 100}, {"commit": "t2"})
    sleeper = lose_while_archiving(world, moment)
    sleeper.go()
    sleeper.end()
    dump = world.run("dump_of", job="abc").until("dump")
    assert [name for _, name, *_ in dump["log"]] == ["t1", "t2"]
    assert [name for _, name, *_ in dump["followed"]["0-0"]] == ["t1", "t2"]


@pytest.mark.parametrize("moment", MOMENTS)
def test_nothing_appears_before_what_was_read(world, moment):
    """A subscriber that resumes from a cursor receives the rest of the log."""
    world.write({"commit": "t1"}, {"archive": 100}, {"publish": "s1"}, {"commit": "t2"})
    sleeper = lose_while_archiving(world, moment)
    world.write({"publish": "s2"})
    seen = world.run("dump_of", job="abc").until("dump")["log"]
    sleeper.go()
    sleeper.end()
    world.write({"commit": "t3"})
    log = world.drained()["abc"]["log"]
    cursor = log.index(seen[-1])
    assert [name for _, name, *_ in log[: cursor + 1]] == [name for _, name, *_ in seen]
