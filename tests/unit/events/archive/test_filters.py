"""Filters and terms: which events match which conditions."""

import json

import pytest

from events.archive import EventFilter
from events.archive.terms import terms_of, value_term, words_of
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


def test_words():
    assert words_of("Hello, WORLD_1!") == ["hello", "world_1"]
    assert words_of("Straße ﬁne Ⅷ") == ["strasse", "fine", "viii"]
    assert words_of("東京 カナ x") == ["東", "京", "カ", "ナ", "x"]
    assert words_of("x" * 100) == ["x" * 64]
    assert words_of("\x00 \ud800 - …") == []


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


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({"search": "!!"}, "no word"),
        ({"search": " "}, "no word"),
        ({"where": {"": "x"}}, "path"),
        ({"where": {"x" * 201: "x"}}, "path"),
        ({"search": " ".join(map(str, range(21)))}, "At most 20"),
        ({"event_types": "text"}, "list of types"),
    ],
)
def test_invalid_conditions(conditions, message):
    with pytest.raises(ValueError, match=message):
        EventFilter.of(**conditions)


def test_the_number_of_terms_is_bounded():
    terms = terms_of(event(numbers=list(range(100_000))))
    assert 20_000 <= len(terms) < 21_000


def test_deep_nesting():
    raw = b'{"k":[' * 500 + b'"x"' + b"]}" * 500
    assert "x" in terms_of(Event("1-0", "abc", "x", "", raw))


def test_long_keys():
    """Complete paths for all values would take gigabytes."""
    inner = {f"k{n}": n for n in range(10_000)}
    terms = terms_of(event(**{"n" * 200_000: {"x": {"y": inner}}, "short": 7}))
    assert {"0", "7", "9999", value_term("short", "7")} <= terms


@pytest.mark.parametrize("value", [b"[" * 900 + b"]" * 900, b"5", b"null", b'{"a": "b"}'])
def test_invalid_types_of_timestamp_and_type(value):
    raw = b'{"timestamp": %s, "event_type": %s, "text": "tea"}' % (value, value)
    assert EventFilter.of(search="tea").matches(Event("1-0", "abc", "unknown", "", raw))


def test_terms_are_short_and_need_no_escaping():
    """Quotation marks and spaces are syntax in queries of PostgreSQL and SQLite."""
    hostile = "' \" \\ : * & | ! ( ) <-> \x00 \u2028 NEAR AND '" + "ä" * 3000
    for term in terms_of(event(hostile, hostile=hostile, **{hostile: hostile})):
        assert not set(term) & set("'\"\\:*&|!()<>\x00 \u2028")
        assert len(term.encode()) < 2046
