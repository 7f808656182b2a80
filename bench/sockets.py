"""Viewers that do as little as possible: sockets that ask, and look at the bytes that come."""

import asyncio
import base64
import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

_AT_ONCE = 50


class Watcher(asyncio.Protocol):
    """Asks for something, and knows when it has caught up."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._seen = b""
        self.live = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self.live.done():
            self._seen += data
            if self.is_live(self._seen):
                self._seen = b""
                self.live.set_result(None)

    def is_live(self, seen: bytes) -> bool:
        return b'{"type":"live"}' in seen or b"event: live\n" in seen

    def connection_lost(self, _error: Exception | None) -> None:
        if not self.live.done():
            self.live.set_exception(ConnectionError(self._seen[:1000]))


AWatcher = TypeVar("AWatcher", bound=Watcher)


def request_of(path: str, *headers: str) -> bytes:
    """A plain request, as SSE is."""
    return "\r\n".join([f"GET /{path} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode()


def handshake_of(path: str, *headers: str) -> bytes:
    """A request for a WebSocket."""
    key = base64.b64encode(os.urandom(16)).decode()
    upgrade = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13")
    return request_of(path, *upgrade, f"Sec-WebSocket-Key: {key}", *headers)


async def connect(port: int, viewers: int, make: Callable[[], AWatcher]) -> list[AWatcher]:
    """So many viewers, some at once, until each has caught up."""
    loop = asyncio.get_running_loop()
    watchers = list[AWatcher]()
    while len(watchers) < viewers:
        some = [
            (await loop.create_connection(make, "127.0.0.1", port))[1]
            for _ in range(min(_AT_ONCE, viewers - len(watchers)))
        ]
        await all_done([watcher.live for watcher in some])
        watchers += some
    return watchers


async def disconnect(watchers: Sequence[Watcher]) -> None:
    for watcher in watchers:
        watcher.transport.abort()
    await asyncio.sleep(0.5)


async def all_done(futures: Sequence["asyncio.Future[None]"]) -> None:
    await asyncio.wait_for(asyncio.gather(*futures), 120)
