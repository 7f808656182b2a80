"""A deletion is interrupted at each step; others finish it, and late writers are refused."""

import pytest

from tests.faults.processes.scenario import check_all, start_at, write_log

pytestmark = pytest.mark.extended

ROLES = "tests.faults.processes.erasure_roles"
BEFORE_COMMIT = ["deleter before its mark", "deleter in transaction"]
AFTER_COMMIT = [
    "deleter between commit and Redis",
    "deleter between Redis and events",
    "deleter in a batch",
    "deleter between batches",
]
POINTS = [*BEFORE_COMMIT, *AFTER_COMMIT]
ARCHIVER = [
    "archiver after read",
    "archiver with its locks",
    "archiver between insert and advance",
    "archiver after verifying Redis",
    "archiver between commit and cleanup",
    "archiver before trim",
]
ERASED = {
    "jobs": 0, "events": 0, "checkpoints": 0, "is_deleted": True, "is_erased": True, "streams": 0,
    "others": 2,
}  # fmt: skip
REFUSED = {
    "publish": "LogDeleted", "commit": "LogDeleted", "create": "JobExists", "read": "LogDeleted",
}  # fmt: skip


def run(world, role, **arguments):
    return world.forks.run(f"{ROLES}:{role}", **arguments)


@pytest.fixture
def expected(world):
    expected = write_log(world)
    run(world, "create_job").wait_for("done")
    return expected


def start_deletion(world, point):
    child = run(world, "delete_job", stops=[point])
    child.wait_for("reached")
    return child


def check_erased(world):
    """Run a processor; then the log is erased, and late writers are refused."""
    assert run(world, "erase_with_processor").wait_for("left", 60) == ERASED
    assert run(world, "write_late").wait_for("errors") == REFUSED
    assert run(world, "erase_with_processor").wait_for("left", 60) == ERASED


def is_refused(world):
    return run(world, "publish_only").wait_for("refused")


@pytest.mark.parametrize("point", POINTS)
def test_deleter_is_killed(world, expected, point):
    start_deletion(world, point).kill()
    if point in BEFORE_COMMIT:
        check_all(world, expected)
        return
    is_unmarked = point == "deleter between commit and Redis"
    assert is_refused(world) != is_unmarked
    check_erased(world)


@pytest.mark.parametrize("point", AFTER_COMMIT)
def test_processor_is_killed_as_well(world, expected, point):
    """Both the deleter and the first process that finishes its work."""
    start_deletion(world, "deleter between commit and Redis").kill()
    child = run(world, "erase_with_processor", stops=[point])
    child.wait_for("reached")
    child.kill()
    check_erased(world)


@pytest.mark.parametrize("point", POINTS)
def test_redis_is_killed(world, expected, point):
    """The deletion is committed; Redis restarts with its data afterwards."""
    child = start_deletion(world, point)
    world.kill_redis()
    child.proceed()
    child.join()
    world.restore()
    check_erased(world)


@pytest.mark.parametrize("point", AFTER_COMMIT)
def test_redis_loses_its_data(world, expected, point):
    child = start_deletion(world, point)
    world.wipe_redis()
    assert not is_refused(world)  # until Redis has the tombstone again
    child.proceed()
    child.join()
    check_erased(world)


@pytest.mark.parametrize("point", POINTS)
def test_postgresql_is_killed(postgres_world, point):
    world = postgres_world
    expected = write_log(world)
    run(world, "create_job").wait_for("done")
    child = start_deletion(world, point)
    world.kill_database()
    child.proceed()
    child.join()
    world.restore()
    if point in BEFORE_COMMIT:
        assert child.values_of("failed")
        check_all(world, expected)
    else:
        check_erased(world)


# Others wait for a process that is paused in a transaction.
@pytest.mark.parametrize("point", [each for each in AFTER_COMMIT if each != "deleter in a batch"])
def test_deleter_is_paused(world, expected, point):
    """Others finish the deletion; the paused process continues afterwards."""
    child = start_deletion(world, point)
    child.pause()
    child.proceed()
    check_erased(world)
    child.resume()
    child.join()
    check_erased(world)


@pytest.mark.parametrize("point", ARCHIVER)
def test_archiver_has_read_the_log(world, expected, point):
    """It is in the middle of a round when the log is deleted, and continues afterwards."""
    archiver = start_at(world, point)
    deleter = run(world, "delete_job")
    archiver.proceed()
    archiver.join()
    assert deleter.wait_for("done")
    check_erased(world)


@pytest.mark.parametrize("point", ["writer in transaction", "writer between commit and append"])
def test_writer_is_in_a_transaction(world, expected, point):
    writer = start_at(world, point)
    deleter = run(world, "delete_job")
    writer.proceed()
    writer.join()
    assert deleter.wait_for("done")
    check_erased(world)


def test_several_processes_delete_at_once(world, expected):
    deleters = [run(world, "delete_job") for _ in range(3)]
    processors = [run(world, "erase_with_processor") for _ in range(2)]
    for child in [*deleters, *processors]:
        child.join()
    assert any(child.values_of("done") for child in deleters)
    check_erased(world)
