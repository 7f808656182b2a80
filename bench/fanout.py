"""Fan-out of a burst of events to 500 viewers of a job: `python -m bench.fanout`.

Compares delivery by `events.live` with a bare fan-out and with `group_send` of channels_redis. The
server, Redis and the viewers are three processes. A viewer is a socket that scans the received
bytes for the last event.
"""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from statistics import median
from time import perf_counter
from typing import Any

import redis
from channels_redis.core import RedisChannelLayer

from bench.redis import temporary_redis
from bench.servers import run_fanout_site
from bench.sockets import Viewer, all_done, connect, disconnect, handshake_of, request_of
from events.publisher import SyncRedisStreamPublisher

VIEWERS = 500
EVENTS = 400
EVENTS_TO_GROUP = 20  # group_send takes a hundred times as long per event
ROUNDS = 4
BURSTS = 3
JOB = "bench"
TEXT = "The outline has five sections, of which two are about tea."
LAST = "This is the last event."

Publish = Callable[[list[dict[str, Any]]], Awaitable[None]]


class BurstViewer(Viewer):
    """Resolves `done` when the last event of a burst arrives."""

    def expect(self) -> None:
        self._received, self.done = b"", asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        if not self.live.done():
            super().data_received(data)
            return
        self._received = self._received[-64:] + data
        if not self.done.done() and LAST.encode() in self._received:
            self.done.set_result(None)


async def delivery_rates(path: str, port: int, publish: Publish, events: int) -> list[float]:
    """Return the deliveries per second of each burst to newly connected viewers."""
    request = request_of if path.startswith("sse") else handshake_of
    viewers = await connect(port, VIEWERS, lambda: BurstViewer(request(f"{path}/")))
    rates = []
    for _ in range(BURSTS):
        for viewer in viewers:
            viewer.expect()
        data = [{"event_type": "x", "text": text} for text in [TEXT] * (events - 1) + [LAST]]
        start = perf_counter()
        await publish(data)
        await all_done([viewer.done for viewer in viewers])
        rates.append(VIEWERS * events / (perf_counter() - start))
        await asyncio.sleep(0.2)
    await disconnect(viewers)
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
            rates.setdefault(path, []).extend(await delivery_rates(path, port, publish, EVENTS))
    rates["layer"] = await delivery_rates("layer", port, send_to_group, EVENTS_TO_GROUP)
    await layer.close_pools()
    client.close()
    rate = {path: median(values) for path, values in rates.items()}
    for claim, ours, baseline in (
        ("deliveries over WebSockets against group_send (at least 15)", "ours", "layer"),
        ("deliveries over WebSockets against a bare fan-out (at least 0.9)", "ours", "bare"),
        ("deliveries over SSE against a bare fan-out (at least 0.8)", "sse/ours", "sse/bare"),
    ):
        print(f"{claim}: {rate[ours] / rate[baseline]:.2f}")


def main() -> None:
    with (
        temporary_redis() as url,
        tempfile.TemporaryDirectory(prefix="jb") as directory,
        run_fanout_site(url, directory) as server,
    ):
        asyncio.run(measure(url, server.port))


if __name__ == "__main__":
    main()
