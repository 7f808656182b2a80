"""Encodings of messages: SSE frames and WebSocket text."""

import json

import pytest

from events.codec import decode_entry
from events.live.frames import END, KEEP_ALIVE, LIVE, EncodedMessage, sse_frame, websocket_text
from events.live.messages import End, KeepAlive, Live, Reset, Restart
from events.types import Cursor, Event

EVENT = Event("5-1", "abc", "thought", "2026-01-02T03:04:05+00:00", '{"text":"ü\\n"}'.encode())


def test_event_is_unnamed_and_its_id_is_the_cursor():
    event = decode_entry(
        "abc", "5-1", {"data": '{"event_type": "x", "text": "a\\nid: 9\\r\\n\\nb"}'}
    )
    lines = sse_frame(event).decode().split("\n")
    assert lines[0] == "id: 5-1"
    assert lines[1].startswith("data: ")
    assert json.loads(lines[1][6:])["data"]["text"] == "a\nid: 9\r\n\nb"
    assert lines[2:] == ["", ""]


RESET = Reset("The log was truncated.", "7-0")


@pytest.mark.parametrize(
    ("message", "frame", "text"),
    [
        (Live(), b"event: live\ndata: {}\n\n", '{"type":"live"}'),
        (End(), b"event: end\ndata: {}\n\n", '{"type":"end"}'),
        (KeepAlive(), b": keep-alive\n\n", '{"type":"keep-alive"}'),
        (
            Restart(510),
            b'retry: 510\nevent: restart\ndata: {"retry":510}\n\n',
            '{"type":"restart","retry":510}',
        ),
        (
            RESET,
            b'event: reset\ndata: {"reason":"The log was truncated.","after":"7-0"}\n\n',
            '{"type":"reset","reason":"The log was truncated.","after":"7-0"}',
        ),
    ],
)
def test_control_messages(message, frame, text):
    assert sse_frame(message) == frame
    assert websocket_text(message) == text


def test_stream_of_several_jobs_names_the_job_and_the_position():
    assert sse_frame(EVENT, event_id="5-1,0", job_id="abc").startswith(b"id: 5-1,0\ndata: {")
    assert sse_frame(Live(), job_id="abc") == b'event: live\ndata: {"job_id":"abc"}\n\n'
    assert sse_frame(KeepAlive(), job_id="abc") == b": keep-alive\n\n"
    assert b"job_id" not in sse_frame(Restart(510), job_id="abc")


def test_text_of_an_event():
    assert json.loads(EncodedMessage(EVENT).text) == {
        "type": "event",
        "event": {
            "id": "5-1",
            "job_id": "abc",
            "event_type": "thought",
            "timestamp": "2026-01-02T03:04:05+00:00",
            "data": {"text": "ü\n"},
        },
    }


def test_each_encoding_is_computed_once():
    encoded = EncodedMessage(EVENT)
    assert encoded.text is encoded.text
    assert encoded.frame is encoded.frame
    assert encoded.cursor == Cursor(5, 1)
    assert encoded.size == len(EVENT.raw)


@pytest.mark.parametrize("message", [Live(), End(), RESET])
def test_socket_of_several_jobs_names_the_job(message):
    text = json.loads(websocket_text(message, job_id="abc"))
    assert text == {**json.loads(websocket_text(message)), "job_id": "abc"}


@pytest.mark.parametrize("message", [EVENT, KeepAlive(), Restart(510)])
def test_messages_of_the_connection_and_events_name_no_other_job(message):
    assert websocket_text(message, job_id="abc") == websocket_text(message)


@pytest.mark.parametrize(
    ("encoded", "is_last"),
    [(LIVE, False), (END, True), (KEEP_ALIVE, False), (EncodedMessage(Restart(1)), True)],
)
def test_last_message(encoded, is_last):
    assert encoded.is_last == is_last
