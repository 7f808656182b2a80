"""Events to stream entries and back, and to JSON. Does no I/O.

The wire format is fixed: an entry has the fields `data` (JSON of the whole event dict, UTF-8),
`timestamp` (ISO 8601) and `event_type`; further fields are ignored by readers.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import MAXYEAR, MINYEAR, UTC, datetime
from enum import Enum
from typing import Any, Final

import orjson

from events.exceptions import EventTooLarge, InvalidEvent
from events.types import UNKNOWN, Event, EventType, Producer, shown

MAX_EVENT_BYTES: Final = 256 * 1024

_LF: Final = 0x0A
_CR: Final = 0x0D
_EPOCH: Final = "1970-01-01T00:00:00+00:00"
_KNOWN_TYPES: Final = frozenset(EventType)
_EVENT_TYPE = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]{1,128}")


# The fields `data`, `timestamp` and `event_type` of a stream entry, in this order.
EncodedEvent = tuple[bytes, str, str]


def encode_event(
    event_data: Mapping[str, Any], *, limit: int = MAX_EVENT_BYTES, now: str | None = None
) -> EncodedEvent:
    """Encode an event dict, filling in a missing `event_type` and `timestamp`.

    `limit` is in bytes of JSON; `now`, in ISO 8601, is what is filled in, by default the time in
    UTC. Raises InvalidEvent, EventTooLarge. `event_data` is not changed.
    """
    event, timestamp, event_type = _complete(event_data, now)
    return _checked_size(dump_json(event, "The event"), limit), timestamp, event_type


def encode_events(
    events: Iterable[Mapping[str, Any]], *, limit: int = MAX_EVENT_BYTES
) -> list[EncodedEvent]:
    """Encode events that are published together, as `encode_event` does; the time is one for all.

    All of them are searched at once for what `dump_json` searches for in each.
    """
    given, now, encoded = list(events), utc_now(), []
    for event_data in given:
        event, timestamp, event_type = _complete(event_data, now)
        try:
            # orjson gives 1 KiB of memory for each answer; kept by the hundred, these cost ten
            # times what the encoding does. Cutting off a newline makes a copy that fits.
            data = orjson.dumps(event, None, orjson.OPT_APPEND_NEWLINE)[:-1]
        except (TypeError, RecursionError):
            data = dump_json(event, "The event")
        encoded.append((_checked_size(data, limit), timestamp, event_type))
    if _may_have_flaws(b"".join([data for data, _, _ in encoded])):
        return [encode_event(event_data, limit=limit, now=now) for event_data in given]
    return encoded


def _complete(event_data: Mapping[str, Any], now: str | None) -> tuple[dict[str, Any], str, str]:
    """The event dict with nothing missing, its timestamp and its type."""
    event = event_data if isinstance(event_data, dict) else _as_dict(event_data)
    if "timestamp" in event:
        timestamp = _checked_timestamp(event["timestamp"])
        if "event_type" not in event:
            event = {"event_type": UNKNOWN, **event}
    else:
        timestamp = now or utc_now()
        event = {"event_type": UNKNOWN, "timestamp": timestamp, **event}
    event_type = event["event_type"]
    if event_type.__class__ is not EventType:
        event_type = _checked_type(event_type)
    return event, timestamp, event_type


def _checked_size(data: bytes, limit: int) -> bytes:
    if len(data) > limit:
        raise EventTooLarge(f"The event is {len(data)} bytes of JSON; the limit is {limit}.")
    return data


def utc_now() -> str:
    """The time in UTC, in ISO 8601 with its offset."""
    # orjson writes what isoformat() does, in half the time.
    return orjson.dumps(datetime.now(UTC))[1:-1].decode()


def _as_dict(value: object) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    raise InvalidEvent(f"An event is a dict with string keys. Given: {shown(value)}.")


def _checked_type(value: object) -> str:
    if isinstance(value, str) and (value in _KNOWN_TYPES or _EVENT_TYPE.fullmatch(value)):
        return value
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
    """Whether it is a time, and one that can be shown in every time zone."""
    if not text.isprintable():  # any character may stand between date and time
        return False
    try:
        year = datetime.fromisoformat(text).year
    except ValueError:
        return False
    return MINYEAR < year < MAXYEAR


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
    if _may_have_flaws(data):
        _refuse_flaws(value, what)
    return data


def _may_have_flaws(data: bytes) -> bool:
    """Whether to look closer: orjson writes NaN as null without a word, and NUL as \\u0000."""
    # From the end, which takes Python a third of the time; backslashes are rare.
    return data.rfind(b"null") >= 0 or (b"\\" in data and b"\\u0000" in data)


def _refuse_flaws(value: object, what: str) -> None:
    for path, flaw in _flaws(value, ""):
        raise InvalidEvent(
            f"{what} has {flaw} at {path or 'its top'}, which JSON logs do not take."
        )


def _flaws(value: object, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Enum):
        yield from _flaws(value.value, path)
    elif is_dataclass(value) and not isinstance(value, type):
        yield from _flaws(asdict(value), path)
    elif isinstance(value, float) and not math.isfinite(value):
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


def decode_entry(
    job_id: str, entry_id: str | bytes, given: dict[Any, Any] | Sequence[Any]
) -> Event:
    """Read a stream entry of any producer; one that is not an event becomes `unknown`.

    `given` are its fields: as redis-py has them, or names and values in turn, as Redis has them.
    """
    fields = given if isinstance(given, dict) else _paired(given)
    event_id = entry_id.decode() if isinstance(entry_id, bytes) else entry_id
    raw: bytes | None = fields.get(b"data") or _field(fields, "data")
    try:
        data = orjson.loads(raw or b"")
    except orjson.JSONDecodeError:
        data = None
    if raw is None or not isinstance(data, dict):
        return _unreadable(job_id, event_id, fields, raw)
    if _LF in raw or _CR in raw:
        # In JSON, line breaks stand between tokens only.
        raw = raw.translate(None, b"\r\n")
    event_type, timestamp = data.get("event_type"), data.get("timestamp")
    if not isinstance(event_type, str) or not event_type:
        event_type = text_of(_field(fields, "event_type") or UNKNOWN)
    if "\x00" in event_type:
        event_type = event_type.replace("\x00", "\ufffd")  # PostgreSQL has no NUL
    if not isinstance(timestamp, str) or not _is_iso_8601(timestamp):
        timestamp = _timestamp(event_id, fields)
    return Event(event_id, job_id, event_type, timestamp, raw, _producer(fields))


def _paired(given: Iterable[Any]) -> dict[Any, Any]:
    words = iter(given)
    return dict(zip(words, words, strict=False))


def _producer(fields: Mapping[Any, Any]) -> str:
    """Who appended the entry, if it was one of ours."""
    value = fields.get(b"producer") or _field(fields, "producer")
    text = text_of(value) if value else ""
    return text if text and Producer.is_one(text) else ""


def _unreadable(job_id: str, event_id: str, fields: Mapping[Any, Any], raw: bytes | None) -> Event:
    data = {"raw": _fields_as_text(fields) if raw is None else text_of(raw)}
    return Event(event_id, job_id, UNKNOWN, _timestamp(event_id, fields), orjson.dumps(data))


def _field(fields: Mapping[Any, Any], name: str) -> bytes | None:
    """A field of an entry, whether the client that read it decodes answers or not."""
    value = fields.get(name.encode())
    if value is None:
        value = fields.get(name)
    return value.encode("utf-8", "replace") if isinstance(value, str) else value


def _timestamp(event_id: str, fields: Mapping[Any, Any]) -> str:
    """For an event without a timestamp: the entry's, or when it was appended."""
    named = text_of(_field(fields, "timestamp") or b"")
    appended = named if _is_iso_8601(named) else _time_of(event_id)
    return appended if _is_iso_8601(appended) else _EPOCH


def _time_of(event_id: str) -> str:
    try:
        seconds = int(event_id.partition("-")[0]) / 1000
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return ""


def _fields_as_text(fields: Mapping[Any, Any]) -> str:
    return orjson.dumps({text_of(name): text_of(value) for name, value in fields.items()}).decode()


def text_of(value: str | bytes) -> str:
    """What Redis answers as text, whether the client decodes or not; what is no UTF-8 as U+FFFD."""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return text.encode("utf-8", "replace").decode() if not text.isascii() else text


def event_dict(event: Event) -> dict[str, Any]:
    """The event as every API shows it, for orjson to dump."""
    return {
        "id": event.id,
        "job_id": event.job_id,
        "event_type": event.event_type,
        "timestamp": event.timestamp,
        "data": orjson.Fragment(event.raw),
    }


def event_json(event: Event) -> bytes:
    """The event as one line of JSON."""
    return orjson.dumps(event_dict(event))
