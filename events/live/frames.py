"""Messages encoded as server-sent events and as WebSocket text. Does no I/O.

Source of the SSE format: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

import orjson

from events.codec import event_json
from events.live.messages import End, KeepAlive, Live, Message, Reset, Restart
from events.types import START, Event

SSE_CONTENT_TYPE: Final = "text/event-stream; charset=utf-8"
SSE_OPENING: Final = b"retry: 2000\n\n"  # milliseconds until a browser reconnects


def sse_frame(message: Message, *, event_id: str | None = None, job_id: str | None = None) -> bytes:
    """Return the bytes of a message: an event is unnamed, a control message is named.

    In a stream of several jobs, `event_id` is the position in all of them, and a control message
    about one of them contains its `job_id`.
    """
    match message:
        case Event():
            # The JSON has no line break: encoders escape it, and the codec removes it.
            id_ = (event_id or message.id).encode()
            return b"id: %s\ndata: %s\n\n" % (id_, event_json(message))
        case KeepAlive():
            return b": keep-alive\n\n"
    name, fields = _control_fields(message, job_id)
    frame = b"event: %s\ndata: %s\n\n" % (name.encode(), orjson.dumps(fields))
    # EventSource obeys `retry`; scripts, which cannot read it, use the data.
    return b"retry: %d\n" % message.retry + frame if isinstance(message, Restart) else frame


def websocket_text(message: Message, *, job_id: str | None = None) -> str:
    """Return the text of one frame, a JSON object with a `type`; `job_id` as in `sse_frame`."""
    match message:
        case Event():
            return f'{{"type":"event","event":{event_json(message).decode()}}}'
        case KeepAlive():
            # Scripts cannot observe pings, and need a message to detect a dead connection.
            return '{"type":"keep-alive"}'
    name, fields = _control_fields(message, job_id)
    return orjson.dumps({"type": name, **fields}).decode()


def _control_fields(
    message: Live | Reset | End | Restart, job_id: str | None
) -> tuple[str, dict[str, Any]]:
    about = {"job_id": job_id} if job_id and not isinstance(message, Restart) else {}
    return type(message).__name__.lower(), {**asdict(message), **about}


class EncodedMessage:
    """A message, its SSE frame and its WebSocket text, each encoded on first use for all."""

    __slots__ = ("_frame", "_text", "cursor", "message", "size")

    def __init__(self, message: Message) -> None:
        self.message = message
        self.cursor = message.cursor if isinstance(message, Event) else START
        self.size = len(message.raw) if isinstance(message, Event) else 0
        self._frame: bytes | None = None
        self._text: str | None = None

    @property
    def is_last(self) -> bool:
        return isinstance(self.message, End | Restart)

    @property
    def frame(self) -> bytes:
        if self._frame is None:
            self._frame = sse_frame(self.message)
        return self._frame

    @property
    def text(self) -> str:
        if self._text is None:
            self._text = websocket_text(self.message)
        return self._text


def drain(messages: list[EncodedMessage]) -> Iterator[EncodedMessage]:
    """Yield the messages, and release each before the next: a slow client holds what is left."""
    messages.reverse()
    while messages:
        yield messages.pop()


LIVE: Final = EncodedMessage(Live())
END: Final = EncodedMessage(End())
KEEP_ALIVE: Final = EncodedMessage(KeepAlive())
