"""Server-sent events, framed. Does no I/O.

Source of the format: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from dataclasses import asdict
from functools import singledispatch
from typing import Final

import orjson

from events.codec import event_json
from events.types import End, Event, KeepAlive, Live, Message, Reset, Restart

CONTENT_TYPE: Final = "text/event-stream; charset=utf-8"
RETRY_MS: Final = 2000

OPENING: Final = b"retry: %d\n\n" % RETRY_MS


@singledispatch
def frame(message: Message) -> bytes:
    """The bytes of one message: an event is unnamed and has its cursor as id, control is named."""
    raise TypeError(f"not a message: {type(message).__name__}")


@frame.register
def _(message: Event) -> bytes:
    return _event(message.id, message)


@frame.register
def _(message: Live | Reset | End) -> bytes:
    return _control(message, {})


@frame.register
def _(message: Restart) -> bytes:
    # For an EventSource, and for a script, which is not told of the first.
    return b"retry: %d\n" % message.retry + _control(message, {})


@frame.register
def _(_message: KeepAlive) -> bytes:
    return b": keep-alive\n\n"


def frame_of_many(message: Message, job_id: str, position: str) -> bytes:
    """As `frame`, where several jobs are viewed: control says which, ids are positions in all."""
    if isinstance(message, KeepAlive | Restart):
        return frame(message)
    if isinstance(message, Event):
        return _event(position, message)
    return _control(message, {"job_id": job_id})


def _event(id_: str, event: Event) -> bytes:
    # The JSON is on one line: encoders escape newlines, and the codec rewrites what has them.
    return b"id: %s\ndata: %s\n\n" % (id_.encode(), event_json(event))


def _control(message: Live | Reset | End | Restart, about: dict[str, str]) -> bytes:
    name = type(message).__name__.lower().encode()
    return b"event: %s\ndata: %s\n\n" % (name, orjson.dumps(about | asdict(message)))
