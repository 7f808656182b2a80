"""Delivery latency to 100 viewers of a job against a bare XREAD loop: `python -m bench.latency`.

One process publishes 100 events per second. Each event contains the monotonic time of the call of
`publish_event`; all processes of a machine share this clock. The latency of a viewer ends when the
bytes arrive at its socket. The 100 sockets are in one process, so the latencies include sending and
receiving each event 100 times. The baseline is a process that only reads the same stream at the
same time, with XREAD BLOCK of redis-py.

The server is pinned to a core of its own. Two more ratios are printed for comparison: the first of
the 100 viewers to receive each event, and 100 sockets of the bare fan-out of `bench.fanout_site`.
"""

import asyncio
import re
import tempfile
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from statistics import median, quantiles
from time import monotonic, monotonic_ns, sleep
from typing import Any

import orjson
import redis
import uvloop

from bench.redis import temporary_redis
from bench.servers import reserve_core, run_fanout_site
from bench.sockets import Viewer, connect, disconnect, handshake_of
from events.publisher import SyncRedisStreamPublisher

VIEWERS = 100
RATE = 100
EVENTS = 600
WARM_UP_EVENTS = 100  # per round, not counted
ROUNDS = 6
JOB = "bench"
KEY = f"job_events:{JOB}"
TEXT = "The outline has five sections, of which two are about tea."
READER = "bench-reader"
LAST = f'"number":{EVENTS - 1}'.encode()

_SENT = re.compile(rb'"sent":(\d+)')


def publish(url: str) -> None:
    """Publish at a steady rate. Runs in a process of its own."""
    client = redis.Redis.from_url(url)
    publisher = SyncRedisStreamPublisher(client)
    start = monotonic()
    for number in range(EVENTS):
        sleep(max(start + number / RATE - monotonic(), 0))
        event = {"event_type": "x", "text": TEXT, "sent": monotonic_ns(), "number": number}
        publisher.publish_event(JOB, event)
    client.close()


def read(url: str) -> list[int]:
    """Read the stream and return the latency of each event in nanoseconds: the baseline."""
    client: Any = redis.Redis.from_url(url, client_name=READER)
    last, took = "0", list[int]()
    while len(took) < EVENTS:
        answer = client.xread({KEY: last}, count=100, block=1000)
        now = monotonic_ns()
        for _, entries in answer or ():
            for entry_id, fields in entries:
                last = entry_id
                took.append(now - orjson.loads(fields[b"data"])["sent"])
    client.close()
    return took


def wait_until_blocked(client: Any) -> None:
    """Wait until the baseline is blocked in XREAD."""
    while not any(each["name"] == READER and "b" in each["flags"] for each in client.client_list()):
        sleep(0.1)


class TimedViewer(Viewer):
    """Records the received bytes with their time; they are parsed after the round."""

    def __init__(self, request: bytes) -> None:
        super().__init__(request)
        self._chunks = list[tuple[int, bytes]]()
        self._last = b""
        self.done = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self._chunks.append((monotonic_ns(), data))
        super().data_received(data)
        self._last = self._last[-64:] + data
        if LAST in self._last and not self.done.done():
            self.done.set_result(None)

    def latencies(self) -> list[int]:
        """Return the latency of each event in nanoseconds, up to the chunk that completes it."""
        took, rest = list[int](), b""
        for now, data in self._chunks:
            rest += data
            for sent in _SENT.finditer(rest, 0, max(rest.rfind(b"}"), 0)):
                took.append(now - int(sent[1]))
            rest = rest[rest.rfind(b"}") + 1 :]
        return took


@dataclass(frozen=True, slots=True)
class Latency:
    """Latency in one round, in nanoseconds."""

    median: float
    percentile_99: float

    @classmethod
    def of(cls, took: Sequence[int]) -> "Latency":
        return cls(median(took), quantiles(took, n=100)[-1])


LatencyByPath = dict[str, Latency]


async def run_round(url: str, port: int, path: str, pool: Executor) -> LatencyByPath:
    """Return the latencies of all viewers, of the first viewer, and of the baseline."""
    client: Any = redis.Redis.from_url(url)
    client.delete(KEY)
    viewers = await connect(port, VIEWERS, lambda: TimedViewer(handshake_of(f"{path}/")))
    loop = asyncio.get_running_loop()
    reading = loop.run_in_executor(pool, read, url)
    await asyncio.to_thread(wait_until_blocked, client)
    client.close()
    await loop.run_in_executor(pool, publish, url)
    bare = await reading
    async with asyncio.timeout(60):
        await asyncio.gather(*[viewer.done for viewer in viewers])
    by_viewer = [viewer.latencies() for viewer in viewers]
    await disconnect(viewers)
    if counts := {len(took) for took in by_viewer} - {EVENTS}:
        raise RuntimeError(f"{path}: viewers received {sorted(counts)} of {EVENTS} events")
    counted = [took[WARM_UP_EVENTS:] for took in by_viewer]
    return {
        path: Latency.of([each for took in counted for each in took]),
        f"first/{path}": Latency.of([min(event) for event in zip(*counted, strict=True)]),
        "xread": Latency.of(bare[WARM_UP_EVENTS:]),
    }


async def measure(url: str, port: int) -> None:
    rounds = list[LatencyByPath]()
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        for _ in range(ROUNDS):
            for path in ("ours", "bare"):
                rounds.append(await run_round(url, port, path, pool))
    report = partial(print_ratios, rounds)
    report("publish to 100 sockets against a bare XREAD loop", "ours", (1.5, 2))
    report("publish to the first of 100 sockets against a bare XREAD loop", "first/ours")
    report("publish to 100 sockets of a bare fan-out against a bare XREAD loop", "bare")


def print_ratios(
    rounds: Iterable[LatencyByPath], claim: str, path: str, limits: Collection[float] = ()
) -> None:
    """Print median and 99th percentile as ratios to the baseline of the same round."""
    measured = [each for each in rounds if path in each]
    notes = [f" (at most {limit})" for limit in limits] or ["", ""]
    for name, note, ratios in (
        ("median", notes[0], [each[path].median / each["xread"].median for each in measured]),
        (
            "99th percentile",
            notes[1],
            [each[path].percentile_99 / each["xread"].percentile_99 for each in measured],
        ),
    ):
        spread = f"from {min(ratios):.2f} to {max(ratios):.2f} in {len(ratios)} rounds"
        print(f"{claim}, {name}{note}: {median(ratios):.2f} ({spread})")


def main() -> None:
    cores = reserve_core()
    with (
        temporary_redis() as url,
        tempfile.TemporaryDirectory(prefix="jb") as directory,
        run_fanout_site(url, directory, cores) as server,
    ):
        uvloop.run(measure(url, server.port))


if __name__ == "__main__":
    main()
