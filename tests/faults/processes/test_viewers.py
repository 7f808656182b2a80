"""Viewers of a Redis that is rolled back, and of what it is given again."""

import shutil

import pytest


@pytest.fixture
def view(world):
    """A viewer who asks for the next event when told to, and is slow to ask."""

    def view(cursor="0-0", seconds=10):
        child = world.run("view", cursor=cursor)
        child.until("live", seconds)
        return child

    return view


def contents(child, count):
    """The next events that the viewer is given."""
    given = []
    for _ in range(count):
        child.go()
        given.append(child.until("event", 15))
    return given


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


def test_what_was_archived_is_seen_though_redis_was_rolled_back(world, view):
    """The viewer's last event is in the stream, the next one in the archive only."""
    world.write({"commit": "t1"})
    child = view()
    assert contents(child, 1) == ["t1"]
    keep(world)
    world.write({"commit": "t2"}, {"publish": "s1"}, {"archive": 100})
    roll_back(world)
    world.write({"commit": "t3"})
    assert contents(child, 3) == ["t2", "s1", "t3"]


def test_what_is_appended_anew_is_not_seen_again(world, view):
    world.write({"commit": "t1"}, {"commit": "t2"})
    child = view()
    assert contents(child, 2) == ["t1", "t2"]
    world.wipe_redis()
    world.do("relay_once")
    world.write({"commit": "t3"})
    assert contents(child, 1) == ["t3"]


MOMENTS = ["archiver after reading"]


def lose_while_archiving(world, moment):
    """Redis is wiped while an archiver has what it read of it; the relay appends it anew."""
    sleeper = world.run("archive_once", stops=[moment], rounds=1)
    sleeper.until("reached")
    world.wipe_redis()
    world.do("relay_once")
    return sleeper


@pytest.mark.parametrize("moment", MOMENTS)
def test_what_comes_later_sees_nothing_twice(world, moment):
    """Not even before the archiver's next round."""
    world.write({"commit": "t1"}, {"archive": 100}, {"commit": "t2"})
    sleeper = lose_while_archiving(world, moment)
    sleeper.go()
    sleeper.end()
    dump = world.run("dump_of", job="abc").until("dump")
    assert [name for _, name, *_ in dump["log"]] == ["t1", "t2"]
    assert [name for _, name, *_ in dump["followed"]["0-0"]] == ["t1", "t2"]


@pytest.mark.parametrize("moment", MOMENTS)
def test_nothing_comes_before_what_was_seen(world, moment):
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
