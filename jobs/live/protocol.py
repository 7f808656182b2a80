"""What a viewer may ask of a replay: by parameters, and by messages while it runs."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from events.live.replay import MAX_SPEED, MIN_SPEED, Replay
from events.types import Cursor, shown
from jobs.exceptions import InvalidJob, JobError
from jobs.validators import number_of

# What a viewer may say, and what belongs to it.
_ACTIONS: Final = {"pause": None, "resume": None, "speed": "speed", "seek": "after"}


class InvalidSpeed(InvalidJob):
    """`replay` or `speed` is not what it may be."""


class BadMessage(JobError):
    """What a viewer has sent is no message of this socket."""


def speed_asked(query: Mapping[str, Sequence[str]]) -> float | None:
    """The speed of the replay that is wanted: `replay=1` and, if need be, `speed`; or None."""
    if "replay" not in query and "speed" not in query:
        return None
    if query.get("replay") != ["1"]:
        raise InvalidSpeed("replay", "It is 1, or left out; without it there is no speed.")
    return _speed(query.get("speed", ["1"])[-1])


def _speed(text: str) -> float:
    speed = number_of(text, MIN_SPEED, MAX_SPEED)
    if speed is None:
        allowed = f"It is a number from {MIN_SPEED:g} to {MAX_SPEED:g}."
        raise InvalidSpeed("speed", f"{allowed} Given: {shown(text)}.")
    return speed


def steer(replay: Replay | None, text: str | None) -> None:
    """Do what a message says; raises BadMessage, InvalidSpeed, InvalidCursor."""
    if replay is None:
        raise BadMessage("This socket takes no messages.")
    said = _message(text)
    match said["action"]:
        case "pause":
            replay.pause()
        case "resume":
            replay.resume()
        case "speed":
            replay.change_speed(_speed(str(said["speed"])))
        case "seek":
            replay.seek(Cursor.parse(said["after"]))


def _message(text: str | None) -> dict[str, Any]:
    try:
        said = orjson.loads(text or "")
    except orjson.JSONDecodeError as error:
        raise BadMessage(f"A message is JSON: {error}.") from error
    action = said.get("action") if isinstance(said, dict) else None
    if not isinstance(action, str) or action not in _ACTIONS:
        raise BadMessage(f"A message has an action, which is one of: {', '.join(_ACTIONS)}.")
    needed = {"action", _ACTIONS[action]} - {None}
    if said.keys() != needed:
        raise BadMessage(f"A {action} has: {', '.join(sorted(map(str, needed)))}.")
    return dict(said)
