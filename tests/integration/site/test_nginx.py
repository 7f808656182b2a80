"""Live delivery through nginx with its default buffering and timeouts, and with compression."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from time import sleep
from typing import Any

import httpx
import pytest
import redis
import websockets
from websockets.sync.client import connect

from events.publisher import SyncRedisStreamPublisher
from tests.integration.test_documents import snippets
from tests.support.need import need
from tests.support.nginx import NGINX, another_web, behind_nginx, extend_settings
from tests.support.site import ROOT, Site

pytestmark = pytest.mark.extended

TIMEOUT_SECONDS = 10
# A fifteenth of the defaults: 60 s in nginx, and KEEP_ALIVE of 15 s.
NGINX_TIMEOUT_SECONDS = 4
KEEP_ALIVE_SECONDS = 1


@pytest.fixture(scope="module", autouse=True)
def _nginx(request: pytest.FixtureRequest) -> None:
    need(request, NGINX, "an nginx (Debian's package nginx)")


@pytest.fixture(scope="module")
def h11_site(site: Site) -> Iterator[Site]:
    """The site with the h11 parser of uvicorn.

    nginx sends HTTP/1.0 requests. With h11, uvicorn replies without chunks, and nginx buffers the
    response. With httptools, uvicorn sends chunks, which nginx passes on one by one.
    """
    with another_web(site, "--http", "h11") as web:
        yield web


@pytest.fixture(scope="module", params=["site", "h11_site"])
def front(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[Site]:
    """The site behind nginx without directives for live delivery."""
    directory = tmp_path_factory.mktemp("nginx") / "front"
    with behind_nginx(request.getfixturevalue(request.param), directory) as front:
        yield front


@pytest.fixture
def publisher(site: Site) -> Iterator[SyncRedisStreamPublisher]:
    """A publisher to the jobs of the site."""
    client = redis.Redis.from_url(site.redis.url)
    yield SyncRedisStreamPublisher(client)
    client.close()


def cancel(site: Site, job_id: str) -> None:
    with site.client("anna") as client:
        client.post(f"/api/jobs/{job_id}/cancel/").raise_for_status()


# Both transports yield the number of an event (0 without one) or the name of another message.


@contextmanager
def by_sse(site: Site, job_id: str) -> Iterator[Iterator[Any]]:
    """Receive messages over SSE."""
    url = f"/api/jobs/{job_id}/events/stream/"
    with (
        closing(site.session("anna")) as browser,
        browser.stream("GET", url, timeout=TIMEOUT_SECONDS) as response,
    ):
        assert response.status_code == 200
        assert "gzip" in response.request.headers["accept-encoding"]
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers.get("content-encoding", "identity") == "identity"
        yield parse_sse(response.iter_lines())


def parse_sse(lines: Iterator[str]) -> Iterator[Any]:
    name = None
    for line in lines:
        if line.startswith(": "):
            yield line.removeprefix(": ")
        elif line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name or json.loads(line.removeprefix("data: "))["data"].get("n", 0)
            name = None


@contextmanager
def by_websocket(site: Site, job_id: str) -> Iterator[Iterator[Any]]:
    """Receive messages over WebSocket, without pings, like a browser."""
    with closing(site.session("anna")) as browser:
        cookie = f"sessionid={browser.cookies['sessionid']}"
    with connect(
        f"{site.ws_url}/ws/jobs/{job_id}/",
        origin=websockets.Origin(site.url),
        additional_headers={"Cookie": cookie},
        ping_interval=None,
    ) as socket:
        yield parse_websocket(socket)


def parse_websocket(socket: Any) -> Iterator[Any]:
    with suppress(websockets.ConnectionClosedOK):
        while True:
            message = json.loads(socket.recv(TIMEOUT_SECONDS))
            is_event = message["type"] == "event"
            yield message["event"]["data"].get("n", 0) if is_event else message["type"]


TRANSPORTS = [by_sse, by_websocket]
each_transport = pytest.mark.parametrize("receive", TRANSPORTS)


# Delivery


@each_transport
def test_events_are_delivered_one_by_one(front, job_id, publisher, receive):
    with receive(front, job_id) as messages:
        assert [next(messages), next(messages)] == [0, "live"]
        for n in range(1, 11):
            publisher.publish_event(job_id, {"n": n})
            assert next(messages) == n
        cancel(front, job_id)
        assert list(messages) == [0, "end"]


def test_long_poll_returns_when_an_event_is_published(front, job_id, publisher):
    url = f"/api/jobs/{job_id}/events/poll/"
    with front.client("anna") as client:
        cursor = client.get(url).json()["cursor"]
        query = {"after": cursor, "wait": 30}
        with client.stream("GET", url, params=query, timeout=TIMEOUT_SECONDS) as response:
            # The head has been received: the request waits.
            assert response.headers.get("content-encoding", "identity") == "identity"
            publisher.publish_event(job_id, {"n": 1})
            page = json.loads(response.read())
    assert [event["data"]["n"] for event in page["results"]] == [1]


# Behaviour of nginx that the tests above rely on


def test_nginx_compresses_json(front, job_id):
    with front.client("anna") as client:
        assert client.get(f"/api/jobs/{job_id}/").headers["content-encoding"] == "gzip"


def test_nginx_buffers_responses_without_x_accel_buffering(h11_site, job_id, tmp_path):
    ignoring = "proxy_ignore_headers X-Accel-Buffering;"
    with (
        behind_nginx(h11_site, tmp_path / "nginx", ignoring) as buffering,
        buffering.client("anna") as client,
        pytest.raises(httpx.ReadTimeout),
        client.stream("GET", f"/api/jobs/{job_id}/events/stream/", timeout=1) as response,
    ):
        next(response.iter_lines())


def test_log_format_of_the_documentation_omits_tickets(site, job_id, tmp_path):
    snippet = snippets(ROOT / "docs" / "operations.md", "nginx")["log-format"]
    more = snippet.replace("/var/log/nginx/access.log", "documented.log")
    path = f"/api/jobs/{job_id}/events/poll/"
    with site.client("anna") as client:
        ticket = client.post(f"/api/jobs/{job_id}/ticket/").json()["ticket"]
    with behind_nginx(site, tmp_path / "nginx", more) as front:
        httpx.get(f"{front.url}{path}?ticket={ticket}").raise_for_status()
    log = (tmp_path / "nginx" / "documented.log").read_text()
    assert f'"GET {path} HTTP/1.1" 200' in log
    assert ticket in (tmp_path / "nginx" / "access.log").read_text()  # the default format
    assert "ticket" not in log


# Keep-alives


@pytest.fixture(scope="module")
def front_with_short_timeouts(site: Site, tmp_path_factory: Any) -> Iterator[Site]:
    """The site with short keep-alives, behind nginx with a short timeout."""
    directory: Path = tmp_path_factory.mktemp("nginx")
    environment = extend_settings(directory, f"JOB_EVENTS['KEEP_ALIVE'] = {KEEP_ALIVE_SECONDS}")
    timeout = f"proxy_read_timeout {NGINX_TIMEOUT_SECONDS}s;"
    with (
        another_web(site, **environment) as web,
        behind_nginx(web, directory / "nginx", timeout) as front,
    ):
        yield front


def received_after(seconds, front, job_id, publisher):
    """Connect both transports, publish after some seconds; return the received messages."""
    with ExitStack() as stack:
        streams = [stack.enter_context(receive(front, job_id)) for receive in TRANSPORTS]
        for messages in streams:
            assert [next(messages), next(messages)] == [0, "live"]
        sleep(seconds)
        publisher.publish_event(job_id, {"n": 1})
        cancel(front, job_id)
        return [list(messages) for messages in streams]


def test_keep_alives_prevent_the_timeout_of_nginx(front_with_short_timeouts, job_id, publisher):
    """By default nginx closes after 60 s without data; keep-alives are sent every 15 s."""
    seconds = NGINX_TIMEOUT_SECONDS + 2
    for received in received_after(seconds, front_with_short_timeouts, job_id, publisher):
        keep_alives = received.count("keep-alive")
        assert [each for each in received if each != "keep-alive"] == [1, 0, "end"]
        assert keep_alives >= seconds / 2


@each_transport
def test_nginx_closes_connections_without_keep_alives(site, job_id, tmp_path, receive):
    """The timeout of nginx is shorter than the interval of keep-alives."""
    with (
        behind_nginx(site, tmp_path / "nginx", "proxy_read_timeout 4s;") as front,
        receive(front, job_id) as messages,
    ):
        assert [next(messages), next(messages)] == [0, "live"]
        with pytest.raises((httpx.RemoteProtocolError, websockets.ConnectionClosedError)):
            next(messages)
