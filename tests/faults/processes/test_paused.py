"""A process is stopped where it stands while others do its work, and wakes up after that."""

from time import sleep

import pytest

from tests.faults.processes.checker import Expected, check
from tests.faults.processes.lives import MANY, RELAY, WRITER, begin, check_all, live
from tests.faults.processes.world import World

POINTS = [
    *WRITER,
    *RELAY,
    "archiver after reading",
    "archiver with rows, position not moved",
    "archiver after its last look at Redis",
    "archiver between commit and cleaning",
    "archiver before it trims",
]
# With its transaction open, a sleeper keeps SQLite to itself, and the others can do nothing.
IN_TRANSACTION = [
    "writer in its transaction",
    "archiver with rows, position not moved",
    "archiver after its last look at Redis",
]


def others_work(world: World) -> None:
    """Other processes make progress while one is paused."""
    for role in ("relay_once", "archive_once"):
        world.do(role)


def sleep_over(world, point, meanwhile):
    """Stop a process at the point, do something, and let it go on."""
    child = begin(world, point)
    child.pause()
    child.go()
    meanwhile()
    child.wake()
    child.end()
    return child


def committed_by_writer(expected, point):
    if point in WRITER:
        expected.committed.append("t7")


@pytest.mark.parametrize("point", POINTS)
def test_others_go_on_with_the_log(world, point):
    """They commit, publish, archive and trim; the sleeper's turn to commit comes after."""
    if world.database.name == "sqlite" and point in IN_TRANSACTION:
        return
    expected = live(world)
    steps = [{"publish": "s-new"}]
    if point != "writer in its transaction":
        steps += [{"commit": "t8"}, {"savepoint": ["t9", "undone-3", "t10"]}]

    def meanwhile():
        world.write(*steps, {"archive": 10}, {"publish_many": [f"new-{n}" for n in range(9)]})
        others_work(world)

    sleep_over(world, point, meanwhile)
    committed_by_writer(expected, point)
    if point != "writer in its transaction":
        expected.committed += ["t8", "t9", "t10"]
    expected.never.append("undone-3")
    expected.published += ["s-new", *[f"new-{n}" for n in range(9)]]
    check_all(world, expected)


def sleep_over_wipe(world, point, meanwhile, published):
    """Redis is wiped while a process is paused: only unarchived stream-first events may be lost."""
    expected = live(world)
    expected.published.remove("s-late")
    expected.maybe.append("s-late")
    sleep_over(world, point, meanwhile)
    committed_by_writer(expected, point)
    expected.published += published
    check_all(world, expected)


@pytest.mark.parametrize("point", POINTS)
def test_others_finish_and_redis_is_wiped(postgres_world, point):
    """What is published then is at the beginning of a new stream."""
    world = postgres_world

    def meanwhile():
        others_work(world)
        world.wipe_redis()
        world.write({"publish": "s-after"})

    sleep_over_wipe(world, point, meanwhile, ["s-after"])


@pytest.mark.parametrize("point", POINTS)
def test_redis_is_wiped_and_others_begin_anew(postgres_world, point):
    world = postgres_world

    def meanwhile():
        world.wipe_redis()
        world.write({"publish": "s-after"})
        others_work(world)
        world.write({"publish": "s-then"})

    sleep_over_wipe(world, point, meanwhile, ["s-after", "s-then"])


def test_the_first_writer_of_a_log_sleeps_until_redis_is_wiped(world):
    """Of a log's first event, Redis cannot tell whether it ever was appended."""
    child = world.run("write", steps=[{"commit": "t1"}], stops=[WRITER[1]])
    child.until("reached")
    child.pause()
    child.go()
    others_work(world)
    world.wipe_redis()
    child.wake()
    child.end()
    check(world.drained()["abc"], Expected(committed=["t1"]))


def archive_what_is_appended_anew(world):
    """Redis is wiped just before an archiver commits what it has read there."""
    look = "archiver after its last look at Redis"
    sleeper = world.run("archive_once", stops=[look], rounds=1)
    sleeper.until("reached")
    world.wipe_redis()
    world.do("relay_once")
    sleeper.go()
    sleeper.end()


@pytest.mark.parametrize(
    "point", ["archiver before it removes repeats", "archiver after it removed repeats"]
)
@pytest.mark.parametrize("fault", ["kill", "kill redis", "sleep"])
def test_redis_was_given_again_what_is_archived(world, point, fault):
    """An archiver commits what it has read of a Redis that is wiped; the relay appends it anew."""
    world.write({"commit": "t1"}, {"archive": 10}, {"commit": "t2"}, {"commit": "t3"})
    archive_what_is_appended_anew(world)
    world.write({"publish": "s1"})
    child = world.run("archive_once", stops=[point])
    child.until("reached")
    if fault == "kill":
        child.kill()
    elif fault == "kill redis":
        world.kill_redis()
        child.go()
        child.end()
        world.restore()
    else:
        child.pause()
        child.go()
        if world.database.name != "sqlite":
            others_work(world)
        child.wake()
        child.end()
    check(world.drained()["abc"], Expected(committed=["t1", "t2", "t3"], published=["s1"]))


def test_a_paused_archiver_does_not_trim_what_it_has_not_read(world):
    """It wakes with a position of before a wipe; the new stream is longer than what is kept."""
    expected = live(world)

    def meanwhile():
        others_work(world)
        world.wipe_redis()
        sleep(0.01)
        world.write({"publish_many": [f"new-{n}" for n in range(len(MANY))]})

    sleep_over(world, "archiver before it trims", meanwhile)
    expected.published += [f"new-{n}" for n in range(len(MANY))]
    check_all(world, expected)
