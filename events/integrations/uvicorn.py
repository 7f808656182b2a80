"""uvicorn protocol classes that bound what a slow or hostile client costs the server.

uvicorn waits for a client that does not read for as long as it is connected, and an ASGI
application cannot abort a connection. Start uvicorn with OPTIONS.
"""

import asyncio
import logging
import socket
import struct
from contextlib import suppress
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from events.conf import event_settings
from events.per_loop import LoopService, PerLoop

logger = logging.getLogger(__name__)

OPTIONS: Final = (
    "--http", "events.integrations.uvicorn:HttpProtocol",
    "--ws", "events.integrations.uvicorn:WebSocketProtocol",
    "--ws-max-size", "65536",
    "--ws-per-message-deflate", "false",
)  # fmt: skip
HEAD_TIMEOUT_SECONDS: Final = 10.0
MAX_HEAD_BYTES: Final = 64 * 1024
_MIN_PROGRESS_BYTES: Final = 64 * 1024  # in SEND_TIMEOUT seconds
_CHECK_SECONDS: Final = 1.0


class SupervisedProtocol(asyncio.Protocol):
    """Sends nothing while the kernel has not taken what was sent before.

    A connection is aborted if it takes less than 64 KiB of what waits in SEND_TIMEOUT seconds.
    """

    transport: asyncio.Transport
    _supervisor: "ConnectionSupervisor"
    _stalled_bytes = 0
    _stalled_seconds: float | None = None  # None: the kernel has taken everything

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):  # otherwise the kernel takes megabytes
            self._set_option(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _MIN_PROGRESS_BYTES)
        self._supervisor = supervisors.of_running_loop(ConnectionSupervisor)
        self._supervisor.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._supervisor.remove(self)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        self._stalled_bytes, self._stalled_seconds = self.transport.get_write_buffer_size(), 0.0
        super().pause_writing()

    def resume_writing(self) -> None:
        self._stalled_seconds = None
        super().resume_writing()

    def check(self, seconds: float) -> None:
        """Abort a connection that stalls; called every few moments, `seconds` after the last."""
        if self._stalled_seconds is None:
            return
        self._stalled_seconds += seconds
        if self._stalled_seconds >= event_settings.SEND_TIMEOUT:
            waiting = self.transport.get_write_buffer_size()
            if waiting > self._stalled_bytes - _MIN_PROGRESS_BYTES:
                self._abort("send_timeout")
            self._stalled_bytes, self._stalled_seconds = waiting, 0.0

    def _abort(self, reason: str) -> None:
        """Reset the connection; neither this process nor the kernel waits for the client."""
        logger.info("connection_aborted", extra={"reason": reason})
        self._set_option(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def _set_option(self, level: int, option: int, value: int | bytes) -> None:
        with suppress(OSError):  # a Unix socket has no options of TCP
            self.transport.get_extra_info("socket").setsockopt(level, option, value)


class HttpProtocol(SupervisedProtocol, HttpToolsProtocol):
    """HTTP. A request head must be complete in HEAD_TIMEOUT_SECONDS, and in MAX_HEAD_BYTES."""

    _head_bytes = 0
    _head_seconds: float | None = 0.0  # since the head is awaited; None between requests

    def data_received(self, data: bytes) -> None:
        cycle = self.cycle
        super().data_received(data)
        if self.cycle is not cycle:  # the head is complete
            self._head_bytes, self._head_seconds = 0, None
        elif not self._is_responding():
            self._head_bytes += len(data)
            self._head_seconds = self._head_seconds or 0.0
            if self._head_bytes > MAX_HEAD_BYTES:
                self._abort("head_too_large")

    def handle_websocket_upgrade(self) -> None:
        """Upgrade; abort a client that has not read the response to its last request."""
        if self._is_responding() or self._stalled_seconds is not None:
            self._abort("upgrade_during_response")
            return
        super().handle_websocket_upgrade()
        self._supervisor.remove(self)

    def check(self, seconds: float) -> None:
        super().check(seconds)
        if self._head_seconds is not None:
            self._head_seconds += seconds
            if self._head_seconds > HEAD_TIMEOUT_SECONDS:
                self._abort("head_timeout")

    def _is_responding(self) -> bool:
        cycle: Any = self.cycle  # None before the first request
        return cycle is not None and not cycle.response_complete


class WebSocketProtocol(SupervisedProtocol, WebSocketsSansIOProtocol):
    """WebSocket. A client may send ws_max_size bytes per second, and twice as many at once."""

    _received_bytes = 0

    def data_received(self, data: bytes) -> None:
        self._received_bytes += len(data)
        if self._received_bytes > 2 * self.config.ws_max_size:
            self._abort("received_too_much")
        else:
            super().data_received(data)

    def check(self, seconds: float) -> None:
        super().check(seconds)
        allowed = int(seconds * self.config.ws_max_size)
        self._received_bytes = max(0, self._received_bytes - allowed)


class ConnectionSupervisor(LoopService[SupervisedProtocol]):
    """Checks the connections of an event loop about once a second."""

    async def _run(self) -> None:
        while True:
            # Not by the clock: a process that was paused would abort clients that it had not read.
            seconds = min(_CHECK_SECONDS, event_settings.SEND_TIMEOUT / 4)
            await asyncio.sleep(seconds)
            for protocol in list(self._members):
                protocol.check(seconds)


supervisors: Final = PerLoop[ConnectionSupervisor]()
