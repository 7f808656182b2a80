"""Named points at which a process is killed, paused, or loses Redis or the database.

The child patches a function at the point. It sends `reached` to its parent and waits for a message.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

from events import erasure, outbox
from events.archive import archiver, maintenance, repair, store
from events.archive.store import StreamState
from events.outbox import relay, writer
from events.streams import scripts
from jobs import services
from tests.faults.processes.forks import Lines


def always(*_arguments: Any) -> bool:
    return True


def runs(script: scripts.Script) -> Callable[..., bool]:
    """Return a predicate: `send_command(client, command)` runs this script."""
    return lambda _client, command: command[1] == script.sha


def deletes(_client: Any, commands: Any) -> bool:
    return any(command[0] == "XDEL" for command in commands)


@dataclass(frozen=True)
class Point:
    """A point before or after a call of `holder.name`."""

    holder: Any
    name: str
    after: bool = False
    applies: Callable[..., bool] = always


POINTS = {
    "writer in transaction": Point(outbox, "publish_event", after=True),
    "writer between commit and append": Point(writer, "_append"),
    "writer after append": Point(writer, "_append", after=True),
    "relay between read and append": Point(
        relay, "send_command", applies=runs(scripts.OUTBOX_APPEND)
    ),
    "relay between append and mark": Point(
        relay, "send_command", after=True, applies=runs(scripts.OUTBOX_APPEND)
    ),
    "archiver after read": Point(archiver.Archiver, "_read", after=True),
    "archiver with its locks": Point(store, "lock_checkpoints", after=True),
    "archiver between insert and advance": Point(store, "insert_batch", after=True),
    "archiver before its commit": Point(store, "advance_checkpoints", after=True),
    "archiver after verifying Redis": Point(
        archiver.Archiver, "_verify_still_in_redis", after=True
    ),
    "archiver between commit and cleanup": Point(StreamState, "advance"),
    "archiver before trim": Point(maintenance, "send_command", applies=runs(scripts.TRIM)),
    "archiver after trim": Point(
        maintenance, "send_command", after=True, applies=runs(scripts.TRIM)
    ),
    "archiver before expire": Point(maintenance, "send_command", applies=runs(scripts.EXPIRE)),
    "archiver before removing duplicates": Point(archiver, "send_pipeline", applies=deletes),
    "archiver after removing duplicates": Point(
        archiver, "send_pipeline", after=True, applies=deletes
    ),
    "archiver before repair": Point(repair, "send_command", applies=runs(scripts.RESEQUENCE)),
    "deleter before its mark": Point(services, "delete_log"),
    "deleter in transaction": Point(services, "delete_log", after=True),
    "deleter between commit and Redis": Point(erasure, "_erase_streams"),
    "deleter between Redis and events": Point(erasure, "_erase_streams", after=True),
    "deleter in a batch": Point(erasure, "_delete_events", after=True),
    "deleter between batches": Point(erasure, "_erase_batch", after=True),
}


def stop_at(lines: Lines, name: str) -> None:
    """Stop at the first call at a point: send `reached` and wait for a message."""
    point = POINTS[name]
    original = getattr(point.holder, point.name)
    reached: list[str] = []

    def stop(arguments: tuple[Any, ...]) -> None:
        if not reached and point.applies(*arguments):
            reached.append(name)
            lines.send(reached=name)
            lines.receive()

    @wraps(original)
    def patched(*arguments: Any, **named: Any) -> Any:
        if not point.after:
            stop(arguments)
        result = original(*arguments, **named)
        if point.after:
            stop(arguments)
        return result

    setattr(point.holder, point.name, patched)
