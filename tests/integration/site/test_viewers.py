"""Subscribers of a real site that lose their connections or their server and reconnect."""

import asyncio
import json
import random
import re
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
import websockets

from events.publisher import SyncRedisStreamPublisher
from tests.support.site import Site

pytestmark = pytest.mark.extended

EVENTS = 2000
LIVE, END, RESTART = "live", "end", "restart"


@pytest.fixture
def own_site(short_tmp: Path) -> Iterator[Site]:
    """A site of a single test, whose server is stopped and killed."""
    directory = short_tmp / "own"
    directory.mkdir()
    site = Site(directory)
    try:
        site.prepare()
        yield site
    finally:
        site.stop()


def new_job(site: Site) -> str:
    with site.client() as client:
        return str(client.post("/api/jobs/", json={"task_type": "manual"}).json()["job_id"])


def publisher_to(site: Site) -> SyncRedisStreamPublisher:
    return SyncRedisStreamPublisher(redis.Redis.from_url(site.redis.url))


class Client:
    """Reconnects at its cursor until the end; records event ids and restart messages."""

    def __init__(self, site: Site, job_id: str, cookie: str) -> None:
        self.site, self.job_id, self.cookie = site, job_id, cookie
        self.ids: list[str] = []
        self.retries: list[int] = []  # delays of restart messages in milliseconds
        self.is_finished = False
        self.disconnects = 0
        self.has_received = asyncio.Event()

    @property
    def after(self) -> str:
        return self.ids[-1] if self.ids else "0"

    def receive(self, kind: str, id_: str = "", retry: int = 0) -> None:
        self.has_received.set()
        if kind == "event":
            self.ids.append(id_)
        elif kind == RESTART:
            self.retries.append(retry)
        self.is_finished = kind == END

    async def run(self, rng: random.Random | None = None) -> None:
        """Receive until the end; with `rng`, disconnect after some messages, sometimes abruptly."""
        while not self.is_finished:
            known = len(self.retries)
            try:
                await self.connect_once(rng.randrange(1, 36) if rng else 10**9)
            except (OSError, httpx.HTTPError, websockets.WebSocketException):
                await asyncio.sleep(0.05)
            self.has_received.clear()  # on the next connection, nothing yet
            self.disconnects += 1
            await asyncio.sleep(sum(self.retries[known:]) / 1000)

    async def connect_once(self, limit: int) -> None:
        raise NotImplementedError


def socket_to(site: Site, job_id: str, cookie: str, after: str = "0") -> Any:
    origin: Any = site.url
    return websockets.connect(
        f"{site.ws_url}/ws/jobs/{job_id}/?after={after}",
        additional_headers={"Cookie": cookie},
        origin=origin,
        close_timeout=0.05,  # a client with unread data would wait for the close frame
    )


class WebSocketClient(Client):
    async def connect_once(self, limit: int) -> None:
        async with socket_to(self.site, self.job_id, self.cookie, self.after) as socket:
            known = len(self.retries)
            try:
                async for text in socket:
                    message = json.loads(text)
                    event = message.get("event") or {}
                    self.receive(message["type"], event.get("id", ""), message.get("retry", 0))
                    limit -= 1
                    if not limit and not self.is_finished:
                        if self.disconnects % 2:
                            socket.transport.abort()
                        return
            finally:
                # During a large send, a client may receive only the close frame of uvicorn.
                if socket.close_code == 1012 and len(self.retries) == known:
                    self.retries.append(0)


class SseClient(Client):
    async def connect_once(self, limit: int) -> None:
        path = f"{self.site.url}/api/jobs/{self.job_id}/events/stream/"
        headers = {"Cookie": self.cookie, "Last-Event-ID": self.after}
        async with (
            httpx.AsyncClient(timeout=60, verify=False) as client,
            client.stream("GET", path, headers=headers) as response,
        ):
            kind = "event"
            async for line in response.aiter_lines():
                name, _, value = line.partition(": ")
                if name == "event":
                    kind = value
                elif name == "data":
                    data = json.loads(value)
                    self.receive(kind, data.get("id", ""), data.get("retry", 0))
                    kind = "event"
                    limit -= 1
                    if not limit:
                        return


