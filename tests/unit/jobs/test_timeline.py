"""Timelines: rows and summaries."""

import json
from datetime import datetime

import pytest

from events.codec import decode_entry
from jobs.timeline import timeline_row


def row(data, **fields):
    text = data if isinstance(data, (str, bytes)) else json.dumps(data)
    return timeline_row(decode_entry("abc", "1700000000000-1", {"data": text, **fields}))


def test_row():
    found = row({"event_type": "thought", "timestamp": "2026-01-02T03:04:05Z", "text": "Hm"})
    assert (found.event_type, found.summary) == ("thought", "Hm")
    assert found.time == datetime.fromisoformat("2026-01-02T03:04:05+00:00")


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


def test_row_of_a_deeply_nested_event():
    assert row('{"text": "a", "x":' + '{"x":' * 1000 + "1" + "}" * 1001).summary == "a"
