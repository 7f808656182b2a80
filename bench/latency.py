"""From publish to 100 viewers of a job, against a bare XREAD loop: `python -m bench.latency`.

A process publishes 100 events a second, each with the time at which it called `publish_event`, by
the clock that all processes of a machine share. What is measured is how long after that an event
came to the client: of the viewers, the bytes to each of 100 sockets in one process, so that what
it takes to send an event 100 times counts, and to receive it as often; of the baseline, the answer
to one XREAD BLOCK of redis-py in a process of its own, which reads the same stream at the same
time and does nothing else.

The server has a core to itself. For comparison only: the first of the 100 viewers to get each
event; and 100 sockets whose server does no more than to put what one XREAD answers into queues.
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

from bench.redis import own_redis
from bench.servers import fanout_site, leave_a_core
from bench.sockets import Watcher, connect, disconnect, handshake_of
from events.publisher import SyncRedisStreamPublisher

VIEWERS = 100
RATE = 100
EVENTS = 600
NOT_COUNTED = 100  # the first of a round
ROUNDS = 6
JOB = "bench"
KEY = f"job_events:{JOB}"
TEXT = "The outline has five sections, of which two are about tea."
READER = "bench-reader"
LAST = f'"number":{EVENTS - 1}'.encode()

_SENT = re.compile(rb'"sent":(\d+)')


def publish(url: str) -> None:
    """Publish at a steady rate, in a process of its own."""
    client = redis.Redis.from_url(url)
    publisher = SyncRedisStreamPublisher(client)
    start = monotonic()
    for number in range(EVENTS):
        sleep(max(start + number / RATE - monotonic(), 0))
        event = {"event_type": "x", "text": TEXT, "sent": monotonic_ns(), "number": number}
        publisher.publish_event(JOB, event)
    client.close()


def read(url: str) -> list[int]:
    """The baseline: how many nanoseconds each event took to come, in a process of its own."""
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


def wait_for_reader(client: Any) -> None:
    """Wait until the baseline waits."""
    while not any(each["name"] == READER and "b" in each["flags"] for each in client.client_list()):
        sleep(0.1)


class Timed(Watcher):
    """Keeps when what came; it is looked at afterwards."""

    def __init__(self, request: bytes) -> None:
        super().__init__(request)
        self._came = list[tuple[int, bytes]]()
        self._last = b""
        self.done = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self._came.append((monotonic_ns(), data))
        super().data_received(data)
        self._last = self._last[-64:] + data
        if LAST in self._last and not self.done.done():
            self.done.set_result(None)

    def latencies(self) -> list[int]:
        """Nanoseconds; an event has come with the bytes that end what is looked for."""
        took, rest = list[int](), b""
        for now, data in self._came:
            rest += data
            for sent in _SENT.finditer(rest, 0, max(rest.rfind(b"}"), 0)):
                took.append(now - int(sent[1]))
            rest = rest[rest.rfind(b"}") + 1 :]
        return took


@dataclass(frozen=True, slots=True)
class Latency:
    """Of one round, in nanoseconds."""

    median: float
    late: float  # the 99th percentile

    @classmethod
    def of(cls, took: Sequence[int]) -> "Latency":
        return cls(median(took), quantiles(took, n=100)[-1])


Round = dict[str, Latency]


async def one_round(url: str, port: int, path: str, pool: Executor) -> Round:
    """Latencies of the viewers, of the first of them, and of the bare loop."""
    client: Any = redis.Redis.from_url(url)
    client.delete(KEY)
    watchers = await connect(port, VIEWERS, lambda: Timed(handshake_of(f"{path}/")))
    loop = asyncio.get_running_loop()
    reading = loop.run_in_executor(pool, read, url)
    await asyncio.to_thread(wait_for_reader, client)
    client.close()
    await loop.run_in_executor(pool, publish, url)
    bare = await reading
    async with asyncio.timeout(60):
        await asyncio.gather(*[watcher.done for watcher in watchers])
    by_viewer = [watcher.latencies() for watcher in watchers]
    await disconnect(watchers)
    if counts := {len(took) for took in by_viewer} - {EVENTS}:
        raise RuntimeError(f"{path}: viewers were given {sorted(counts)} of {EVENTS} events")
    counted = [took[NOT_COUNTED:] for took in by_viewer]
    return {
        path: Latency.of([each for took in counted for each in took]),
        f"first/{path}": Latency.of([min(event) for event in zip(*counted, strict=True)]),
        "xread": Latency.of(bare[NOT_COUNTED:]),
    }


async def measure(url: str, port: int) -> None:
    rounds = list[Round]()
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        for _ in range(ROUNDS):
            for path in ("ours", "bare"):
                rounds.append(await one_round(url, port, path, pool))
    tell = partial(print_ratios, rounds)
    tell("publish to 100 sockets against a bare XREAD loop", "ours", (1.5, 2))
    tell("publish to the first of 100 sockets against a bare XREAD loop", "first/ours")
    tell("publish to 100 sockets of a bare fan-out against a bare XREAD loop", "bare")


def print_ratios(
    rounds: Iterable[Round], claim: str, path: str, most: Collection[float] = ()
) -> None:
    """Against the bare loop of the same round: the medians, and the 99th percentiles."""
    those = [each for each in rounds if path in each]
    words = [f" (at most {limit})" for limit in most] or ["", ""]
    for name, word, ratios in (
        ("median", words[0], [each[path].median / each["xread"].median for each in those]),
        ("99th percentile", words[1], [each[path].late / each["xread"].late for each in those]),
    ):
        spread = f"from {min(ratios):.2f} to {max(ratios):.2f} in {len(ratios)} rounds"
        print(f"{claim}, {name}{word}: {median(ratios):.2f} ({spread})")


def main() -> None:
    cores = leave_a_core()
    with (
        own_redis() as url,
        tempfile.TemporaryDirectory(prefix="jb") as directory,
        fanout_site(url, directory, cores) as server,
    ):
        uvloop.run(measure(url, server.port))


if __name__ == "__main__":
    main()
