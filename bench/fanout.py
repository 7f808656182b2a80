"""A burst of events to 500 viewers of a job, and by other ways: `python -m bench.fanout`.

The server is one process, Redis another, the viewers a third: sockets that look for the last event.
"""

import asyncio
import base64
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import redis
from channels_redis.core import RedisChannelLayer

from bench.redis import own_redis
from events.publisher import SyncRedisStreamPublisher

VIEWERS = 500
EVENTS = 400
EVENTS_TO_GROUP = 20  # each of these takes a hundred times as long
ROUNDS = 4
BURSTS = 3
JOB = "bench"
TEXT = "The outline has five sections, of which two are about tea."
LAST = "This was the last of all."

Burst = Callable[[list[dict[str, Any]]], Awaitable[None]]


class Watcher(asyncio.Protocol):
    """Asks for something, and knows when the last event of a burst has come."""

    def __init__(self, path: str) -> None:
        self._request = request_of(path)
        self._seen = b""
        self.live = asyncio.get_running_loop().create_future()
        self.done = self.live

    def expect_burst(self) -> None:
        self._seen, self.done = b"", asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._seen = self._seen[-64:] + data
        wanted = b"live" if self.done is self.live else LAST.encode()
        if not self.done.done() and wanted in self._seen:
            self.done.set_result(None)


def request_of(path: str) -> bytes:
    """A handshake, or a plain request where the path is one of SSE."""
    lines = [f"GET /{path}/ HTTP/1.1", "Host: localhost"]
    if not path.startswith("sse"):
        key = base64.b64encode(os.urandom(16)).decode()
        lines += ["Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {key}"]
        lines += ["Sec-WebSocket-Version: 13"]
    return "\r\n".join([*lines, "", ""]).encode()


async def rates_of(path: str, port: int, burst: Burst, events: int) -> list[float]:
    """Deliveries per second of some bursts to new viewers."""
    loop = asyncio.get_running_loop()
    watchers = [
        (await loop.create_connection(lambda: Watcher(path), "127.0.0.1", port))[1]
        for _ in range(VIEWERS)
    ]
    await all_done(watchers)
    rates = []
    for _ in range(BURSTS):
        for watcher in watchers:
            watcher.expect_burst()
        data = [{"event_type": "x", "text": text} for text in [TEXT] * (events - 1) + [LAST]]
        start = perf_counter()
        await burst(data)
        await all_done(watchers)
        rates.append(VIEWERS * events / (perf_counter() - start))
        await asyncio.sleep(0.2)
    for watcher in watchers:
        watcher.transport.abort()
    await asyncio.sleep(0.5)
    return rates


async def all_done(watchers: list[Watcher]) -> None:
    await asyncio.wait_for(asyncio.gather(*[watcher.done for watcher in watchers]), 120)


async def measure(url: str, port: int) -> None:
    client = redis.Redis.from_url(url)
    publisher = SyncRedisStreamPublisher(client)
    layer = RedisChannelLayer(
        hosts=[{"address": url, "socket_timeout": None, "max_connections": 10_000}],
        capacity=100_000,
    )

    async def publish(data: list[dict[str, Any]]) -> None:
        await asyncio.to_thread(publisher.publish_events, JOB, data)

    async def send_to_group(data: list[dict[str, Any]]) -> None:
        for each in data:
            await layer.group_send(JOB, {"type": "event", "text": str(each)})

    rates: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for path in ("ours", "bare", "sse/ours", "sse/bare"):
            client.delete(f"job_events:{JOB}")
            rates.setdefault(path, []).extend(await rates_of(path, port, publish, EVENTS))
    rates["layer"] = await rates_of("layer", port, send_to_group, EVENTS_TO_GROUP)
    await layer.close_pools()
    client.close()
    rate = {path: median(some) for path, some in rates.items()}
    for claim, ours, baseline in (
        ("deliveries to sockets against group_send (at least 15)", "ours", "layer"),
        ("deliveries to sockets against a bare fan-out (at least 0.9)", "ours", "bare"),
        ("deliveries by SSE against a bare fan-out (at least 0.8)", "sse/ours", "sse/bare"),
    ):
        print(f"{claim}: {rate[ours] / rate[baseline]:.2f}")


@contextmanager
def site(url: str, directory: str) -> Iterator[int]:
    """The port of a server that is gone afterwards."""
    environment = {**os.environ, "REDIS_URL": url, "DATABASE": str(Path(directory) / "db")}
    migrate = (
        "from django.core.management import call_command as call; call('migrate', verbosity=0)"
    )
    subprocess.run(
        [sys.executable, "-c", f"import bench.fanout_site; {migrate}"], env=environment, check=True
    )
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = subprocess.Popen(
            [
                sys.executable, "-m", "uvicorn", "bench.fanout_site:application",
                "--fd", str(listening.fileno()), "--log-level", "error",
            ],
            env=environment,
            pass_fds=[listening.fileno()],
        )  # fmt: skip
        try:
            yield listening.getsockname()[1]
        finally:
            server.kill()  # it would wait for viewers
            server.wait()


def main() -> None:
    with (
        own_redis() as url,
        tempfile.TemporaryDirectory(prefix="jb") as directory,
        site(url, directory) as port,
    ):
        asyncio.run(measure(url, port))


if __name__ == "__main__":
    main()
