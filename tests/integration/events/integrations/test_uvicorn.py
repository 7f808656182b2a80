"""uvicorn's protocol classes: clients that do not read, and hostile input."""

import asyncio
import re
import socket
import struct
import threading
from contextlib import ExitStack, closing, contextmanager, suppress
from time import monotonic, sleep

import pytest
import uvicorn

from events.integrations.uvicorn import HttpProtocol, WebSocketProtocol

pytestmark = pytest.mark.extended

TIMEOUT_SECONDS = 20
CHUNK = b"x" * 64 * 1024
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
)
NO_MASK = b"\0\0\0\0"


class Server:
    """A server in a thread; its application sends without end, or answers a request."""

    def __init__(self, loop, text="", response=None, **options):
        self.most_waiting = 0  # bytes of one connection
        self.is_disconnected = threading.Event()
        self._text, self._response = text, response
        config = uvicorn.Config(
            self._application, http=HttpProtocol, ws=WebSocketProtocol, loop=loop, port=0,
            interface="asgi3", log_level="error", lifespan="off", timeout_keep_alive=60,
            ws_max_size=65536, ws_per_message_deflate=False, **options,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run)

    def start(self):
        self._thread.start()
        wait_until(lambda: self._server.started)
        self.port = self._server.servers[0].sockets[0].getsockname()[1]

    def stop(self):
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(TIMEOUT_SECONDS)
        assert not self._thread.is_alive()

    def connect(self, request=b""):
        client = socket.create_connection(("127.0.0.1", self.port), TIMEOUT_SECONDS)
        client.sendall(request)
        return closing(client)

    @property
    def connections(self):
        return len(self._server.server_state.connections)

    async def _application(self, scope, receive, send):
        async def send_recorded(message):
            await send(message)
            for each in self._server.server_state.connections:
                waiting = each.transport.get_write_buffer_size()
                self.most_waiting = max(self.most_waiting, waiting)
            await asyncio.sleep(0)

        if scope["type"] == "websocket":
            await self._serve_socket(receive, send_recorded)
        elif self._response is None:
            await self._stream(receive, send_recorded)
        else:
            part = {"type": "http.response.body", "more_body": True}
            while (await receive()).get("more_body"):
                pass
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for _ in range(int(scope["path"].strip("/") or 1)):
                await send({**part, "body": self._response})
            await send({"type": "http.response.body", "body": b""})

    async def _stream(self, receive, send):
        await receive()
        disconnect = asyncio.create_task(receive())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while not disconnect.done():
            await send({"type": "http.response.body", "body": CHUNK, "more_body": True})
        self.is_disconnected.set()

    async def _serve_socket(self, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        try:
            while self._text:
                await send({"type": "websocket.send", "text": self._text})
        except OSError:
            self.is_disconnected.set()
        while (message := await receive())["type"] != "websocket.disconnect":
            await send({"type": "websocket.send", "text": str(len(message["text"]))})


@pytest.fixture(params=["asyncio", "uvloop"])
def serve(request):
    @contextmanager
    def serve(**options):
        server = Server(request.param, **options)
        server.start()
        try:
            yield server
        finally:
            server.stop()

    return serve


@pytest.fixture(autouse=True)
def _short_timeouts(settings, monkeypatch):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "SEND_TIMEOUT": 1.0}
    monkeypatch.setattr("events.integrations.uvicorn.HEAD_TIMEOUT_SECONDS", 1.0)


def wait_until(condition):
    deadline = monotonic() + TIMEOUT_SECONDS
    while not condition():
        assert monotonic() < deadline
        sleep(0.01)


def read_until_reset(client):
    """Read until the connection is reset; a server that only closes it fails the test."""
    received = b""
    while True:
        try:
            data = client.recv(65536)
        except ConnectionResetError:
            return received
        assert data, "the connection was closed"
        received += data


def send_until_reset(client, data, pause=0.0):
    with suppress(ConnectionResetError, BrokenPipeError):
        while True:
            client.sendall(data)
            sleep(pause)


def frame(data, opcode=1, size=None):
    """Encode a frame of a client; `size` is the size in its header."""
    size = len(data) if size is None else size
    return bytes([0x80 | opcode, 0x80 | 127]) + struct.pack("!Q", size) + NO_MASK + data


def upgraded(client):
    """Receive the response to UPGRADE."""
    head = b""
    while b"\r\n\r\n" not in head:
        head += client.recv(4096)
    assert b" 101 " in head
    return head


# Clients that do not read


def test_client_that_does_not_read_a_response(serve):
    with serve() as server, server.connect(GET) as client:
        assert server.is_disconnected.wait(TIMEOUT_SECONDS)
        read_until_reset(client)
        assert 0 < server.most_waiting <= 128 * 1024


