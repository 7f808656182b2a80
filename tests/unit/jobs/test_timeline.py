"""Timelines: rows, summaries, details."""

import json
from datetime import datetime

import pytest

from events.codec import decode_entry
from jobs.timeline import timeline_rows


def row(data, **fields):
    text = data if isinstance(data, (str, bytes)) else json.dumps(data)
    (found,) = timeline_rows([decode_entry("abc", "1700000000000-1", {"data": text, **fields})])
    return found


def test_row():
    found = row({"event_type": "thought", "timestamp": "2026-01-02T03:04:05Z", "text": "Hm"})
    assert (found.id, found.event_type, found.summary) == ("1700000000000-1", "thought", "Hm")
    assert found.time == datetime.fromisoformat("2026-01-02T03:04:05+00:00")
    assert json.loads(found.detail)["text"] == "Hm"
    assert found.detail.startswith('{\n  "')


def test_rows_keep_the_order_of_the_events():
    events = [decode_entry("abc", f"{n}-0", {"data": "{}"}) for n in (3, 1, 2)]
    assert [row.id for row in timeline_rows(events)] == ["3-0", "1-0", "2-0"]


@pytest.mark.parametrize(
    ("data", "summary"),
    [
        ({}, ""),
        ({"x": 1}, ""),
        ({"text": "a", "message": "b"}, "b"),
        ({"task_type": "writing", "error": "no ink"}, "no ink"),
        ({"task_type": "writing"}, "writing"),
        ({"progress": 40}, "40 %"),
        ({"progress": 0}, "0 %"),
        ({"progress": 12.5, "message": "reading"}, "reading"),
        ({"progress": "half of it"}, "half of it"),
        ({"data": {"text": "inner"}}, "inner"),
        ({"text": "outer", "data": {"text": "inner"}}, "inner"),
        ({"data": "text"}, ""),
        ({"data": {"model": "a model", "usage": {"total_tokens": 3}}}, "a model"),
        ({"data": {"retriever": "shelf", "count": 2}}, "shelf"),
        ({"data": {"name": "heard", "value": 1}}, "heard"),
        ({"task_type": "writing", "name": "input-1", "prompt": "Go on?"}, "Go on?"),
        ({"data": None, "text": "a"}, "a"),
        ({"text": "   \n\t "}, ""),
        ({"text": ""}, ""),
        ({"message": "", "text": "a"}, "a"),
        ({"message": None, "error": ["x"], "text": {"a": 1}, "title": "T"}, "T"),
        ({"text": "  two\n lines\t "}, "two lines"),
        ({"text": "x" * 160}, "x" * 160),
        ({"text": "x" * 161}, "x" * 160 + "…"),
        ({"text": "<script>"}, "<script>"),
        ("{broken", "{broken"),
    ],
)
def test_summary_is_the_value_of_the_first_summary_key(data, summary):
    assert row(data).summary == summary


@pytest.mark.parametrize("timestamp", ["2026-01-01", "20260101T000000Z", "2026-01-01T00:00:00.5"])
def test_iso_8601_timestamps(timestamp):
    assert row({"timestamp": timestamp}).time.year == 2026


@pytest.mark.parametrize(
    "timestamp", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "x"]
)
def test_unsupported_timestamp_is_replaced_by_that_of_the_id(timestamp):
    assert row({"timestamp": timestamp}).time.year == 2023


def test_details_keep_all_characters():
    assert "ü€😀" in row({"text": "ü€😀"}).detail


@pytest.mark.parametrize("line_break", ["", "\n"])
def test_deeply_nested_event(line_break):
    data = f'{{"x":{line_break}' * 1000 + "1" + "}" * 1000
    # The recursion limit of the json module depends on the Python version.
    assert "".join(row(data).detail.split()).startswith('{"x":{"x":{"x":')


def test_large_event_is_cut():
    detail = row({"text": "x" * 250_000}).detail
    assert len(detail) < 21_000
    assert detail.endswith("more characters]")


def thought(number, text, run_id):
    data = {"event_type": "thought", "data": {"text": text, "run_id": run_id}}
    return decode_entry("abc", f"{number}-0", {"data": json.dumps(data)})


def test_pieces_of_a_thought_are_one_row():
    pieces = [thought(1, "One ", "a"), thought(2, "two", "a"), thought(3, "Other", "b")]
    rows = timeline_rows([*pieces, thought(4, "late", "a")])
    assert [(row.id, row.summary) for row in rows] == [
        ("1-0", "One two"),
        ("3-0", "Other"),
        ("4-0", "late"),
    ]
    assert json.loads(rows[0].detail)["data"] == {"text": "One two", "run_id": "a"}


def test_thoughts_without_a_run_are_separate_rows():
    rows = timeline_rows([thought(1, "a", None), thought(2, "b", None), thought(3, "c", [1])])
    assert [row.summary for row in rows] == ["a", "b", "c"]
