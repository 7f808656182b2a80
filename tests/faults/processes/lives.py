"""A log with something in each state, and what a process does next that may be killed at it."""

from typing import Any

from tests.faults.processes.checker import Expected, check
from tests.faults.processes.forks import Child
from tests.faults.processes.world import World

WRITER = [
    "writer in its transaction",
    "writer between commit and append",
    "writer after its append",
]
RELAY = ["relay between looking and appending", "relay between append and mark"]
ARCHIVER = [
    "archiver after reading",
    "archiver with rows, position not moved",
    "archiver before its commit",
    "archiver after its last look at Redis",
    "archiver between commit and cleaning",
    "archiver before it trims",
]
# More than the hundred that are let be, so that there is something to trim.
MANY = [f"s-{number}" for number in range(130)]
# Not yet archived, when Redis may lose it.
LATE = ["s-late"]


def live(world: World, *, wipe: bool = False) -> Expected:
    """Archived events, appended ones, pending ones, rolled back ones, of both kinds.

    With `wipe`, Redis has lost everything since.
    """
    steps: list[dict[str, Any]] = [
        {"commit": "t1"},
        {"publish_many": MANY},
        {"savepoint": ["t2", "undone-1", "t3"]},
        {"archive": 1000},
        {"commit": "t4"},
        {"roll_back": "undone-2"},
        {"publish": "s-late"},
        {"commit_only": "t5"},
        {"commit_only": "t6"},
        {"commit": "o1", "job": "other"},
        {"commit_only": "o2", "job": "other"},
    ]
    world.write(*steps)
    if wipe:
        world.wipe_redis()
    return Expected(
        committed=["t1", "t2", "t3", "t4", "t5", "t6"],
        published=MANY if wipe else [*MANY, *LATE],
        maybe=LATE if wipe else [],
        never=["undone-1", "undone-2"],
    )


def begin(world: World, point: str) -> Child:
    """A process at the point."""
    who = point.split(maxsplit=1)[0]
    arguments: dict[str, Any] = {"stops": [point]}
    if who == "writer":
        arguments["steps"] = [{"commit": "t7"}]
    role = {"writer": "write", "relay": "relay_once", "archiver": "archive_once"}[who]
    child = world.run(role, **arguments)
    child.until("reached")
    return child


def check_all(world: World, expected: Expected) -> None:
    """Both logs are whole, once there is nothing to do."""
    dump = world.drained()
    check(dump["abc"], expected)
    check(dump["other"], Expected(committed=["o1", "o2"]))
