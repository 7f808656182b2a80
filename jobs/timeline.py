"""Timelines: events as readable rows."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from events.types import Event

_SUMMARY_CHARACTERS: Final = 160
# The summary of an event is the value of the first of these keys that it has.
_SUMMARY_KEYS: Final = (
    "message", "error", "text", "phase", "tool", "progress", "title", "heading", "prompt",
    "retriever", "model", "task_type", "output", "raw", "name",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TimelineRow:
    """An event as a row."""

    time: datetime
    event_type: str
    summary: str


def timeline_row(event: Event) -> TimelineRow:
    """Return the row of an event."""
    return TimelineRow(
        time=datetime.fromisoformat(event.timestamp),
        event_type=event.event_type,
        summary=_summary(event.data),
    )


def _summary(data: dict[str, Any]) -> str:
    # Callback handlers publish in a nested `data`.
    inner = data.get("data")
    candidates = {**data, **(inner if isinstance(inner, dict) else {})}
    for key in _SUMMARY_KEYS:
        value = candidates.get(key)
        if isinstance(value, (str, int, float)) and str(value).strip():
            text = " ".join(str(value).split())
            cut = text if len(text) <= _SUMMARY_CHARACTERS else text[:_SUMMARY_CHARACTERS] + "…"
            return f"{cut} %" if key == "progress" and not isinstance(value, str) else cut
    return ""
