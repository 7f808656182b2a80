"""NDJSON, the format of exports and recordings: one event per line. Does no I/O."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import orjson

from events.codec import check_timestamp, event_dict
from events.exceptions import EventsError, InvalidEvent
from events.types import Cursor, Event, check_job_id, shown

_FIELDS: Final = frozenset({"id", "job_id", "event_type", "timestamp", "data"})


def ndjson(events: Sequence[Event]) -> bytes:
    """Encode each event as a line of JSON, in the form of the API."""
    newline = orjson.OPT_APPEND_NEWLINE
    return b"".join([orjson.dumps(event_dict(event), option=newline) for event in events])


def read_lines(lines: Iterable[bytes], job_id: str | None = None) -> Iterator[Event]:
    """Decode the lines of an export; `job_id` replaces that of the events. Raises InvalidEvent."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield _event(orjson.loads(line), job_id)
        except (orjson.JSONDecodeError, orjson.JSONEncodeError, EventsError) as error:
            raise InvalidEvent(f"Line {number} is not an exported event: {error}") from error


def _event(entry: Any, job_id: str | None) -> Event:
    if not isinstance(entry, Mapping) or entry.keys() != _FIELDS:
        raise InvalidEvent(f"it must be an object with {', '.join(sorted(_FIELDS))}.")
    data, event_type = entry["data"], entry["event_type"]
    if not isinstance(data, dict) or not isinstance(event_type, str) or not event_type:
        raise InvalidEvent(f"event_type must be a string, data an object: {shown(entry)}.")
    if "\0" in event_type:  # PostgreSQL does not support it
        raise InvalidEvent("event_type contains NUL.")
    cursor, timestamp = Cursor.parse(entry["id"]), check_timestamp(entry["timestamp"])
    job_id = check_job_id(job_id or entry["job_id"])
    return Event(str(cursor), job_id, event_type, timestamp, orjson.dumps(data))
