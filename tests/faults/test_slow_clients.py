"""Clients of a real server that never read: memory, and the end of their connections."""

import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
import redis

from bench.sockets import handshake_of, request_of
from events.publisher import SyncRedisStreamPublisher
from tests.support.nginx import extend_settings
from tests.support.site import Site

pytestmark = [
    pytest.mark.extended,
    pytest.mark.skipif(not Path("/proc").exists(), reason="memory is read from /proc"),
]

CLIENTS, MAX_GROWTH_BYTES = 200, 60 * 1024 * 1024
SEND_TIMEOUT_SECONDS = 8  # longer than 200 clients take to connect
TIMEOUT_SECONDS = 60
JOBS = ["a", "b", "c"]


@pytest.fixture(scope="module")
def slow_site(session_tmp: Path) -> Iterator[Site]:
    """A site with logs of 20 MB, and a short SEND_TIMEOUT."""
    directory = session_tmp / "slow"
    directory.mkdir()
    site = Site(directory)
    timeout = f"JOB_EVENTS['SEND_TIMEOUT'] = {SEND_TIMEOUT_SECONDS}"
    site.environment.update(extend_settings(directory, timeout))
    try:
        site.prepare()
        site.start_processor()
        client = redis.Redis.from_url(site.redis.url)
        publisher = SyncRedisStreamPublisher(client)
        create = "from jobs import services; from django.contrib.auth.models import User; "
        for job in JOBS:
            create += f"services.job_create(task_type='by_hand', job_id='{job}', "
            create += "owner=User.objects.get(username='anna')); "
        site.manage("shell", "-c", create)
        for job in JOBS:
            for _ in range(20):
                publisher.publish_events(job, [{"text": "x" * 10_000}] * 100)
        client.close()
        yield site
    finally:
        site.stop()


@pytest.fixture
def web(slow_site: Site) -> Iterator[Any]:
    process = slow_site.start_web("--no-access-log")
    yield process
    slow_site.stop_child(process)


def login(site: Site) -> tuple[str, str]:
    with closing(site.session("anna")) as session:
        cookie = f"Cookie: sessionid={session.cookies['sessionid']}"
    return cookie, f"Origin: {site.url}"


def memory_of(process: Any, name: str) -> int:
    """Return VmRSS, or its peak VmHWM, of a process in bytes."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(rf"{name}:\s+(\d+) kB", status)[1]) * 1024  # type: ignore[index]


def reset_peak(process: Any) -> None:
    Path(f"/proc/{process.pid}/clear_refs").write_text("5")


def is_served(site: Site) -> bool:
    """Whether the server has connections; one that it has closed has no inode."""
    port, listening = f":{site.port:04X}", "0A"
    sockets = map(str.split, Path("/proc/net/tcp").read_text().splitlines()[1:])
    return any(
        each[1].endswith(port) and each[3] != listening and each[9] != "0" for each in sockets
    )


def wait_until(condition: Any) -> None:
    deadline = monotonic() + TIMEOUT_SECONDS
    while not condition():
        assert monotonic() < deadline
        sleep(0.05)


def connected(site: Site, request: bytes) -> Any:
    client = socket.create_connection(("127.0.0.1", site.port), TIMEOUT_SECONDS)
    client.sendall(request)
    return closing(client)


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "paths",
    [
        ["api/jobs/a/events/stream/"],
        ["ws/jobs/a/"],
        [
            "api/jobs/a/events/stream/?replay=1&speed=10000",
            "api/events/stream/?job=a&job=b&job=c",
            "api/jobs/a/events/export/",
            "api/jobs/a/events/poll/",
        ],
    ],
    ids=["sse", "websocket", "others"],
)
def test_clients_that_never_read(slow_site: Site, web: Any, paths: list[str]) -> None:
    """All are connected at the same time, and aborted after SEND_TIMEOUT."""
    encode = handshake_of if paths[0].startswith("ws") else request_of
    requests = [encode(path, *login(slow_site)) for path in paths]
    for request in requests * 2:  # imports modules, fills caches
        with connected(slow_site, request) as client:
            assert client.recv(1000)
    wait_until(lambda: not is_served(slow_site))
    idle, log_size = memory_of(web, "VmRSS"), len(slow_site.log_of())
    reset_peak(web)
    with ExitStack() as stack:
        for request in requests * (CLIENTS // len(requests)):
            client = stack.enter_context(connected(slow_site, request))
            assert client.recv(12) in (b"HTTP/1.1 200", b"HTTP/1.1 101")
        wait_until(lambda: not is_served(slow_site))
        grown = memory_of(web, "VmHWM") - idle
        print(f"{grown / 2**20:.0f} MiB")
        assert grown <= MAX_GROWTH_BYTES
        aborted = slow_site.log_of()[log_size:].count("send_timeout")
        short = paths.count("api/jobs/a/events/poll/")  # may be in the buffers of the kernel
        assert aborted >= CLIENTS - CLIENTS // len(paths) * short
    with slow_site.client("anna") as client:
        assert client.get("/api/jobs/a/").status_code == 200
