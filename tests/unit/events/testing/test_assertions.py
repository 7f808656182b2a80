"""What is expected of a log, by itself: no Redis, no Django."""

from unittest.mock import ANY

import orjson
import pytest

from events.testing.assertions import check_events
from events.types import Event, EventType


def log(*events):
    return [
        Event(
            f"1-{number}",
            "abc",
            event_type,
            "2026-01-01T00:00:00+00:00",
            orjson.dumps({"event_type": event_type, **data}),
        )
        for number, (event_type, data) in enumerate(events)
    ]


A, B, C = ("a", {}), ("b", {}), ("c", {})


def told(events, expected, hint=str):
    with pytest.raises(AssertionError) as error:
        check_events("abc", events, expected, hint)
    return str(error.value).splitlines()


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([], []),
        ([], [...]),
        ([A], ["a"]),
        ([A], ("a",)),
        ([(EventType.DONE, {})], [EventType.DONE]),
        ([A, B], ["a", ...]),
        ([A, B], [..., "b"]),
        ([A, B], ["a", ..., "b"]),
        ([A, C, C, B], ["a", ..., "b"]),
        ([A, B, A, B], [..., "a", "b"]),  # the first `a b` is not the one
        ([A, B, A, C], [..., "a", ..., ..., "c", ...]),
        ([("a", {"n": 1, "more": 2})], [{"n": 1}]),
        ([("a", {"n": 1})], [("a", {"n": 1})]),
        ([("a", {"n": 1})], [{"event_type": "a"}]),
        ([("a", {"deep": {"n": 1, "more": 2}})], [{"deep": {"n": 1}}]),
        ([("a", {"list": [{"n": 1, "more": 2}, 3]})], [{"list": [{"n": 1}, 3]}]),
        ([("a", {"list": [1, 2]})], [{"list": (1, 2)}]),
        ([("a", {"n": 0.1 + 0.2})], [{"n": pytest.approx(0.3)}]),
        ([("a", {"n": [1]})], [{"n": ANY}]),
    ],
)
def test_as_expected(events, expected):
    check_events("abc", log(*events), expected)


@pytest.mark.parametrize(
    ("events", "expected", "at", "due"),
    [
        ([A], [], "> 1  a", "no more events"),
        ([A, B], ["a"], "> 2  b", "no more events"),
        ([A, B], ["b"], "> 1  a", "'b'"),
        ([A], ["a", "b"], "> the log ends here", "'b'"),
        ([], ["a"], "> the log is empty", "'a'"),
        ([], [..., "a"], "> the log is empty", "'a'"),
        ([A, B, C], ["a", ..., "x"], "> the log ends here", "'x'"),
        ([A, B, C], [..., "a", "c"], "> 2  b", "'c'"),
        ([A, B, A, C], [..., "a", "x", "y"], "> 4  c", "'x'"),
        ([A, A, B], [..., "a"], "> 3  b", "no more events"),
        ([A, B], ["a", {"n": 1}], "> 2  b", "{'n': 1}"),
    ],
)
def test_where_it_departs(events, expected, at, due):
    lines = told(log(*events), expected)
    marked = next(number for number, line in enumerate(lines) if line.startswith(">"))
    assert lines[marked].startswith(at)
    assert lines[marked + 1] == f"     expected: {due}"
    assert sum(line.startswith(">") for line in lines) == 1
    assert sum(line.startswith(("> ", "  ")) for line in lines) >= len(events)


@pytest.mark.parametrize(
    ("data", "wanted", "but"),
    [
        ({"n": 1}, {"n": 2}, "n is 1"),
        ({"n": 1}, {"m": 1}, "m is missing"),
        ({"n": None}, {"n": {"m": 1}}, "n is None"),
        ({"n": {"m": "x"}}, {"n": {"m": "y", "k": 1}}, "n.m is 'x', n.k is missing"),
        ({"n": [1, {"m": 2}]}, {"n": [1, {"m": 3}]}, "n[1].m is 2"),
        ({"n": [1]}, {"n": [1, 2]}, "n is [1]"),
        ({"n": [1]}, {"n": []}, "n is [1]"),
        ({"n": "x" * 500}, {"n": ""}, f"n is '{'x' * 116}..."),
    ],
)
def test_in_what_an_event_differs(data, wanted, but):
    assert f"     but {but}" in told(log(("a", data)), [wanted])
    assert f"     but event_type is 'a', {but}" in told(log(("a", data)), [("b", wanted)])


def test_the_whole_log_is_shown_one_line_an_event():
    events = log(*[("step", {"text": "line\n" * 100})] * 11, ("a_longer_type", {}))
    shown = told(events, [])[2:-2]
    lines = [line for line in shown if "expected" not in line]
    assert len(lines) == 12
    assert lines[0].startswith('>  1  step           {"text":"line\\nline')
    assert lines[11] == "  12  a_longer_type  {}"
    assert max(map(len, lines)) < 150


def test_a_hint_comes_last():
    assert told([], ["a"], lambda: "Look there.")[-1] == "Look there."
    assert told([], ["a", ...])[-1] == "expected, in all: ['a', ...]"


@pytest.mark.parametrize("expected", ["a", {"n": 1}, [1], [("a",)], [("a", 1)], [None]])
def test_what_cannot_be_expected(expected):
    with pytest.raises(TypeError, match="expected event"):
        check_events("abc", [], expected)
