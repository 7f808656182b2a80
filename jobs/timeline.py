"""A job's events as lines that a person reads."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from events.types import Event

_SUMMARY_CHARACTERS: Final = 160
# Of these, the first that an event has says most about it.
_TELLING_KEYS: Final = (
    "message", "error", "text", "phase", "tool", "progress", "title", "heading", "task_type",
    "output", "raw",
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
    """The rows of a timeline, in the order of the events."""
    return [
        TimelineRow(
            id=event.id,
            time=datetime.fromisoformat(event.timestamp),
            event_type=event.event_type,
            summary=_summary(event.data),
            detail=_detail(event),
        )
        for event in events
    ]


def _detail(event: Event) -> str:
    try:
        return json.dumps(event.data, ensure_ascii=False, indent=2)
    except RecursionError:  # the hundreds of levels of somebody else's event
        return event.raw.decode()


def _summary(data: dict[str, Any]) -> str:
    """The most telling value of an event; a callback handler's are one level down."""
    inner = data.get("data")
    candidates = {**data, **inner} if isinstance(inner, dict) else data
    for key in _TELLING_KEYS:
        value = candidates.get(key)
        if isinstance(value, (str, int, float)) and str(value).strip():
            text = " ".join(str(value).split())
            cut = text if len(text) <= _SUMMARY_CHARACTERS else text[:_SUMMARY_CHARACTERS] + "…"
            return f"{cut} %" if key == "progress" and not isinstance(value, str) else cut
    return ""
