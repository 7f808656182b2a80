"""Long transactions of users, and what they must not hold up (PostgreSQL; SQLite has one lock)."""

import pytest

from tests.faults.processes.checker import Expected, check


@pytest.fixture
def world(postgres_world):
    return postgres_world


def archived(child):
    return sum(child.said("archived"))


def test_a_transaction_that_holds_a_log(world):
    """Others are archived, and what is published stream-first to that job."""
    world.write({"commit": "t1"})
    holder = world.run("hold_log")
    holder.until("held")
    world.write({"publish": "s1"}, {"commit": "o1", "job": "other"})
    assert archived(world.do("archive_once")) == 3
    world.write({"commit_only": "o2", "job": "other"})
    assert sum(world.do("relay_once").said("appended")) == 1
    holder.go()
    holder.end()
    dump = world.drained()
    check(dump["abc"], Expected(committed=["t1", "held"], published=["s1"]))
    check(dump["other"], Expected(committed=["o1", "o2"]))


def test_a_transaction_that_makes_a_log(world):
    """The row does not exist yet: only that job waits."""
    holder = world.run("hold_log")
    holder.until("held")
    world.write({"publish": "s1"}, {"commit": "o1", "job": "other"})
    archiver = world.run("archive_once")
    archiver.end(5)
    assert archived(archiver) == 1
    holder.go()
    holder.end()
    dump = world.drained()
    check(dump["abc"], Expected(committed=["held"], published=["s1"]))
    check(dump["other"], Expected(committed=["o1"]))


def test_an_archiver_that_sleeps_with_its_locks(world):
    """Another archiver passes by, and so does the relay, even where it has a fault to report."""
    world.write({"commit": "t1"}, {"commit": "o1", "job": "other"})
    sleeper = world.run("archive_once", stops=["archiver before its commit"])
    sleeper.until("reached")
    sleeper.pause()
    with world.client() as client:
        client.delete("job_events:abc")
        client.set("job_events:abc", "poison")
    world.write({"commit": "n1", "job": "new"}, {"commit_only": "t2", "job": "abc"})
    relay = world.run("relay_once")
    relay.end(5)
    assert archived(world.do("archive_once")) == 1
    with world.client() as client:
        client.delete("job_events:abc")
    sleeper.wake()
    sleeper.go()
    sleeper.end()
    dump = world.drained()
    check(dump["abc"], Expected(committed=["t1", "t2"]))
    check(dump["other"], Expected(committed=["o1"]))
    check(dump["new"], Expected(committed=["n1"]))
