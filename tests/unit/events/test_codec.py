"""Encoding and decoding of events: wire format and validation."""

import json
import math
from datetime import UTC, date, datetime, time
from decimal import Decimal

import orjson
import pytest
from freezegun import freeze_time

from events.codec import decode_entry, dump_json, encode_event, encode_events, event_json
from events.exceptions import EventTooLarge, InvalidEvent


def test_event_dict_is_encoded_as_utf8_json():
    data, timestamp, event_type = encode_event(
        {"event_type": "thought", "timestamp": "2026-01-02T03:04:05", "x": "ü€😀"}
    )
    assert json.loads(data) == {
        "event_type": "thought",
        "timestamp": "2026-01-02T03:04:05",
        "x": "ü€😀",
    }
    assert "ü€😀".encode() in data
    assert (timestamp, event_type) == ("2026-01-02T03:04:05", "thought")


def test_missing_type_and_timestamp_are_added_to_a_copy():
    event_data = {"x": 1}
    data, timestamp, event_type = encode_event(event_data)
    event = json.loads(data)
    assert event_data == {"x": 1}
    assert event["event_type"] == event_type == "unknown"
    assert event["timestamp"] == timestamp
    assert datetime.fromisoformat(timestamp).utcoffset() is not None


def test_datetime_is_encoded_as_iso_8601():
    data, timestamp, _ = encode_event({"timestamp": datetime(2026, 1, 2, tzinfo=UTC)})
    assert timestamp == json.loads(data)["timestamp"] == "2026-01-02T00:00:00+00:00"


class Moment(datetime):
    """A subclass, like those of freezegun, pendulum and pandas."""

    def isoformat(self, *args):
        return "not ISO 8601"


class Day(date):
    pass


class Clock(time):
    pass


class Missing(Moment):
    """Differs from itself, like `pandas.NaT`."""

    def __eq__(self, other):
        return False

    __hash__ = datetime.__hash__


def test_subclasses_of_datetime_date_and_time_are_encoded_like_their_bases():
    moment = Moment(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    event = {"timestamp": moment, "x": [moment, Day(2026, 1, 2), Clock(3, 4)]}
    data, timestamp, _ = encode_event(event)
    texts = ["2026-01-02T03:04:05.000006+00:00", "2026-01-02", "03:04:00"]
    assert json.loads(data) == {"event_type": "unknown", "timestamp": timestamp, "x": texts}
    assert timestamp == texts[0]
    assert encode_events([event]) == [(data, timestamp, "unknown")]


def test_frozen_time_is_encoded():
    with freeze_time("2026-01-02 03:04:05"):
        now = datetime.now(UTC)
        encoded = encode_event({"now": now, "today": now.date()}), *encode_events([{}])
    for data, timestamp, _ in encoded:
        assert json.loads(data)["timestamp"] == timestamp == "2026-01-02T03:04:05+00:00"
    assert json.loads(encoded[0][0])["today"] == "2026-01-02"


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ({"x": math.nan}, "nan at x"),
        ({"x": [1, {"y": math.inf}]}, "inf at x[1].y"),
        ({"x": -math.inf}, "-inf"),
        ({"x": "a\x00b"}, "NUL character at x"),
        ({"a\x00": 1}, "NUL character"),
        ({"x": "\ud800"}, "surrogates"),
        ({"x": 2**64}, "64-bit"),
        ({"x": object()}, "not JSON serializable"),
        ({"x": Decimal(1)}, "not JSON serializable"),
        ({"x": Missing(1, 1, 1)}, "not JSON serializable"),
        ({"timestamp": Missing(1, 1, 1)}, "timestamp"),
        ({"timestamp": Moment(1, 1, 1)}, "timestamp"),
        ({1: "x"}, "str"),
        ({"event_type": ""}, "event_type"),
        ({"event_type": None}, "event_type"),
        ({"event_type": 5}, "event_type"),
        ({"event_type": "a\nb"}, "event_type"),
        ({"event_type": "x" * 129}, "event_type"),
        ({"timestamp": "yesterday"}, "timestamp"),
        ({"timestamp": 12.5}, "timestamp"),
        ([], "dict"),
        ("event", "dict"),
        (None, "dict"),
    ],
)
def test_invalid_events_are_rejected(event, message):
    with pytest.raises(InvalidEvent) as caught:
        encode_event(event)
    assert message in str(caught.value)


def test_deep_nesting_is_rejected():
    value = []
    for _ in range(20_000):
        value = [value]
    with pytest.raises(InvalidEvent):
        encode_event({"x": value})


