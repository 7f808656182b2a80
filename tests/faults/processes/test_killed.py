"""kill -9 of a process, of Redis, of PostgreSQL, at each named point."""

import pytest

from tests.faults.processes.lives import ARCHIVER, RELAY, WRITER, begin, check_all, live

POINTS = [*WRITER, *RELAY, *ARCHIVER]


@pytest.mark.parametrize("point", POINTS)
def test_the_process_is_killed(world, point):
    expected = live(world)
    begin(world, point).kill()
    if point == "writer in its transaction":
        expected.never.append("t7")
    elif point in WRITER:
        expected.committed.append("t7")
    check_all(world, expected)


@pytest.mark.parametrize("point", POINTS)
def test_redis_is_killed(world, point):
    """What it has acknowledged is in its append-only file, from which it starts again.

    At once with PostgreSQL, and with SQLite when the process has gone on without it.
    """
    expected = live(world)
    child = begin(world, point)
    world.kill_redis()
    if world.database.name == "postgres":
        world.restore()
    child.go()
    child.end()
    world.restore()
    if point in WRITER:
        assert child.said("done") == ["t7"]  # a commit does not report errors of Redis
        expected.committed.append("t7")
    check_all(world, expected)


@pytest.mark.parametrize("point", POINTS)
def test_postgresql_is_killed(postgres_world, point):
    """The postmaster and all of its backends; then it recovers."""
    world = postgres_world
    expected = live(world)
    child = begin(world, point)
    world.kill_database()
    child.go()
    child.end()
    world.restore()
    if point == "writer in its transaction":
        assert child.said("failed") == ["t7"]
        expected.never.append("t7")
    elif point in WRITER:
        assert child.said("done") == ["t7"]
        expected.committed.append("t7")
    check_all(world, expected)
