"""A process is paused at a named point while others do its work, and resumes afterwards."""

from time import sleep

import pytest

from tests.faults.processes.checker import Expected, check
from tests.faults.processes.scenario import MANY, RELAY, WRITER, check_all, start_at, write_log
from tests.faults.processes.world import World

pytestmark = pytest.mark.extended

POINTS = [
    *WRITER,
    *RELAY,
    "archiver after read",
    "archiver between insert and advance",
    "archiver after verifying Redis",
    "archiver between commit and cleanup",
    "archiver before trim",
]
# SQLite has one lock: other processes wait for a process that is paused in a transaction.
IN_TRANSACTION = [
    "writer in transaction",
    "archiver between insert and advance",
    "archiver after verifying Redis",
]


def run_relay_and_archiver(world: World) -> None:
    for role in ("relay_once", "archive_once"):
        world.do(role)


def pause_during(world, point, meanwhile):
    """Pause a process at the point, call `meanwhile`, and resume the process."""
    child = start_at(world, point)
    child.pause()
    child.proceed()
    meanwhile()
    child.resume()
    child.join()
    return child


def committed_by_writer(expected, point):
    if point in WRITER:
        expected.committed.append("t7")


@pytest.mark.parametrize("point", POINTS)
def test_others_continue_the_log(world, point):
    """They commit, publish, archive and trim. The paused process commits after them."""
    if world.database.name == "sqlite" and point in IN_TRANSACTION:
        return
    expected = write_log(world)
    steps = [{"publish": "s-new"}]
    if point != "writer in transaction":
        steps += [{"commit": "t8"}, {"savepoint": ["t9", "undone-3", "t10"]}]

    def meanwhile():
        world.write(*steps, {"archive": 10}, {"publish_many": [f"new-{n}" for n in range(9)]})
        run_relay_and_archiver(world)

    pause_during(world, point, meanwhile)
    committed_by_writer(expected, point)
    if point != "writer in transaction":
        expected.committed += ["t8", "t9", "t10"]
    expected.never.append("undone-3")
    expected.published += ["s-new", *[f"new-{n}" for n in range(9)]]
    check_all(world, expected)


def check_with_wipe(world, point, meanwhile, published):
    """Wipe Redis while a process is paused: only unarchived stream-first events may be lost."""
    expected = write_log(world)
    expected.published.remove("s-late")
    expected.maybe.append("s-late")
    pause_during(world, point, meanwhile)
    committed_by_writer(expected, point)
    expected.published += published
    check_all(world, expected)


@pytest.mark.parametrize("point", POINTS)
def test_redis_is_wiped_after_others_finish(postgres_world, point):
    """Events published afterwards are at the beginning of a new stream."""
    world = postgres_world

    def meanwhile():
        run_relay_and_archiver(world)
        world.wipe_redis()
        world.write({"publish": "s-after"})

    check_with_wipe(world, point, meanwhile, ["s-after"])


@pytest.mark.parametrize("point", POINTS)
def test_redis_is_wiped_before_others_continue(postgres_world, point):
    world = postgres_world

    def meanwhile():
        world.wipe_redis()
        world.write({"publish": "s-after"})
        run_relay_and_archiver(world)
        world.write({"publish": "s-then"})

    check_with_wipe(world, point, meanwhile, ["s-after", "s-then"])


def test_writer_of_the_first_event_is_paused_until_redis_is_wiped(world):
    """Redis has no state that shows whether the first event of a log was appended."""
    child = world.run("write", steps=[{"commit": "t1"}], stops=[WRITER[1]])
    child.wait_for("reached")
    child.pause()
    child.proceed()
    run_relay_and_archiver(world)
    world.wipe_redis()
    child.resume()
    child.join()
    check(world.drained()["abc"], Expected(committed=["t1"]))


def archive_events_of_a_wiped_redis(world):
    """Wipe Redis just before an archiver commits the events that it read."""
    point = "archiver after verifying Redis"
    archiver = world.run("archive_once", stops=[point], rounds=1)
    archiver.wait_for("reached")
    world.wipe_redis()
    world.do("relay_once")
    archiver.proceed()
    archiver.join()


@pytest.mark.parametrize(
    "point", ["archiver before removing duplicates", "archiver after removing duplicates"]
)
@pytest.mark.parametrize("fault", ["kill", "kill redis", "pause"])
def test_fault_while_duplicates_are_removed(world, point, fault):
    """The relay appends events again that an archiver read before a wipe and commits after it."""
    world.write({"commit": "t1"}, {"archive": 10}, {"commit": "t2"}, {"commit": "t3"})
    archive_events_of_a_wiped_redis(world)
    world.write({"publish": "s1"})
    child = world.run("archive_once", stops=[point])
    child.wait_for("reached")
    if fault == "kill":
        child.kill()
    elif fault == "kill redis":
        world.kill_redis()
        child.proceed()
        child.join()
        world.restore()
    else:
        child.pause()
        child.proceed()
        if world.database.name != "sqlite":
            run_relay_and_archiver(world)
        child.resume()
        child.join()
    check(world.drained()["abc"], Expected(committed=["t1", "t2", "t3"], published=["s1"]))


def test_paused_archiver_does_not_trim_unread_entries(world):
    """It resumes with a checkpoint older than a wipe; the new stream exceeds the tail."""
    expected = write_log(world)

    def meanwhile():
        run_relay_and_archiver(world)
        world.wipe_redis()
        sleep(0.01)
        world.write({"publish_many": [f"new-{n}" for n in range(len(MANY))]})

    pause_during(world, "archiver before trim", meanwhile)
    expected.published += [f"new-{n}" for n in range(len(MANY))]
    check_all(world, expected)
