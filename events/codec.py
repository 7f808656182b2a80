"""Events to stream entries and back, and to JSON. Does no I/O.

The wire format is fixed: an entry has the fields `data` (JSON of the whole event dict, UTF-8),
`timestamp` (ISO 8601) and `event_type`; further fields are ignored by readers.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from events.exceptions import EventTooLarge, InvalidEvent
from events.types import UNKNOWN, Cursor, Event, shown

MAX_EVENT_BYTES: Final = 256 * 1024

_EVENT_TYPE = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]{1,128}")


@dataclass(frozen=True, slots=True)
class EncodedEvent:
    """The three fields of a stream entry, ready to be appended."""

    data: bytes
    timestamp: str
    event_type: str


def encode_event(event_data: Mapping[str, Any], *, limit: int = MAX_EVENT_BYTES) -> EncodedEvent:
    """Encode an event dict, filling in a missing `event_type` and `timestamp` (UTC).

    `limit` is in bytes of JSON. Raises InvalidEvent, EventTooLarge. `event_data` is not changed.
    """
    if not isinstance(event_data, Mapping):
        raise InvalidEvent(f"An event is a dict with string keys. Given: {shown(event_data)}.")
    event = {"event_type": UNKNOWN, **event_data}
    if "timestamp" not in event:
        event["timestamp"] = datetime.now(UTC).isoformat()
    event_type = _checked_type(event["event_type"])
    timestamp = _checked_timestamp(event["timestamp"])
    data = dump_json(event, "The event")
    if len(data) > limit:
        raise EventTooLarge(f"The event is {len(data)} bytes of JSON; the limit is {limit}.")
    return EncodedEvent(data, timestamp, event_type)


def _checked_type(value: object) -> str:
    if isinstance(value, str) and _EVENT_TYPE.fullmatch(value):
        return str(value)
    raise InvalidEvent(
        "event_type is a string of 1 to 128 characters, none of them a control character."
        f" Given: {shown(value)}."
    )


def _checked_timestamp(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str) and _is_iso_8601(value):
        return value
    raise InvalidEvent(f"timestamp is a date and time in ISO 8601. Given: {shown(value)}.")


def _is_iso_8601(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def dump_json(value: object, what: str) -> bytes:
    """`value` as JSON that Redis, SQLite, PostgreSQL and browsers read alike, or InvalidEvent.

    Refused: what JSON has no form for, NaN and the infinities, NUL (PostgreSQL has none), lone
    surrogates (not UTF-8), integers beyond 64 bits, more than 254 levels. `what` opens the
    sentence of the error.
    """
    try:
        data = orjson.dumps(value)
    except (TypeError, RecursionError) as error:
        raise InvalidEvent(f"{what} cannot be written as JSON: {error}.") from error
    # orjson writes NaN as null without a word; looking closer is needed only where one shows.
    if b"null" in data or b"\\u0000" in data:
        _refuse_flaws(value, what)
    return data


def _refuse_flaws(value: object, what: str) -> None:
    for path, flaw in _flaws(value, ""):
        raise InvalidEvent(
            f"{what} has {flaw} at {path or 'its top'}, which JSON logs do not take."
        )


def _flaws(value: object, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, float) and not math.isfinite(value):
        yield path, str(value)
    elif isinstance(value, str) and "\x00" in value:
        yield path, "a NUL character"
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flaws(key, f"{path}.{shown(key)}".lstrip("."))
            yield from _flaws(item, f"{path}.{shown(key)[1:-1]}".lstrip("."))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _flaws(item, f"{path}[{index}]")


def decode_entry(job_id: str, entry_id: str | bytes, fields: Mapping[Any, Any]) -> Event:
    """Read a stream entry of any producer; one that is not an event becomes `unknown`."""
    entry = {_text(name): value for name, value in fields.items()}
    cursor = Cursor.parse(_text(entry_id))
    raw = _bytes(entry["data"]) if "data" in entry else None
    data = _parsed(raw)
    if raw is None or data is None:
        data = {"raw": _text(raw) if raw is not None else _fields_as_text(entry)}
        return Event(cursor, job_id, UNKNOWN, _timestamp(cursor, data, entry), data, _dumps(data))
    if b"\n" in raw or b"\r" in raw:
        raw = orjson.dumps(data)
    event_type = _named(data, entry, "event_type") or UNKNOWN
    return Event(cursor, job_id, event_type, _timestamp(cursor, data, entry), data, raw)


def _parsed(raw: bytes | None) -> dict[str, Any] | None:
    try:
        data = orjson.loads(raw or b"")
    except orjson.JSONDecodeError:
        return None
    return data if isinstance(data, dict) else None


def _named(data: Mapping[str, Any], entry: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    if isinstance(value, str) and value:
        return value
    return _text(entry.get(name, ""))


def _timestamp(cursor: Cursor, data: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
    given = _named(data, entry, "timestamp")
    if given and _is_iso_8601(given):
        return given
    try:
        return datetime.fromtimestamp(cursor.ms / 1000, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC).isoformat()


def _fields_as_text(entry: Mapping[str, Any]) -> str:
    return _dumps({name: _text(value) for name, value in entry.items()}).decode()


def _dumps(value: object) -> bytes:
    return orjson.dumps(value)


def _text(value: str | bytes) -> str:
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return text.encode("utf-8", "replace").decode() if not text.isascii() else text


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("utf-8", "replace")


def event_dict(event: Event) -> dict[str, Any]:
    """The event as every API shows it; give it to `json_bytes`."""
    return {
        "id": str(event.id),
        "job_id": event.job_id,
        "event_type": event.event_type,
        "timestamp": event.timestamp,
        "data": orjson.Fragment(event.raw),
    }


def event_json(event: Event) -> bytes:
    """The event as one line of JSON."""
    return orjson.dumps(event_dict(event))


def json_bytes(value: object) -> bytes:
    """`value`, which may hold what `event_dict` gave, as JSON."""
    return orjson.dumps(value)
