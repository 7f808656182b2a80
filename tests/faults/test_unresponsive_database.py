"""The site while PostgreSQL does not answer: threads are bounded, and everything recovers."""

import asyncio
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import sleep

import httpx
import psycopg
import pytest
import websockets
from websockets.exceptions import InvalidStatus

from tests.support.need import need
from tests.support.postgres import BINARIES, PostgresServer, find_binary
from tests.support.site import Site

pytestmark = pytest.mark.extended

REQUESTS = 200
# Those of 64 requests, as many that are ending, and some of the event loop, the hub and Python.
MAX_THREADS = 2 * 64 + 30
JOB = {"task_type": "manual"}


@pytest.fixture
def server(request):
    need(request, all(map(find_binary, BINARIES)), "a PostgreSQL server (initdb, postgres)")
    with PostgresServer.running() as server:
        yield server


@pytest.fixture
def site(server, tmp_path):
    site = Site(tmp_path)
    site.environment["DATABASE_URL"] = server.url
    try:
        site.prepare()
        site.start_processor()
        yield site
    finally:
        site.stop()


def threads_of(process):
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("Threads:")[2].split()[0])


async def handshake_status(site, job_id, cookie):
    """Return the status of a handshake: 101 if it is accepted."""
    url, headers = f"{site.ws_url}/ws/jobs/{job_id}/", {"additional_headers": cookie}
    try:
        async with websockets.connect(url, origin=site.url, open_timeout=60, **headers):
            return 101
    except InvalidStatus as error:
        return error.response.status_code


@pytest.mark.timeout(180)
async def test_paused_server(site, server):
    web = site.start_web("--no-access-log")
    limits = httpx.Limits(max_connections=None)
    options = {"base_url": site.url, "auth": ("anna", "anna"), "timeout": 90, "limits": limits}
    async with httpx.AsyncClient(**options) as client:
        job_id = (await client.post("/api/jobs/", json=JOB)).json()["job_id"]
        socket, most = (site, job_id, site.cookie("anna")), 0
        assert await handshake_status(*socket) == 101
        with server.paused():
            requests = [asyncio.create_task(client.get("/api/jobs/")) for _ in range(REQUESTS)]
            sockets = [asyncio.create_task(handshake_status(*socket)) for _ in range(20)]
            while not all(task.done() for task in (*requests, *sockets)):
                most = max(most, threads_of(web))
                await asyncio.sleep(0.02)
            assert Counter(task.result().status_code for task in requests) == {503: REQUESTS}
            types = {task.result().headers["Content-Type"] for task in requests}
            assert types == {"application/problem+json"}
            assert {task.result() for task in sockets} == {503}
            assert most <= MAX_THREADS
            # Clients that disconnect leave no thread behind.
            impatient = httpx.AsyncClient(**{**options, "timeout": 0.3})
            async with impatient:
                hanging = [impatient.get("/api/jobs/") for _ in range(REQUESTS)]
                found = await asyncio.gather(*hanging, return_exceptions=True)
            answers = {each.status_code for each in found if isinstance(each, httpx.Response)}
            assert answers <= {503}
            assert threads_of(web) <= MAX_THREADS
        async with asyncio.timeout(60):
            # PostgreSQL first handles the connection attempts of the pause.
            while (await client.get("/api/jobs/")).status_code != 200:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        assert await handshake_status(*socket) == 101
        response = await client.post(f"/api/jobs/{job_id}/cancel/", json={})
        assert response.json()["status"] == "cancelled"
    site.manage("process_events", "--once")
    site.manage("process_events", "--status")
    for name in ("web", "processor"):
        assert site.log_of(name).count("\n") < 300


@pytest.mark.timeout(180)
def test_read_only_server(site, server):
    """As after a failover to a standby server."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("ALTER DATABASE tests SET default_transaction_read_only = on")
        site.start_web("--no-access-log")
        with site.client("anna") as client:
            response = client.post("/api/jobs/", json=JOB)
            assert response.status_code == 503
            assert response.json()["type"] == "urn:job-events:unavailable"
            assert client.get("/api/jobs/").status_code == 200
            connection.execute("ALTER DATABASE tests RESET default_transaction_read_only")
            assert client.post("/api/jobs/", json=JOB).status_code == 201


@pytest.mark.timeout(180)
def test_stream_that_starts_while_the_server_shuts_down(site, server):
    """The server has not had a subscriber before the signal."""
    web = site.start_web("--no-access-log")
    with site.client("anna") as client:
        job_id = client.post("/api/jobs/", json=JOB).json()["job_id"]
        path = f"/api/jobs/{job_id}/events/stream/"
        with ThreadPoolExecutor() as executor, server.paused():
            response = executor.submit(client.get, path, timeout=60)
            sleep(1)
            web.send_signal(signal.SIGTERM)
            sleep(1)
            assert not response.done()
    assert "event: restart" in response.result().text
    web.wait(60)
