"""Comparison of a log with the expected events, without Redis and Django."""

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


def report(events, expected, hint=str):
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
        ([A, B, A, B], [..., "a", "b"]),  # the first `a b` does not match
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
def test_matching_logs(events, expected):
    check_events("abc", log(*events), expected)


@pytest.mark.parametrize(
    ("events", "expected", "marked", "item"),
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
def test_mismatch_is_marked(events, expected, marked, item):
    lines = report(log(*events), expected)
    index = next(number for number, line in enumerate(lines) if line.startswith(">"))
    assert lines[index].startswith(marked)
    assert lines[index + 1] == f"     expected: {item}"
    assert sum(line.startswith(">") for line in lines) == 1
    assert sum(line.startswith(("> ", "  ")) for line in lines) >= len(events)


@pytest.mark.parametrize(
    ("data", "expected", "difference"),
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
def test_differences_of_an_event(data, expected, difference):
    assert f"     but {difference}" in report(log(("a", data)), [expected])
    assert f"     but event_type is 'a', {difference}" in report(
        log(("a", data)), [("b", expected)]
    )


def test_report_has_one_line_per_event():
    events = log(*[("step", {"text": "line\n" * 100})] * 11, ("a_longer_type", {}))
    lines = [line for line in report(events, [])[2:-2] if "expected" not in line]
    assert len(lines) == 12
    assert lines[0].startswith('>  1  step           {"text":"line\\nline')
    assert lines[11] == "  12  a_longer_type  {}"
    assert max(map(len, lines)) < 150


def test_hint_is_the_last_line():
    assert report([], ["a"], lambda: "Look there.")[-1] == "Look there."
    assert report([], ["a", ...])[-1] == "all expected events: ['a', ...]"


@pytest.mark.parametrize("expected", ["a", {"n": 1}, [1], [("a",)], [("a", 1)], [None]])
def test_invalid_expectations(expected):
    with pytest.raises(TypeError, match="expected event"):
        check_events("abc", [], expected)
