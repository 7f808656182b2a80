"""The framing of server-sent events."""

import json

import pytest

from events.codec import decode_entry
from events.live import sse
from events.types import End, KeepAlive, Live


def test_an_event_is_unnamed_and_has_its_cursor_as_id():
    event = decode_entry(
        "abc", "5-1", {"data": '{"event_type": "x", "text": "a\\nid: 9\\r\\n\\nb"}'}
    )
    lines = sse.frame(event).decode().split("\n")
    assert lines[0] == "id: 5-1"
    assert lines[1].startswith("data: ")
    assert json.loads(lines[1][6:])["data"]["text"] == "a\nid: 9\r\n\nb"
    assert lines[2:] == ["", ""]


@pytest.mark.parametrize(
    ("message", "frame"),
    [
        (Live(), b"event: live\ndata: {}\n\n"),
        (End(), b"event: end\ndata: {}\n\n"),
        (KeepAlive(), b": keep-alive\n\n"),
    ],
)
def test_control_messages_are_named_and_have_no_id(message, frame):
    assert sse.frame(message) == frame


def test_what_is_no_message_is_refused():
    with pytest.raises(TypeError, match="str"):
        sse.frame("text")
