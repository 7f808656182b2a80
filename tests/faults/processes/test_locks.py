"""Long transactions block no other log (PostgreSQL only: SQLite has one lock)."""

import pytest

from tests.faults.processes.checker import Expected, check


@pytest.fixture
def world(postgres_world):
    return postgres_world


def archived(child):
    return sum(child.values_of("archived"))


def test_transaction_that_locks_a_log(world):
    """Other logs and stream-first events of the same job are archived."""
    world.write({"commit": "t1"})
    holder = world.run("hold_log")
    holder.wait_for("held")
    world.write({"publish": "s1"}, {"commit": "o1", "job": "other"})
    assert archived(world.do("archive_once")) == 3
    world.write({"commit_only": "o2", "job": "other"})
    assert sum(world.do("relay_once").values_of("appended")) == 1
    holder.proceed()
    holder.join()
    dump = world.drained()
    check(dump["abc"], Expected(committed=["t1", "held"], published=["s1"]))
    check(dump["other"], Expected(committed=["o1", "o2"]))


def test_transaction_that_creates_a_log(world):
    """The row does not exist yet: only this job waits."""
    holder = world.run("hold_log")
    holder.wait_for("held")
    world.write({"publish": "s1"}, {"commit": "o1", "job": "other"})
    archiver = world.run("archive_once")
    archiver.join(5)
    assert archived(archiver) == 1
    holder.proceed()
    holder.join()
    dump = world.drained()
    check(dump["abc"], Expected(committed=["held"], published=["s1"]))
    check(dump["other"], Expected(committed=["o1"]))


def test_archiver_paused_while_holding_locks(world):
    """Another archiver and the relay skip the locked logs, even to record an error."""
    world.write({"commit": "t1"}, {"commit": "o1", "job": "other"})
    paused = world.run("archive_once", stops=["archiver before its commit"])
    paused.wait_for("reached")
    paused.pause()
    with world.client() as client:
        client.delete("job_events:abc")
        client.set("job_events:abc", "poison")
    world.write({"commit": "n1", "job": "new"}, {"commit_only": "t2", "job": "abc"})
    relay = world.run("relay_once")
    relay.join(5)
    assert archived(world.do("archive_once")) == 1
    with world.client() as client:
        client.delete("job_events:abc")
    paused.resume()
    paused.proceed()
    paused.join()
    dump = world.drained()
    check(dump["abc"], Expected(committed=["t1", "t2"]))
    check(dump["other"], Expected(committed=["o1"]))
    check(dump["new"], Expected(committed=["n1"]))
