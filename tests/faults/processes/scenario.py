"""A log with events in each state, and processes that stop at a named point."""

from typing import Any

from tests.faults.processes.checker import Expected, check
from tests.faults.processes.forks import Child
from tests.faults.processes.world import World

WRITER = [
    "writer in transaction",
    "writer between commit and append",
    "writer after append",
]
RELAY = ["relay between read and append", "relay between append and mark"]
ARCHIVER = [
    "archiver after read",
    "archiver between insert and advance",
    "archiver before its commit",
    "archiver after verifying Redis",
    "archiver between commit and cleanup",
    "archiver before trim",
]
# More than the hundred entries that a trim tolerates.
MANY = [f"s-{number}" for number in range(130)]
# Not archived yet: lost if Redis loses its data.
LATE = ["s-late"]


def write_log(world: World, *, wipe: bool = False) -> Expected:
    """Write archived, appended, pending and rolled back events of both kinds.

    With `wipe`, Redis loses all of its data afterwards.
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


def start_at(world: World, point: str) -> Child:
    """Start a process and wait until it has reached the point."""
    kind = point.split(maxsplit=1)[0]
    arguments: dict[str, Any] = {"stops": [point]}
    if kind == "writer":
        arguments["steps"] = [{"commit": "t7"}]
    role = {"writer": "write", "relay": "relay_once", "archiver": "archive_once"}[kind]
    child = world.run(role, **arguments)
    child.wait_for("reached")
    return child


def check_all(world: World, expected: Expected) -> None:
    """Check both logs once relay and archiver are idle."""
    dump = world.drained()
    check(dump["abc"], expected)
    check(dump["other"], Expected(committed=["o1", "o2"]))
