"""A job's events as lines that a person reads."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any, Final

from events.types import Event, EventType

_SUMMARY_CHARACTERS: Final = 160
_DETAIL_CHARACTERS: Final = 20_000
# Of these, the first that an event has says most about it.
_TELLING_KEYS: Final = (
    "message", "error", "text", "phase", "tool", "progress", "title", "heading", "prompt",
    "retriever", "model", "task_type", "output", "raw", "name",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TimelineRow:
    """An event as it stands in a timeline."""

    id: str
    time: datetime
    event_type: str
    summary: str
    detail: str


def timeline_rows(events: Iterable[Event]) -> list[TimelineRow]:
    """The rows of a timeline, in the order of the events; a thought in pieces is one row."""
    return [_row(list(pieces)) for _, pieces in groupby(events, key=_thought)]


def _thought(event: Event) -> str:
    """What events of one row share: pieces of a thought their run, others nothing."""
    if event.event_type != EventType.THOUGHT:
        return event.id
    run_id = _inner(event.data).get("run_id")
    return run_id if isinstance(run_id, str) else event.id


def _row(pieces: Sequence[Event]) -> TimelineRow:
    event, data = pieces[0], pieces[0].data
    if len(pieces) > 1:
        text = "".join(str(_inner(piece.data).get("text", "")) for piece in pieces)
        data = {**data, "data": {**_inner(data), "text": text}}
    return TimelineRow(
        id=event.id,
        time=datetime.fromisoformat(event.timestamp),
        event_type=event.event_type,
        summary=_summary(data),
        detail=_detail(event, data),
    )


def _inner(data: dict[str, Any]) -> dict[str, Any]:
    """What a callback handler has to say is one level down."""
    inner = data.get("data")
    return inner if isinstance(inner, dict) else {}


def _detail(event: Event, data: dict[str, Any]) -> str:
    try:
        text = json.dumps(data, ensure_ascii=False, indent=2)
    except RecursionError:  # the hundreds of levels of somebody else's event
        text = event.raw.decode()
    if len(text) <= _DETAIL_CHARACTERS:
        return text
    return f"{text[:_DETAIL_CHARACTERS]} [... {len(text) - _DETAIL_CHARACTERS} more characters]"


def _summary(data: dict[str, Any]) -> str:
    """The most telling value of an event."""
    candidates = {**data, **_inner(data)}
    for key in _TELLING_KEYS:
        value = candidates.get(key)
        if isinstance(value, (str, int, float)) and str(value).strip():
            text = " ".join(str(value).split())
            cut = text if len(text) <= _SUMMARY_CHARACTERS else text[:_SUMMARY_CHARACTERS] + "…"
            return f"{cut} %" if key == "progress" and not isinstance(value, str) else cut
    return ""
