"""Client messages of the WebSockets: JSON objects with an `action`. Does no I/O."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

import orjson
from django.utils.translation import gettext as _

from events.types import check_job_id, shown
from jobs.api.query import ReplayQuery
from jobs.exceptions import BadMessage

# The fields of each action, and whether they are required.
Actions = Mapping[str, Mapping[str, bool]]

NO_ACTIONS: Final[Actions] = {}
REPLAY_ACTIONS: Final[Actions] = {
    "pause": {},
    "resume": {},
    "speed": {"speed": True},
    "seek": {"after": True},
}
MULTIPLEX_ACTIONS: Final[Actions] = {
    "subscribe": {"job_id": True, "after": False, "ticket": False},
    "unsubscribe": {"job_id": True},
    "subscribe_jobs": {},
    "unsubscribe_jobs": {},
}


class ClientMessage(NamedTuple):
    """A message with an action of the socket, its fields, and a valid job_id."""

    action: str
    job_id: str = ""
    after: Any = "0"
    ticket: str | None = None
    speed: Any = 1

    def parse_speed(self) -> float:
        return cast(float, replay_speed({"replay": ["1"], "speed": [str(self.speed)]}))


def parse_message(text: str | None, actions: Actions) -> ClientMessage:
    """Parse a message of a socket that has these actions. Raises BadMessage, InvalidJobId."""
    if not actions:
        raise BadMessage(_("This socket accepts no messages: it was opened without replay=1."))
    try:
        fields: Any = orjson.loads(text or "")
    except orjson.JSONDecodeError:
        fields = None
    action = fields.get("action") if isinstance(fields, dict) else None
    if not isinstance(action, str) or action not in actions:
        text_of_error = _(
            "A message is a JSON object with an action, one of: %(actions)s. Given: %(value)s."
        )
        raise BadMessage(text_of_error % {"actions": ", ".join(actions), "value": shown(text)})
    allowed, given = actions[action], fields.keys() - {"action"}
    if not {name for name in allowed if allowed[name]} <= given <= allowed.keys():
        raise _bad_fields(action, allowed, shown(sorted(given)))
    if not isinstance(fields.get("ticket", ""), str):
        text_of_error = _("A ticket is a string. Given: %(value)s.")
        raise BadMessage(text_of_error % {"value": shown(fields["ticket"])})
    if "job_id" in allowed:
        check_job_id(fields["job_id"])
    return ClientMessage(**fields)


def _bad_fields(action: str, allowed: Mapping[str, bool], given: str) -> BadMessage:
    optional = _("%(name)s (optional)")
    names = [name if allowed[name] else optional % {"name": name} for name in allowed]
    values = {"action": action, "names": ", ".join(names) or _("none"), "value": given}
    return BadMessage(_("The fields of %(action)s are: %(names)s. Given: %(value)s.") % values)


def replay_speed(query: Mapping[str, Sequence[str]]) -> float | None:
    """Return the speed of `replay=1&speed=2`; None without a replay. Raises ValidationError."""
    replay = {name: query[name] for name in ("replay", "speed") if name in query}
    speed: float | None = ReplayQuery.validated(replay)["speed"]
    return speed