def whole_log(site: Site, job_id: str) -> list[str]:
    ids: list[str] = []
    with site.client() as client:
        while True:
            query = {"after": ids[-1] if ids else "0", "limit": 1000}
            page = client.get(f"/api/jobs/{job_id}/events/", params=query).json()
            ids += [event["id"] for event in page["results"]]
            if not page["next"]:
                return ids


def write(site: Site, job_id: str, pause: float) -> None:
    publisher = publisher_to(site)
    rng = random.Random(1)
    for n in range(EVENTS):
        publisher.publish_event(job_id, {"n": n})
        if rng.random() < 0.1:
            # Pauses of the writer: clients are sometimes behind and sometimes waiting.
            asyncio.run(asyncio.sleep(pause))


async def cancel(site: Site, job_id: str) -> None:
    async with httpx.AsyncClient(base_url=site.url, auth=("demo", "demo"), timeout=30) as client:
        (await client.post(f"/api/jobs/{job_id}/cancel/")).raise_for_status()


def cookie_of(site: Site) -> str:
    with closing(site.session()) as session:
        return f"sessionid={session.cookies['sessionid']}"


async def test_a_thousand_disconnects_lose_no_event(site: Site) -> None:
    """Clients disconnect cleanly or abruptly at any message; each receives the whole log."""
    job_id, cookie = new_job(site), cookie_of(site)
    kinds = [WebSocketClient, SseClient]
    clients = [kinds[n % 2](site, job_id, cookie) for n in range(10)]
    async with asyncio.TaskGroup() as group:
        for n, client in enumerate(clients):
            group.create_task(client.run(random.Random(n)))
        await asyncio.to_thread(write, site, job_id, 0.005)
        await cancel(site, job_id)
    ids = whole_log(site, job_id)
    assert len(ids) >= EVENTS
    assert all(client.ids == ids for client in clients)
    assert sum(client.disconnects for client in clients) >= 1000


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_server_is_restarted_during_delivery(own_site: Site, number: int) -> None:
    """After SIGTERM the server sends restart messages and exits with open connections."""
    web = await asyncio.to_thread(own_site.start_web, "--no-access-log")
    job_id, cookie = new_job(own_site), cookie_of(own_site)
    kinds = [WebSocketClient, SseClient]
    clients = [kinds[n % 2](own_site, job_id, cookie) for n in range(10)]
    async with asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(client.run())
        writer = group.create_task(asyncio.to_thread(write, own_site, job_id, 0.01))
        for _ in range(3):
            for client in clients:
                await client.has_received.wait()
            await asyncio.to_thread(own_site.stop_child, web, number)
            web = await asyncio.to_thread(own_site.start_web, "--no-access-log")
        await writer
        await cancel(own_site, job_id)
    ids = whole_log(own_site, job_id)
    assert len(ids) >= EVENTS
    assert all(client.ids == ids for client in clients)
    if number == signal.SIGKILL:
        assert not any(client.retries for client in clients)
    else:  # a client that reconnects before the old server exits receives another message
        assert all(len(client.retries) >= 3 for client in clients)
        times = {retry for client in clients for retry in client.retries}
        assert len(times) > 3  # reconnects are spread over time


def memory_of(process: Any) -> int:
    """Return the resident memory of a process in bytes."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024  # type: ignore[index]


async def test_stalled_client_does_not_grow_the_memory_of_the_server(own_site: Site) -> None:
    web = await asyncio.to_thread(own_site.start_web, "--no-access-log")
    job_id, cookie = new_job(own_site), cookie_of(own_site)
    clients = [WebSocketClient(own_site, job_id, cookie) for _ in range(2)]
    async with socket_to(own_site, job_id, cookie) as stalled:
        await stalled.recv()
        stalled.transport.pause_reading()
        tasks = [asyncio.create_task(client.run()) for client in clients]
        publisher, text = publisher_to(own_site), "x" * 200_000
        before = 0
        for count in (150, 350):  # the first round grows the buffers of the other clients
            for n in range(count):
                await asyncio.to_thread(publisher.publish_event, job_id, {"n": n, "text": text})
            last = publisher.publish_event(job_id, {"n": "last"})
            while any(client.after != last for client in clients):  # noqa: ASYNC110 - no event to wait for
                await asyncio.sleep(0.05)
            grown, before = memory_of(web) - before, memory_of(web)
        assert grown < 50 * 1024 * 1024
    await cancel(own_site, job_id)
    await asyncio.gather(*tasks)
    assert all(client.ids == whole_log(own_site, job_id) for client in clients)
