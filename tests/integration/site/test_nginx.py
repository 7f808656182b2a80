"""Live delivery through an nginx that buffers, compresses and loses patience, as nginx does."""

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
from tests.support.need import need
from tests.support.nginx import NGINX, another_web, behind_nginx, more_settings
from tests.support.site import Site

PATIENCE = 10
# nginx's own is 60 s, and KEEP_ALIVE is 15 s: here, both are a fifteenth of that.
PATIENCE_OF_NGINX = 4
KEEP_ALIVE = 1


@pytest.fixture(scope="module", autouse=True)
def _nginx(request: pytest.FixtureRequest) -> None:
    need(request, NGINX, "an nginx (Debian's package nginx)")


@pytest.fixture(scope="module")
def h11_site(site: Site) -> Iterator[Site]:
    """The site by uvicorn's parser of pure Python.

    It answers nginx, which speaks HTTP/1.0, without chunks, and nginx buffers that. By httptools,
    there are chunks all the same, and nginx passes them on one by one.
    """
    with another_web(site, UVICORN_HTTP="h11") as web:
        yield web


@pytest.fixture(scope="module", params=["site", "h11_site"])
def front(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[Site]:
    """The site through an nginx that is told nothing of live delivery."""
    directory = tmp_path_factory.mktemp("nginx") / "front"
    with behind_nginx(request.getfixturevalue(request.param), directory) as front:
        yield front


@pytest.fixture
def publisher(site: Site) -> Iterator[SyncRedisStreamPublisher]:
    """A producer of events for the jobs of the site."""
    client = redis.Redis.from_url(site.redis.url)
    yield SyncRedisStreamPublisher(client)
    client.close()


@pytest.fixture
def job_id(site: Site) -> str:
    """A job of anna's that no worker takes: the test says what happens in it."""
    with site.client("anna") as client:
        answer = client.post("/api/jobs/", json={"task_type": "by_hand"})
    answer.raise_for_status()
    return str(answer.json()["job_id"])


def cancel(site: Site, job_id: str) -> None:
    with site.client("anna") as client:
        client.post(f"/api/jobs/{job_id}/cancel/").raise_for_status()


# Both views give the number of an event, 0 if it has none, and the name of anything else.


@contextmanager
def by_sse(site: Site, job_id: str) -> Iterator[Iterator[Any]]:
    """What a browser is sent by SSE."""
    url = f"/api/jobs/{job_id}/events/stream/"
    with (
        closing(site.session("anna")) as browser,
        browser.stream("GET", url, timeout=PATIENCE) as answer,
    ):
        assert answer.status_code == 200
        assert "gzip" in answer.request.headers["accept-encoding"]
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers.get("content-encoding", "identity") == "identity"
        yield seen_by_sse(answer.iter_lines())


def seen_by_sse(lines: Iterator[str]) -> Iterator[Any]:
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
def by_socket(site: Site, job_id: str) -> Iterator[Iterator[Any]]:
    """What a browser is sent by WebSocket; it sends no pings, as a browser sends none."""
    with closing(site.session("anna")) as browser:
        cookie = f"sessionid={browser.cookies['sessionid']}"
    with connect(
        f"{site.ws_url}/ws/jobs/{job_id}/",
        origin=websockets.Origin(site.url),
        additional_headers={"Cookie": cookie},
        ping_interval=None,
    ) as socket:
        yield seen_by_socket(socket)


def seen_by_socket(socket: Any) -> Iterator[Any]:
    with suppress(websockets.ConnectionClosedOK):
        while True:
            message = json.loads(socket.recv(PATIENCE))
            is_event = message["type"] == "event"
            yield message["event"]["data"].get("n", 0) if is_event else message["type"]


VIEWS = [by_sse, by_socket]
each_view = pytest.mark.parametrize("view", VIEWS)


# One by one


@each_view
def test_each_event_comes_as_it_is_published(front, job_id, publisher, view):
    with view(front, job_id) as seen:
        assert [next(seen), next(seen)] == [0, "live"]
        for n in range(1, 11):
            publisher.publish_event(job_id, {"n": n})
            assert next(seen) == n
        cancel(front, job_id)
        assert list(seen) == [0, "end"]


def test_long_poll_answers_when_an_event_is_published(front, job_id, publisher):
    url = f"/api/jobs/{job_id}/events/poll/"
    with front.client("anna") as client:
        cursor = client.get(url).json()["cursor"]
        query = {"after": cursor, "wait": 30}
        with client.stream("GET", url, params=query, timeout=PATIENCE) as answer:
            # Its head is here, so it waits.
            assert answer.headers.get("content-encoding", "identity") == "identity"
            publisher.publish_event(job_id, {"n": 1})
            page = json.loads(answer.read())
    assert [event["data"]["n"] for event in page["results"]] == [1]


# What this nginx does unless it is told otherwise: without that, the above says nothing


def test_this_nginx_compresses(front, job_id):
    with front.client("anna") as client:
        assert client.get(f"/api/jobs/{job_id}/").headers["content-encoding"] == "gzip"


def test_this_nginx_buffers_what_does_not_forbid_it(h11_site, job_id, tmp_path):
    ignoring = "proxy_ignore_headers X-Accel-Buffering;"
    with (
        behind_nginx(h11_site, tmp_path / "nginx", ignoring) as deaf,
        deaf.client("anna") as client,
        pytest.raises(httpx.ReadTimeout),
        client.stream("GET", f"/api/jobs/{job_id}/events/stream/", timeout=1) as answer,
    ):
        next(answer.iter_lines())


# Signs of life


@pytest.fixture(scope="module")
def hasty_front(site: Site, tmp_path_factory: Any) -> Iterator[Site]:
    """The site with short keep-alives, through an nginx with little patience."""
    directory: Path = tmp_path_factory.mktemp("single_pass")
    environment = more_settings(directory, f"JOB_EVENTS['KEEP_ALIVE'] = {KEEP_ALIVE}")
    patience = f"proxy_read_timeout {PATIENCE_OF_NGINX}s;"
    with (
        another_web(site, **environment) as web,
        behind_nginx(web, directory / "nginx", patience) as single_pass,
    ):
        yield single_pass


def found_after(seconds, front, job_id, publisher):
    """View in both ways, with nothing published for long, and then all that happens."""
    with ExitStack() as stack:
        views = [stack.enter_context(view(front, job_id)) for view in VIEWS]
        for seen in views:
            assert [next(seen), next(seen)] == [0, "live"]
        sleep(seconds)
        publisher.publish_event(job_id, {"n": 1})
        cancel(front, job_id)
        return [list(seen) for seen in views]


def test_who_waits_longer_than_nginx_is_alive(hasty_front, job_id, publisher):
    """Default timeouts: nginx closes after 60 s of silence, a keep-alive comes every 15 s."""
    seconds = PATIENCE_OF_NGINX + 2
    for found in found_after(seconds, hasty_front, job_id, publisher):
        signs = found.count("keep-alive")
        assert [each for each in found if each != "keep-alive"] == [1, 0, "end"]
        assert signs >= seconds / 2


@each_view
def test_who_gets_no_sign_of_life_is_cut_off(site, job_id, tmp_path, view):
    """By an nginx whose patience is shorter than the time between two of them."""
    with (
        behind_nginx(site, tmp_path / "nginx", "proxy_read_timeout 4s;") as single_pass,
        view(single_pass, job_id) as seen,
    ):
        assert [next(seen), next(seen)] == [0, "live"]
        with pytest.raises((httpx.RemoteProtocolError, websockets.ConnectionClosedError)):
            next(seen)
