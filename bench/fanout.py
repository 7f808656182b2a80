"""A burst of events to 500 viewers of a job, and by other ways: `python -m bench.fanout`.

The server is one process, Redis another, the viewers a third: sockets that look for the last event.
"""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from statistics import median
from time import perf_counter
from typing import Any

import redis
from channels_redis.core import RedisChannelLayer

from bench.redis import own_redis
from bench.servers import fanout_site
from bench.sockets import Watcher, all_done, connect, disconnect, handshake_of, request_of
from events.publisher import SyncRedisStreamPublisher

VIEWERS = 500
EVENTS = 400
EVENTS_TO_GROUP = 20  # each of these takes a hundred times as long
ROUNDS = 4
BURSTS = 3
JOB = "bench"
TEXT = "The outline has five sections, of which two are about tea."
LAST = "This was the last of all."

Publish = Callable[[list[dict[str, Any]]], Awaitable[None]]


class Burst(Watcher):
    """Knows when the last event of a burst has come."""

    def expect(self) -> None:
        self._seen, self.done = b"", asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        if not self.live.done():
            super().data_received(data)
            return
        self._seen = self._seen[-64:] + data
        if not self.done.done() and LAST.encode() in self._seen:
            self.done.set_result(None)


async def rates_of(path: str, port: int, publish: Publish, events: int) -> list[float]:
    """Deliveries per second of some bursts to new viewers."""
    ask = request_of if path.startswith("sse") else handshake_of
    watchers = await connect(port, VIEWERS, lambda: Burst(ask(f"{path}/")))
    rates = []
    for _ in range(BURSTS):
        for watcher in watchers:
            watcher.expect()
        data = [{"event_type": "x", "text": text} for text in [TEXT] * (events - 1) + [LAST]]
        start = perf_counter()
        await publish(data)
        await all_done([watcher.done for watcher in watchers])
        rates.append(VIEWERS * events / (perf_counter() - start))
        await asyncio.sleep(0.2)
    await disconnect(watchers)
    return rates


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


def main() -> None:
    with (
        own_redis() as url,
        tempfile.TemporaryDirectory(prefix="jb") as directory,
        fanout_site(url, directory) as server,
    ):
        asyncio.run(measure(url, server.port))


if __name__ == "__main__":
    main()
