"""Terms: the tokens of an event that are indexed."""

import json

from events.archive.terms import terms_of, value_term, words_of
from events.types import Event


def event(event_type="x", **data):
    raw = json.dumps({"event_type": event_type, **data}).encode()
    return Event("1-0", "abc", event_type, "", raw)


def test_words():
    assert words_of("Hello, WORLD_1!") == ["hello", "world_1"]
    assert words_of("Straße ﬁne Ⅷ") == ["strasse", "fine", "viii"]
    assert words_of("東京 カナ x") == ["東", "京", "カ", "ナ", "x"]
    assert words_of("x" * 100) == ["x" * 64]
    assert words_of("\x00 \ud800 - …") == []


def test_number_of_terms_is_bounded():
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


def test_terms_are_short_and_need_no_escaping():
    """Quotation marks and spaces are syntax in queries of PostgreSQL and SQLite."""
    hostile = "' \" \\ : * & | ! ( ) <-> \x00 \u2028 NEAR AND '" + "ä" * 3000
    for term in terms_of(event(hostile, hostile=hostile, **{hostile: hostile})):
        assert not set(term) & set("'\"\\:*&|!()<>\x00 \u2028")
        assert len(term.encode()) < 2046
