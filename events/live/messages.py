"""Messages with their forms for those who send them on, each made once. Does no I/O."""

from collections.abc import Sequence
from typing import Any, Final

from events.live import sse, websocket
from events.live.given import Place
from events.types import START, End, Event, KeepAlive, Live, Message, Restart


class EncodedMessage:
    """A message, and what it is as bytes of SSE and as text of a socket, once somebody wants it.

    `lost` are the places where the log had the same event before.
    """

    __slots__ = ("_frame", "_text", "cursor", "lost", "message", "size")

    def __init__(self, message: Message, lost: Sequence[Place] = ()) -> None:
        self.message = message
        self.lost = lost
        self.cursor = message.cursor if isinstance(message, Event) else START
        self.size = len(message.raw) if isinstance(message, Event) else 0
        self._frame: bytes | None = None
        self._text: str | None = None

    @property
    def is_last(self) -> bool:
        """Whether nothing comes after it."""
        return isinstance(self.message, End | Restart)

    @property
    def is_connection_level(self) -> bool:
        """Whether it is of the connection, not of a job."""
        return isinstance(self.message, KeepAlive | Restart)

    @property
    def frame(self) -> bytes:
        """The message of SSE."""
        if self._frame is None:
            self._frame = sse.frame(self.message)
        return self._frame

    @property
    def text(self) -> str:
        """The text of a WebSocket's frame."""
        if self._text is None:
            self._text = websocket.text(self.message)
        return self._text

    def __repr__(self) -> str:
        kind: Any = type(self.message).__name__
        return f"<{kind} {self.cursor}>"


LIVE: Final = EncodedMessage(Live())
END: Final = EncodedMessage(End())
KEEP_ALIVE: Final = EncodedMessage(KeepAlive())
