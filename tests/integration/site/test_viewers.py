"""Viewers of the real site who lose their connections, or their server, and come back."""

import asyncio
import json
import random
import re
import signal
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
import websockets

from events.publisher import SyncRedisStreamPublisher
from tests.support.site import Site

EVENTS = 2000
LIVE, END, RESTART = "live", "end", "restart"


@pytest.fixture
def own_site(short_tmp: Path, tmp_path: Path) -> Iterator[Site]:
    """A site of the test's own: its server is ended and killed."""
    directory = short_tmp / tmp_path.name[-12:]
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


class Viewer:
    """Comes back from its cursor until the end; what it has been given, and what it was told."""

    def __init__(self, site: Site, job_id: str, cookie: str) -> None:
        self.site, self.job_id, self.cookie = site, job_id, cookie
        self.ids: list[str] = []
        self.told: list[int] = []  # in how many milliseconds to come back
        self.is_over = False
        self.cuts = 0
        self.is_there = asyncio.Event()

    @property
    def after(self) -> str:
        return self.ids[-1] if self.ids else "0"

    def take(self, kind: str, id_: str = "", retry: int = 0) -> None:
        self.is_there.set()
        if kind == "event":
            self.ids.append(id_)
        elif kind == RESTART:
            self.told.append(retry)
        self.is_over = kind == END

    async def view(self, rng: random.Random | None = None) -> None:
        """View until the end; with `rng`, hang up after some messages, now and then rudely."""
        while not self.is_over:
            told = len(self.told)
            try:
                await self.once(rng.randrange(1, 36) if rng else 10**9)
            except (OSError, websockets.WebSocketException):
                await asyncio.sleep(0.05)
            self.cuts += 1
            await asyncio.sleep(sum(self.told[told:]) / 1000)

    async def once(self, most: int) -> None:
        raise NotImplementedError


def socket_to(site: Site, job_id: str, cookie: str, after: str = "0") -> Any:
    origin: Any = site.url
    return websockets.connect(
        f"{site.ws_url}/ws/jobs/{job_id}/?after={after}",
        additional_headers={"Cookie": cookie},
        origin=origin,
        close_timeout=0.05,  # a client with unread data would wait for the close frame
    )


class SocketViewer(Viewer):
    async def once(self, most: int) -> None:
        async with socket_to(self.site, self.job_id, self.cookie, self.after) as socket:
            told = len(self.told)
            try:
                async for text in socket:
                    message = json.loads(text)
                    event = message.get("event") or {}
                    self.take(message["type"], event.get("id", ""), message.get("retry", 0))
                    most -= 1
                    if not most and not self.is_over:
                        if self.cuts % 2:
                            socket.transport.abort()
                        return
            finally:
                # A client in the middle of a large send may get only uvicorn's close frame.
                if socket.close_code == 1012 and len(self.told) == told:
                    self.told.append(0)


class StreamViewer(Viewer):
    """Reads lines as they are sent; those of the chunks between them say nothing to it."""

    async def once(self, most: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.site.port)
        try:
            writer.write(
                f"GET /api/jobs/{self.job_id}/events/stream/ HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                f"Cookie: {self.cookie}\r\nLast-Event-ID: {self.after}\r\n\r\n".encode()
            )
            kind = "event"
            while most and (line := await reader.readline()):
                name, _, value = line.decode().strip().partition(": ")
                if name == "event":
                    kind = value
                elif name == "data":
                    data = json.loads(value)
                    self.take(kind, data.get("id", ""), data.get("retry", 0))
                    kind = "event"
                    most -= 1
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


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
            # A pause of the writer's own, so that viewers are now behind and now waiting.
            asyncio.run(asyncio.sleep(pause))


async def end(site: Site, job_id: str) -> None:
    async with httpx.AsyncClient(base_url=site.url, auth=("demo", "demo"), timeout=30) as client:
        (await client.post(f"/api/jobs/{job_id}/cancel/")).raise_for_status()


def cookie_of(site: Site) -> str:
    with closing(site.session()) as session:
        return f"sessionid={session.cookies['sessionid']}"


async def test_thousand_disconnects(site: Site) -> None:
    """Wherever they are cut off, gently or not, all have seen the log once they are at its end."""
    job_id, cookie = new_job(site), cookie_of(site)
    kinds = [SocketViewer, StreamViewer]
    viewers = [kinds[n % 2](site, job_id, cookie) for n in range(10)]
    async with asyncio.TaskGroup() as group:
        for n, viewer in enumerate(viewers):
            group.create_task(viewer.view(random.Random(n)))
        await asyncio.to_thread(write, site, job_id, 0.005)
        await end(site, job_id)
    ids = whole_log(site, job_id)
    assert len(ids) >= EVENTS
    assert all(viewer.ids == ids for viewer in viewers)
    assert sum(viewer.cuts for viewer in viewers) >= 1000


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_server_is_ended_under_its_viewers(own_site: Site, number: int) -> None:
    """Ended, it tells them and goes, though no answer of it is finished; killed, it does not."""
    web = await asyncio.to_thread(own_site.start_web, "--no-access-log")
    job_id, cookie = new_job(own_site), cookie_of(own_site)
    kinds = [SocketViewer, StreamViewer]
    viewers = [kinds[n % 2](own_site, job_id, cookie) for n in range(10)]
    async with asyncio.TaskGroup() as group:
        for viewer in viewers:
            group.create_task(viewer.view())
        writing = group.create_task(asyncio.to_thread(write, own_site, job_id, 0.01))
        for _ in range(3):
            for viewer in viewers:
                await viewer.is_there.wait()
            await asyncio.to_thread(own_site.stop_child, web, number)
            for viewer in viewers:
                viewer.is_there.clear()
            web = await asyncio.to_thread(own_site.start_web, "--no-access-log")
        await writing
        await end(own_site, job_id)
    ids = whole_log(own_site, job_id)
    assert len(ids) >= EVENTS
    assert all(viewer.ids == ids for viewer in viewers)
    if number == signal.SIGKILL:
        assert not any(viewer.told for viewer in viewers)
    else:  # who is back before the old server has gone is told again
        assert all(len(viewer.told) >= 3 for viewer in viewers)
        times = {retry for viewer in viewers for retry in viewer.told}
        assert len(times) > 3  # they do not come all at once


def memory_of(process: Any) -> int:
    """Bytes of memory that a process has for itself."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024  # type: ignore[index]


async def test_hundred_megabytes_past_a_viewer_who_takes_nothing(own_site: Site) -> None:
    web = await asyncio.to_thread(own_site.start_web, "--no-access-log")
    job_id, cookie = new_job(own_site), cookie_of(own_site)
    viewers = [SocketViewer(own_site, job_id, cookie) for _ in range(2)]
    async with socket_to(own_site, job_id, cookie) as stalled:
        await stalled.recv()
        stalled.transport.pause_reading()
        watching = [asyncio.create_task(viewer.view()) for viewer in viewers]
        publisher, text = publisher_to(own_site), "x" * 200_000
        before = 0
        for count in (150, 350):  # the first is what it takes to read and send that much to others
            for n in range(count):
                await asyncio.to_thread(publisher.publish_event, job_id, {"n": n, "text": text})
            last = publisher.publish_event(job_id, {"n": "last"})
            while any(viewer.after != last for viewer in viewers):  # noqa: ASYNC110 - there are two
                await asyncio.sleep(0.05)
            grown, before = memory_of(web) - before, memory_of(web)
        assert grown < 50 * 1024 * 1024
    await end(own_site, job_id)
    await asyncio.gather(*watching)
    assert all(viewer.ids == whole_log(own_site, job_id) for viewer in viewers)
