"""Live delivery by daphne, which refuses codes that are not plain integers, 1000, or from 3000."""

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import closing, suppress

import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import ClientConnection, connect

from tests.support.nginx import at_port
from tests.support.site import Site, free_port, wait_for_port

pytestmark = pytest.mark.extended
TIMEOUT_SECONDS = 30


def start_daphne(site: Site) -> tuple[Site, Callable[[], None]]:
    """Start daphne on another port; return the site there, and a function that sends SIGTERM."""
    other = at_port(site, free_port())
    web = other._spawn("daphne", "-m", "daphne", "-p", str(other.port), "config.asgi:application")
    wait_for_port(other.port, web)

    def stop() -> None:
        if web.poll() is None:
            web.send_signal(signal.SIGTERM)

    return other, stop


@pytest.fixture(scope="module")
def daphne(site: Site) -> Iterator[Site]:
    other, stop = start_daphne(site)
    yield other
    stop()


def socket_to(site: Site, path: str, cookie: dict[str, str]) -> ClientConnection:
    origin = site.url
    return connect(f"{site.ws_url}/ws/{path}", origin=origin, additional_headers=cookie)


def code_after(socket: ClientConnection, act: Callable[[], object]) -> int | None:
    """Return the close code after an action that follows `live`."""
    while json.loads(socket.recv(TIMEOUT_SECONDS))["type"] != "live":
        pass
    act()
    return final_code(socket)


def final_code(socket: ClientConnection) -> int | None:
    with suppress(ConnectionClosedError):  # raised for other codes than 1000
        list(socket)
    return socket.close_code


def test_end_is_1000(daphne: Site, job_id: str) -> None:
    with (
        daphne.client("anna") as client,
        socket_to(daphne, f"jobs/{job_id}/", daphne.cookie("anna")) as socket,
    ):
        assert code_after(socket, lambda: client.post(f"/api/jobs/{job_id}/cancel/")) == 1000


def test_logout_is_4401(daphne: Site, job_id: str) -> None:
    with closing(daphne.session("anna")) as session:
        cookie = {"Cookie": f"sessionid={session.cookies['sessionid']}"}
        headers = {"X-CSRFToken": session.cookies["csrftoken"], "Referer": daphne.url}
        with socket_to(daphne, f"jobs/{job_id}/", cookie) as socket:
            logout = lambda: session.post("/jobs/logout/", headers=headers)  # noqa: E731
            assert code_after(socket, logout) == 4401


def test_deletion_is_4404(daphne: Site, job_id: str) -> None:
    with (
        daphne.client("anna") as client,
        socket_to(daphne, f"jobs/{job_id}/", daphne.cookie("anna")) as socket,
    ):
        assert code_after(socket, lambda: client.delete(f"/api/jobs/{job_id}/")) == 4404


def test_too_large_and_too_many_messages_are_4009_and_4008(daphne: Site, job_id: str) -> None:
    cookie = daphne.cookie("anna")
    with socket_to(daphne, f"jobs/{job_id}/", cookie) as socket:
        assert code_after(socket, lambda: socket.send("x" * 20_000)) == 4009
    with socket_to(daphne, f"jobs/{job_id}/", cookie) as socket:
        flood = lambda: [socket.send("{}") for _ in range(400)]  # noqa: E731
        assert code_after(socket, flood) == 4008


def test_unauthenticated_socket_is_4401(daphne: Site) -> None:
    with socket_to(daphne, "events/", {}) as socket:
        assert final_code(socket) == 4401


def test_shutdown_is_4012_or_the_lost_connection(site: Site, job_id: str) -> None:
    other, stop = start_daphne(site)
    with socket_to(other, f"jobs/{job_id}/", other.cookie("anna")) as socket:
        # daphne may exit before it has sent the close frame.
        assert code_after(socket, stop) in (4012, 1006)


def test_stream_and_long_poll(daphne: Site, job_id: str) -> None:
    with daphne.client("anna") as client:
        client.post(f"/api/jobs/{job_id}/cancel/").raise_for_status()
        stream = client.get(f"/api/jobs/{job_id}/events/stream/").text
        assert stream.endswith("event: end\ndata: {}\n\n")
        page = client.get(f"/api/jobs/{job_id}/events/poll/").json()
        assert page["end"]
