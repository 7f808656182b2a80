"""Timelines: events as readable rows."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any, Final

from events.json_size import cut_text
from events.types import Event, EventType

_SUMMARY_CHARACTERS: Final = 160
_DETAIL_CHARACTERS: Final = 20_000
# The summary of an event is the value of the first of these keys that it has.
_SUMMARY_KEYS: Final = (
    "message", "error", "text", "phase", "tool", "progress", "title", "heading", "prompt",
    "retriever", "model", "task_type", "output", "raw", "name",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TimelineRow:
    """One row: an event, or the pieces of a thought."""

    id: str
    time: datetime
    event_type: str
    summary: str
    detail: str


def timeline_rows(events: Iterable[Event]) -> list[TimelineRow]:
    """Return the rows in the order of the events; consecutive pieces of a thought are one row."""
    return [_row(list(pieces)) for _, pieces in groupby(events, key=_group_key)]


def _group_key(event: Event) -> str:
    """Return the key that the events of a row share: the run of a thought, else the event id."""
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
    """Return the nested `data` in which callback handlers publish."""
    inner = data.get("data")
    return inner if isinstance(inner, dict) else {}


def _detail(event: Event, data: dict[str, Any]) -> str:
    try:
        text = json.dumps(data, ensure_ascii=False, indent=2)
    except RecursionError:  # other producers may nest hundreds of levels
        text = event.raw.decode()
    return cut_text(text, _DETAIL_CHARACTERS)


def _summary(data: dict[str, Any]) -> str:
    candidates = {**data, **_inner(data)}
    for key in _SUMMARY_KEYS:
        value = candidates.get(key)
        if isinstance(value, (str, int, float)) and str(value).strip():
            text = " ".join(str(value).split())
            cut = text if len(text) <= _SUMMARY_CHARACTERS else text[:_SUMMARY_CHARACTERS] + "…"
            return f"{cut} %" if key == "progress" and not isinstance(value, str) else cut
    return ""
