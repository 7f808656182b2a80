"""Hostile clients of a real server, most of them anonymous; meanwhile the login page is served."""

import json
import socket
import threading
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from time import monotonic
from typing import Any

import httpx
import pytest
import websockets.sync.client
from websockets.exceptions import ConnectionClosed

from bench.sockets import handshake_of, request_of
from tests.support.nginx import another_web, extend_settings
from tests.support.site import Site

pytestmark = pytest.mark.extended

TIMEOUT_SECONDS = 60
LOGIN_TIMEOUT_SECONDS = 2
MAX_GROWTH_BYTES = 60 * 1024 * 1024


@pytest.fixture(scope="module")
def hostile_site(site: Site, tmp_path_factory: Any) -> Iterator[Site]:
    """A web server with a short LOGIN_TIMEOUT."""
    timeout = f"JOB_EVENTS['LOGIN_TIMEOUT'] = {LOGIN_TIMEOUT_SECONDS}"
    environment = extend_settings(tmp_path_factory.mktemp("hostile"), timeout)
    with another_web(site, **environment) as web:
        yield web


class LoginPage:
    """Requests the login page again and again."""

    def __init__(self, site: Site) -> None:
        self.site, self.statuses = site, list[int]()
        self._is_done = threading.Event()

    def run(self) -> None:
        with httpx.Client(base_url=self.site.url, timeout=TIMEOUT_SECONDS) as client:
            while not self._is_done.is_set():
                self.statuses.append(client.get("/jobs/login/").status_code)

    @contextmanager
    def requested(self) -> Iterator[None]:
        thread = threading.Thread(target=self.run)
        thread.start()
        try:
            yield
        finally:
            self._is_done.set()
            thread.join(TIMEOUT_SECONDS)
        assert set(self.statuses) == {200}


@pytest.fixture
def login_page(hostile_site: Site) -> Iterator[LoginPage]:
    page = LoginPage(hostile_site)
    with page.requested():
        yield page


def connected(site: Site, request: bytes = b"") -> Any:
    client = socket.create_connection(("127.0.0.1", site.port), TIMEOUT_SECONDS)
    client.sendall(request)
    return closing(client)


def anonymous_handshake(site: Site, *headers: str) -> bytes:
    return handshake_of("ws/events/", f"Origin: {site.url}", *headers)


def read_to_end(client: socket.socket) -> bytes:
    received = b""
    try:
        while data := client.recv(65536):
            received += data
    except ConnectionResetError:
        pass
    return received


def upgraded(client: socket.socket) -> bytes:
    """Receive the head of the response to a handshake."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += client.recv(1)
    assert head.startswith(b"HTTP/1.1 101")
    return head


def client_frame(data: bytes, first: int = 0x81) -> bytes:
    return bytes([first, 0xFF]) + len(data).to_bytes(8, "big") + bytes(4) + data


def test_compressed_frames(hostile_site: Site, login_page: LoginPage) -> None:
    """Twenty anonymous frames of 15 KB, which would be 15 MB: they are refused, not inflated."""
    deflate = zlib.compressobj(wbits=-15)
    data = deflate.compress(b"x" * 15_000_000) + deflate.flush(zlib.Z_SYNC_FLUSH)
    offer = "Sec-WebSocket-Extensions: permessage-deflate"
    request = anonymous_handshake(hostile_site, offer)
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(hostile_site, request)) for _ in range(20)]
        for client in clients:
            assert b"deflate" not in upgraded(client)
            client.sendall(client_frame(data[:-4], first=0xC1))
        for client in clients:
            received = read_to_end(client)
            codes = (1002).to_bytes(2, "big"), (4401).to_bytes(2, "big")  # after LOGIN_TIMEOUT
            assert any(code in received for code in codes)


def test_large_frames(hostile_site: Site, login_page: LoginPage) -> None:
    with ExitStack() as stack:
        request = anonymous_handshake(hostile_site)
        clients = [stack.enter_context(connected(hostile_site, request)) for _ in range(20)]
        for client in clients:
            upgraded(client)
            with pytest.raises((ConnectionResetError, BrokenPipeError)):
                client.sendall(client_frame(b"x" * 15_000_000))


def test_handshake_flood(hostile_site: Site, login_page: LoginPage) -> None:
    """Silent anonymous sockets are closed after LOGIN_TIMEOUT."""
    request = anonymous_handshake(hostile_site)
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(hostile_site, request)) for _ in range(400)]
        for client in clients:
            received = read_to_end(client)
            assert received.startswith(b"HTTP/1.1 101")
            assert (4401).to_bytes(2, "big") in received


def test_slow_heads(hostile_site: Site, login_page: LoginPage) -> None:
    """Requests whose heads never end are aborted after ten seconds."""
    head = request_of("jobs/login/")[:-2]
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(hostile_site, head)) for _ in range(200)]
        deadline = monotonic() + TIMEOUT_SECONDS
        while clients:
            assert monotonic() < deadline
            for client in list(clients):
                try:
                    client.sendall(b"X-A: b\r\n")
                except (ConnectionResetError, BrokenPipeError):
                    clients.remove(client)
            threading.Event().wait(0.5)


@pytest.mark.parametrize("count", [800, 8000])
def test_many_subscriptions(hostile_site: Site, login_page: LoginPage, count: int) -> None:
    """The first hundred are accepted; after some more messages the socket is closed or aborted."""
    with hostile_site.client("anna") as client:
        bodies = [{"task_type": "by_hand"}] * 110
        ids = [client.post("/api/jobs/", json=body).json()["job_id"] for body in bodies]
    with closing(hostile_site.session("anna")) as session:
        cookie = f"sessionid={session.cookies['sessionid']}"
    with websockets.sync.client.connect(
        f"{hostile_site.ws_url}/ws/events/",
        additional_headers={"Cookie": cookie},
        origin=hostile_site.url,  # type: ignore[arg-type]
    ) as connection:
        sender = threading.Thread(target=subscribe_to_all, args=(connection, ids, count))
        sender.start()
        messages = []
        with suppress(ConnectionClosed):
            messages.extend(json.loads(text) for text in connection)
        sender.join(TIMEOUT_SECONDS)
        live = {message["job_id"] for message in messages if message["type"] == "live"}
        assert live <= set(ids[:100])
        assert connection.close_code == 1008 or count == 8000


def subscribe_to_all(connection: Any, ids: list[str], count: int) -> None:
    with suppress(ConnectionClosed):
        for number in range(count):
            job_id = ids[number] if number < len(ids) else f"unknown-{number}"
            connection.send(json.dumps({"action": "subscribe", "job_id": job_id}))
