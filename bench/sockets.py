"""Minimal viewers: sockets that send one request and scan the received bytes."""

import asyncio
import base64
import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

MAX_CONCURRENT_CONNECTS = 50


class Viewer(asyncio.Protocol):
    """Sends a request; resolves `live` once the server has sent the backlog."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._received = b""
        self.live = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self.live.done():
            self._received += data
            if self.is_live(self._received):
                self._received = b""
                self.live.set_result(None)

    def is_live(self, received: bytes) -> bool:
        return b'{"type":"live"}' in received or b"event: live\n" in received

    def connection_lost(self, _error: Exception | None) -> None:
        if not self.live.done():
            self.live.set_exception(ConnectionError(self._received[:1000]))


ViewerType = TypeVar("ViewerType", bound=Viewer)


def request_of(path: str, *headers: str) -> bytes:
    """Encode a GET request."""
    return "\r\n".join([f"GET /{path} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode()


def handshake_of(path: str, *headers: str) -> bytes:
    """Encode the opening handshake of a WebSocket."""
    key = base64.b64encode(os.urandom(16)).decode()
    upgrade = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13")
    return request_of(path, *upgrade, f"Sec-WebSocket-Key: {key}", *headers)


async def connect(port: int, count: int, make: Callable[[], ViewerType]) -> list[ViewerType]:
    """Connect viewers in groups of MAX_CONCURRENT_CONNECTS, and wait until all are live."""
    loop = asyncio.get_running_loop()
    viewers = list[ViewerType]()
    while len(viewers) < count:
        group = [
            (await loop.create_connection(make, "127.0.0.1", port))[1]
            for _ in range(min(MAX_CONCURRENT_CONNECTS, count - len(viewers)))
        ]
        await all_done([viewer.live for viewer in group])
        viewers += group
    return viewers


async def disconnect(viewers: Sequence[Viewer]) -> None:
    for viewer in viewers:
        viewer.transport.abort()
    await asyncio.sleep(0.5)


async def all_done(futures: Sequence["asyncio.Future[None]"]) -> None:
    await asyncio.wait_for(asyncio.gather(*futures), 120)
