"""SIGKILL of a process, of Redis and of PostgreSQL at each named point."""

import pytest

from tests.faults.processes.scenario import ARCHIVER, RELAY, WRITER, check_all, start_at, write_log

POINTS = [*WRITER, *RELAY, *ARCHIVER]


@pytest.mark.parametrize("point", POINTS)
def test_process_is_killed(world, point):
    expected = write_log(world)
    start_at(world, point).kill()
    if point == "writer in transaction":
        expected.never.append("t7")
    elif point in WRITER:
        expected.committed.append("t7")
    check_all(world, expected)


@pytest.mark.parametrize("point", POINTS)
def test_redis_is_killed(world, point):
    """Redis restarts with all acknowledged writes from its append-only file.

    With PostgreSQL it restarts at once, with SQLite after the process has continued.
    """
    expected = write_log(world)
    child = start_at(world, point)
    world.kill_redis()
    if world.database.name == "postgres":
        world.restore()
    child.proceed()
    child.join()
    world.restore()
    if point in WRITER:
        assert child.values_of("done") == ["t7"]  # a commit does not raise errors of Redis
        expected.committed.append("t7")
    check_all(world, expected)


@pytest.mark.parametrize("point", POINTS)
def test_postgresql_is_killed(postgres_world, point):
    """The postmaster and all backends are killed; then PostgreSQL recovers."""
    world = postgres_world
    expected = write_log(world)
    child = start_at(world, point)
    world.kill_database()
    child.proceed()
    child.join()
    world.restore()
    if point == "writer in transaction":
        assert child.values_of("failed") == ["t7"]
        expected.never.append("t7")
    elif point in WRITER:
        assert child.values_of("done") == ["t7"]
        expected.committed.append("t7")
    check_all(world, expected)
