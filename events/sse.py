"""Server-sent events, framed. Does no I/O.

Source of the format: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from dataclasses import asdict
from functools import singledispatch
from typing import Final

import orjson

from events.codec import event_json
from events.types import End, Event, KeepAlive, Live, Message, Reset

CONTENT_TYPE: Final = "text/event-stream; charset=utf-8"
RETRY_MS: Final = 2000

OPENING: Final = b"retry: %d\n\n" % RETRY_MS


@singledispatch
def frame(message: Message) -> bytes:
    """The bytes of one message: an event is unnamed and has its cursor as id, control is named."""
    raise TypeError(f"not a message: {type(message).__name__}")


@frame.register
def _(message: Event) -> bytes:
    # The JSON is on one line: encoders escape newlines, and the codec rewrites what has them.
    return b"id: %s\ndata: %s\n\n" % (message.id.encode(), event_json(message))


@frame.register
def _(_message: Live) -> bytes:
    return b"event: live\ndata: {}\n\n"


@frame.register
def _(message: Reset) -> bytes:
    return b"event: reset\ndata: %s\n\n" % orjson.dumps(asdict(message))


@frame.register
def _(_message: End) -> bytes:
    return b"event: end\ndata: {}\n\n"


@frame.register
def _(_message: KeepAlive) -> bytes:
    return b": keep-alive\n\n"
