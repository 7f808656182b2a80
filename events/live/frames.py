"""Messages encoded as server-sent events and as WebSocket text. Does no I/O.

Source of the SSE format: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from dataclasses import asdict
from typing import Final

import orjson

from events.codec import event_json
from events.live.messages import End, KeepAlive, Live, Message, Reset, Restart
from events.types import START, Event

SSE_CONTENT_TYPE: Final = "text/event-stream; charset=utf-8"
SSE_RETRY_MS: Final = 2000
# The first bytes of a response.
SSE_OPENING: Final = b"retry: %d\n\n" % SSE_RETRY_MS


def sse_frame(message: Message, *, event_id: str | None = None, job_id: str | None = None) -> bytes:
    """Return the bytes of a message: an event is unnamed, a control message is named.

    In a stream of several jobs, `event_id` is the position in all of them, and control messages
    contain the `job_id` of the log that they are about.
    """
    match message:
        case Event():
            # The JSON has no line break: encoders escape it, and the codec removes it.
            id_ = (event_id or message.id).encode()
            return b"id: %s\ndata: %s\n\n" % (id_, event_json(message))
        case KeepAlive():
            return b": keep-alive\n\n"
        case Restart():
            # `retry` configures EventSource; scripts, which cannot read it, use the data.
            return b"retry: %d\n" % message.retry + _sse_control(message, {})
        case Live() | Reset() | End():
            return _sse_control(message, {} if job_id is None else {"job_id": job_id})
    raise TypeError(f"not a message: {type(message).__name__}")


def _sse_control(message: Live | Reset | End | Restart, fields: dict[str, str]) -> bytes:
    name = type(message).__name__.lower().encode()
    return b"event: %s\ndata: %s\n\n" % (name, orjson.dumps(fields | asdict(message)))


def websocket_text(message: Message) -> str:
    """Return the text of one frame: a JSON object with a `type`."""
    match message:
        case Event():
            return f'{{"type":"event","event":{event_json(message).decode()}}}'
        case KeepAlive():
            # Scripts cannot observe pings, and need a message to detect a dead connection.
            return '{"type":"keep-alive"}'
        case Live() | Reset() | End() | Restart():
            fields = {"type": type(message).__name__.lower(), **asdict(message)}
            return orjson.dumps(fields).decode()
    raise TypeError(f"not a message: {type(message).__name__}")


def with_job_id(text: str, job_id: str) -> str:
    """Add the `job_id` to the text of a control message, for a socket of several jobs."""
    return f'{text[:-1]},"job_id":"{job_id}"}}'


class EncodedMessage:
    """A message and its encodings, each computed once, on first use, for all subscribers."""

    __slots__ = ("_frame", "_text", "cursor", "message", "size")

    def __init__(self, message: Message) -> None:
        self.message = message
        self.cursor = message.cursor if isinstance(message, Event) else START
        self.size = len(message.raw) if isinstance(message, Event) else 0
        self._frame: bytes | None = None
        self._text: str | None = None

    @property
    def is_last(self) -> bool:
        """Whether no message follows."""
        return isinstance(self.message, End | Restart)

    @property
    def is_connection_level(self) -> bool:
        """Whether the message is about the connection and not about a job."""
        return isinstance(self.message, KeepAlive | Restart)

    @property
    def frame(self) -> bytes:
        """The SSE frame."""
        if self._frame is None:
            self._frame = sse_frame(self.message)
        return self._frame

    @property
    def text(self) -> str:
        """The WebSocket text."""
        if self._text is None:
            self._text = websocket_text(self.message)
        return self._text


LIVE: Final = EncodedMessage(Live())
END: Final = EncodedMessage(End())
KEEP_ALIVE: Final = EncodedMessage(KeepAlive())
