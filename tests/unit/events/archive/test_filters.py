"""Event filters: which events match which conditions."""

import json

import pytest

from events.archive import EventFilter
from events.types import Event


def event(event_type="x", **data):
    raw = json.dumps({"event_type": event_type, **data}).encode()
    return Event("1-0", "abc", event_type, data.get("timestamp", ""), raw)


EVENT = event(
    "tool_result",
    timestamp="2026-11-22T10:00:00+00:00",
    tool="Search",
    found=3,
    ratio=0.5,
    is_last=True,
    note=None,
    text="The naïve Straße, 東京 and ten_words; the rest.",
    sources=[{"title": "Tea"}, {"title": "Milk", "pages": [1, 2]}],
)


def matches(**conditions):
    return EventFilter.of(**conditions).matches(EVENT)


@pytest.mark.parametrize(
    "search",
    ["the", "THE rest", "naïve", "STRASSE", "東京", "京東", "ten_words", "tea milk", "search 3",
     "nai", "str*", "te* mi* th*", "  rest  ", "5", "0.5"],
)  # fmt: skip
def test_matching_words(search):
    assert matches(search=search) is (search != "nai")


@pytest.mark.parametrize(
    "search", ["coffee", "the coffee", "te", "ten", "true", "null", "tool_result", "2026", "title"]
)
def test_other_words(search):
    """Keys, types, timestamps and parts of words do not match."""
    assert not matches(search=search)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("tool", "Search"), ("found", "3"), ("ratio", "0.5"), ("is_last", "true"), ("note", "null"),
        ("sources.title", "Tea"), ("sources.title", "Milk"), ("sources.pages", "2"),
        ("event_type", "tool_result"), ("timestamp", "2026-11-22T10:00:00+00:00"),
    ],
)  # fmt: skip
def test_matching_values(path, value):
    assert matches(where={path: value})
    assert not matches(where={path: value + "x"})
    assert not matches(where={f"{path}.x": value})


@pytest.mark.parametrize(
    ("path", "value"),
    [("tool", "search"), ("sources", "Tea"), ("title", "Tea"), ("missing", "null"), ("found", "")],
)
def test_other_values(path, value):
    assert not matches(where={path: value})


def test_all_conditions_must_hold():
    assert matches(event_types=["x", "tool_result"], search="tea", where={"found": "3"})
    assert not matches(event_types=["x"], search="tea", where={"found": "3"})
    assert not matches(event_types=[], search="tea")
    assert EventFilter().matches(EVENT)


@pytest.mark.parametrize("search", ["!!", " ", "\x1f", "\x00"])
def test_text_without_a_word_matches_no_event(search):
    assert not matches(search=search)


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({"where": {"": "x"}}, "path"),
        ({"where": {"x" * 201: "x"}}, "path"),
        ({"search": " ".join(map(str, range(21)))}, "At most 20"),
        ({"event_types": "text"}, "list of types"),
    ],
)
def test_invalid_conditions(conditions, message):
    with pytest.raises(ValueError, match=message):
        EventFilter.of(**conditions)


@pytest.mark.parametrize("value", [b"[" * 900 + b"]" * 900, b"5", b"null", b'{"a": "b"}'])
def test_invalid_types_of_timestamp_and_type(value):
    raw = b'{"timestamp": %s, "event_type": %s, "text": "tea"}' % (value, value)
    assert EventFilter.of(search="tea").matches(Event("1-0", "abc", "unknown", "", raw))