@pytest.mark.parametrize("size", [100, 60_000, 200_000])
def test_client_that_does_not_read_a_socket(serve, size):
    with serve(text="x" * size) as server, server.connect(UPGRADE) as client:
        assert server.is_disconnected.wait(TIMEOUT_SECONDS)
        read_until_reset(client)
        assert 0 < server.most_waiting <= size + 10


def test_response_that_is_complete_and_not_read(serve):
    """The application has ended; the connection would close when the client has read the rest."""
    with serve(response=b"x" * 16_384) as server, ExitStack() as stack:
        for chunks in range(1, 60):  # the kernel takes all but a part of the last chunk of one
            request = b"GET /%d HTTP/1.0\r\n\r\n" % chunks
            assert stack.enter_context(server.connect(request)).recv(1)
        wait_until(lambda: server.connections == 0)


def test_slow_client_is_not_aborted(serve):
    with serve() as server, server.connect(GET) as client:
        deadline = monotonic() + 4
        while monotonic() < deadline:
            assert client.recv(128 * 1024)
            sleep(0.05)
        assert not server.is_disconnected.is_set()


def test_upgrade_while_a_response_is_not_read(serve):
    """Nothing would wait for the client to read, and the task of the response would never end."""
    with serve() as server, server.connect(GET) as client:
        client.recv(1000)
        client.sendall(UPGRADE)
        read_until_reset(client)
        assert server.is_disconnected.wait(TIMEOUT_SECONDS)


# Requests that do not arrive


@pytest.mark.parametrize("start", [b"", b"G", GET[:-2]])
def test_incomplete_head(serve, start):
    with serve(response=b"x") as server, server.connect(start) as client:
        read_until_reset(client)


def test_head_that_arrives_byte_by_byte(serve):
    with serve(response=b"x") as server, server.connect(GET[:-2] + b"X-A: ") as client:
        send_until_reset(client, b"x", pause=0.02)


def test_head_without_end(serve):
    with serve(response=b"x") as server, server.connect(GET[:-2] + b"X-A: ") as client:
        send_until_reset(client, b"x" * 1000)


def test_incomplete_second_head(serve):
    with serve(response=b"answer") as server, server.connect(GET) as client:
        while b"answer" not in client.recv(4096):
            pass
        client.sendall(GET[:-2])
        assert b"answer" not in read_until_reset(client)


def test_connection_that_is_idle_between_requests(serve):
    with serve(response=b"answer") as server, server.connect() as client:
        for _ in range(2):
            client.sendall(GET)
            received = b""
            while b"0\r\n\r\n" not in received:
                received += client.recv(4096)
            sleep(2.5)  # longer than the timeout of a head


def test_slow_body(serve):
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n"
    with serve(response=b"answer") as server, server.connect(head) as client:
        for byte in b"12345":
            sleep(0.5)
            client.sendall(bytes([byte]))
        assert b" 200 " in client.recv(4096)


# Hostile sockets


def test_message_of_the_maximum_size(serve):
    with serve() as server, server.connect(UPGRADE) as client:
        upgraded(client)
        client.sendall(frame(b"x" * 65536))
        assert b"65536" in client.recv(100)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(b"x" * 100, size=15_000_000), 1009),
        (frame(b"x", opcode=0x41), 1002),  # compressed
    ],
)
def test_large_or_compressed_message(serve, data, code):
    """It is refused by its header; compression is not negotiated."""
    with serve() as server, server.connect(UPGRADE) as client:
        assert b"deflate" not in upgraded(client)
        client.sendall(data)
        close = client.recv(100)
        assert (close[0], struct.unpack("!H", close[2:4])[0]) == (0x88, code)


@pytest.mark.parametrize("data", [frame(b"", opcode=9), b"\0" + frame(b"")[1:], frame(b"{}")])
def test_flood_of_small_frames(serve, data):
    """Pings, fragments and messages: uvicorn bounds neither their number nor its answers."""
    with serve() as server, server.connect(UPGRADE) as client:
        upgraded(client)
        if data[0] == 0:  # fragments continue a message
            client.sendall(b"\1" + frame(b"")[1:])
        send_until_reset(client, data * 1000)
        assert server.most_waiting <= 128 * 1024


def test_frames_at_a_moderate_rate(serve):
    with serve() as server, server.connect(UPGRADE) as client:
        upgraded(client)
        for _ in range(30):
            client.sendall(frame(b"x" * 5000))  # 150,000 bytes: more than may be sent at once
            assert re.search(rb"5000", client.recv(100))
            sleep(0.1)
