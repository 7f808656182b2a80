"""HTTP and WebSocket clients of the soak test: those that read, and those that never do."""

import asyncio
import json
import select
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import httpx
import websockets

from bench.sockets import handshake_of, request_of
from tests.faults.soak.notes import Notes

_READ_SECONDS = 1.0
_POLL_SECONDS = 2
_RETRY_SECONDS = 0.1
_RECEIVE_BUFFER_BYTES = 4096
# Their responses grow with the log.
_UNREAD_PATHS = (
    "api/jobs/{job}/events/stream/",
    "ws/jobs/{job}/",
    "api/jobs/{job}/events/?limit=1000",
    "api/jobs/{job}/events/poll/",
    "api/jobs/{job}/events/export/",
)

# Yields events, and resets: messages with `after`.
Messages = AsyncIterator[dict[str, Any]]


def _client(session: str, read: float) -> httpx.AsyncClient:
    timeout = httpx.Timeout(30, read=read)
    return httpx.AsyncClient(timeout=timeout, headers={"Cookie": f"sessionid={session}"})


async def _read_sse(job: str, cursor: str, url: str, session: str) -> Messages:
    headers = {"Last-Event-ID": cursor} if cursor != "0" else {}
    address = f"{url}/api/jobs/{job}/events/stream/"
    async with (
        _client(session, _READ_SECONDS) as client,
        client.stream("GET", address, headers=headers) as response,
    ):
        response.raise_for_status()
        async for line in response.aiter_lines():
            if line.startswith("data: {"):
                yield json.loads(line[6:])


async def _read_websocket(job: str, cursor: str, url: str, session: str) -> Messages:
    address = f"{url.replace('http', 'ws')}/ws/jobs/{job}/?after={cursor}"
    headers = {"Cookie": f"sessionid={session}"}
    async with websockets.connect(address, additional_headers=headers, origin=url) as socket_:  # type: ignore[arg-type]
        while True:
            async with asyncio.timeout(_READ_SECONDS):
                message = json.loads(await socket_.recv())
            yield message.get("event", message)


async def _read_polls(job: str, cursor: str, url: str, session: str) -> Messages:
    """Send one long-poll after another, until the job ends."""
    address, is_end = f"{url}/api/jobs/{job}/events/poll/", False
    async with _client(session, 30) as client:
        while not is_end:
            query = {"after": cursor, "wait": _POLL_SECONDS}
            response = await client.get(address, params=query)
            if response.status_code == HTTPStatus.GONE:
                yield response.json()
                return
            page = response.raise_for_status().json()
            cursor, is_end = page["cursor"], page["end"]
            for event in page["results"]:
                yield event
        await asyncio.sleep(_RETRY_SECONDS)


TRANSPORTS: dict[str, Callable[[str, str, str, str], Messages]] = {
    "sse": _read_sse,
    "websocket": _read_websocket,
    "poll": _read_polls,
}


class UnreadConnections:
    """One connection per job and path that sends a request and never reads the response."""

    def __init__(self, notes: Notes, jobs: Sequence[str], url: str, session: str) -> None:
        self._notes, self._url, self._cookie = notes, url, f"Cookie: sessionid={session}"
        self._missing = [path.format(job=job) for job in jobs for path in _UNREAD_PATHS]
        self._connected: dict[int, tuple[str, socket.socket]] = {}
        self._poll = select.poll()

    def replace_ended(self) -> None:
        """Wait a moment, and connect again where the server has ended the connection."""
        for number, _ in self._poll.poll(1000 * _RETRY_SECONDS):
            self._poll.unregister(number)
            path, client = self._connected.pop(number)
            client.close()
            self._missing.append(path)
        for path in self._missing:
            client = self._connect(path)
            self._notes.add(connects=path)
            self._poll.register(client, select.POLLRDHUP)
            self._connected[client.fileno()] = (path, client)
        self._missing.clear()

    def _connect(self, path: str) -> socket.socket:
        encode = handshake_of if path.startswith("ws") else request_of
        url, client = urlsplit(self._url), socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
        client.connect((url.hostname, url.port))
        client.sendall(encode(path, self._cookie, f"Origin: {self._url}"))
        return client
