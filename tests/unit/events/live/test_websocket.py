"""Messages as the text of a socket, and each made once for all who are sent it."""

import json

from events.live.messages import END, KEEP_ALIVE, LIVE, EncodedMessage
from events.types import Cursor, Event, Reset

EVENT = Event("5-1", "abc", "thought", "2026-01-02T03:04:05+00:00", '{"text":"ü\\n"}'.encode())


def test_an_event():
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


def test_control_messages():
    assert [json.loads(each.text) for each in (LIVE, END, KEEP_ALIVE)] == [
        {"type": "live"},
        {"type": "end"},
        {"type": "keep-alive"},
    ]
    reset = EncodedMessage(Reset("The log was cut.", "7-0"))
    assert json.loads(reset.text) == {"type": "reset", "reason": "The log was cut.", "after": "7-0"}


def test_each_form_is_made_once():
    encoded = EncodedMessage(EVENT)
    assert encoded.text is encoded.text
    assert encoded.frame is encoded.frame
    assert encoded.cursor == Cursor(5, 1)
    assert encoded.size == len(EVENT.raw)