def test_null_and_an_escaped_u0000_are_accepted():
    event = {"event_type": "x", "timestamp": "2026-01-01", "a": None, "b": r"\u0000", "c": "null"}
    assert json.loads(encode_event(event)[0]) == event


def test_size_limit_is_in_bytes_of_json():
    event = {"event_type": "x", "timestamp": "2026-01-01T00:00:00", "text": ""}
    remaining = 1000 - len(encode_event(event)[0])
    event["text"] = "ü" * (remaining // 2)
    assert len(encode_event(event, limit=1000)[0]) in (999, 1000)
    event["text"] += "ü"
    with pytest.raises(EventTooLarge, match="1000"):
        encode_event(event, limit=1000)


def test_dump_json_names_the_invalid_value():
    with pytest.raises(InvalidEvent, match="The payload has nan at the top level"):
        dump_json(math.nan, "The payload")


def decode(fields, entry_id=b"1700000000000-3"):
    return decode_entry("abc", entry_id, fields)


class Rows(list):
    def __iter__(self):
        raise RuntimeError("not loaded")


class Fields(dict):
    def items(self):
        raise RuntimeError("not loaded")


def test_subclasses_are_checked_as_they_are_encoded():
    assert dump_json({"a": Rows([1]), "b": Fields(c=None)}, "it") == b'{"a":[1],"b":{"c":null}}'
    with pytest.raises(InvalidEvent, match=r"nan at b\.c"):
        dump_json({"a": Rows([1]), "b": Fields(c=float("nan"))}, "it")


def test_encoded_event_is_decoded_unchanged():
    data, timestamp, _ = encode_event({"event_type": "thought", "x": [1, None, "ü"]})
    event = decode({b"data": data, b"timestamp": timestamp.encode(), b"event_type": b"thought"})
    assert str(event.id) == "1700000000000-3"
    assert event.event_type == "thought"
    assert event.data == json.loads(data)
    assert json.loads(event_json(event)) == {
        "id": "1700000000000-3",
        "job_id": "abc",
        "event_type": "thought",
        "timestamp": timestamp,
        "data": event.data,
    }


@pytest.mark.parametrize(
    ("fields", "raw"),
    [
        ({b"data": b"{broken"}, "{broken"),
        ({b"data": b"[1, 2]"}, "[1, 2]"),
        ({b"data": b"5"}, "5"),
        ({b"data": b""}, ""),
        ({b"data": b'{"x": NaN}'}, '{"x": NaN}'),
        ({b"data": b'{"x": "\\ud800"}'}, '{"x": "\\ud800"}'),
        ({b"data": b"\xff\xfe"}, "\ufffd\ufffd"),
        ({b"data": b"[" * 20_000}, "[" * 20_000),
        ({b"other": b"x"}, '{"other":"x"}'),
        ({b"\xff": b"\xfe"}, '{"\ufffd":"\ufffd"}'),
        ({}, "{}"),
    ],
)
def test_entry_that_is_not_an_event_is_unknown_with_its_raw_text(fields, raw):
    event = decode(fields)
    assert event.event_type == "unknown"
    assert event.data == {"raw": raw}
    assert event.timestamp == "2023-11-14T22:13:20.000+00:00"
    assert orjson.loads(event_json(event))["data"] == {"raw": raw}


def test_missing_keys_are_read_from_the_fields_of_the_entry():
    event = decode(
        {b"data": b'{"x": 1}', b"timestamp": b"2026-01-01T00:00:00Z", b"event_type": b"custom"}
    )
    assert (event.event_type, event.timestamp) == ("custom", "2026-01-01T00:00:00Z")
    assert decode({b"data": b'{"x": 1}'}).event_type == "unknown"


def test_wrong_types_in_an_external_event_are_ignored():
    event = decode({b"data": b'{"event_type": 5, "timestamp": ["x"]}', b"timestamp": b"soon"})
    assert event.event_type == "unknown"
    assert event.data == {"event_type": 5, "timestamp": ["x"]}
    datetime.fromisoformat(event.timestamp)


def test_id_beyond_the_range_of_dates_has_a_timestamp():
    event = decode({}, entry_id=b"18446744073709551615-0")
    datetime.fromisoformat(event.timestamp)


def test_pretty_printed_json_becomes_one_line():
    event = decode({b"data": b'{\n "event_type": "x",\r\n "y": 1}'})
    assert json.loads(event.raw) == {"event_type": "x", "y": 1}
    assert b"\n" not in event_json(event)


def test_replies_of_clients_that_decode_responses():
    event = decode_entry("abc", "5-0", {"data": '{"event_type": "ü"}'})
    assert event.event_type == "ü"
    assert json.loads(event_json(event))["data"] == {"event_type": "ü"}
