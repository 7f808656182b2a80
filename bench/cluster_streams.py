"""Following mostly idle streams in a cluster, against one Redis: `python -m bench.cluster_streams`.

Prints the ratios of the CPU time of the process and of the median latency. One process follows the
streams of a single Redis, then those of a cluster of three masters.
"""

import argparse
import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import monotonic, process_time
from typing import Any

import redis
import redis.asyncio

from bench.databases import on_sqlite, run_benchmark, set_up_django
from tests.support.redis_nodes import cluster

SECONDS = 20
RATE = 20
_port = 0


def create(asynchronous: bool) -> Any:
    module: Any = redis.asyncio if asynchronous else redis
    return module.RedisCluster(host="127.0.0.1", port=_port)


@contextmanager
def on_cluster() -> Iterator[None]:
    global _port  # noqa: PLW0603 - read by the factory
    from django.test import override_settings

    with tempfile.TemporaryDirectory(prefix="je") as directory, cluster(Path(directory)) as nodes:
        _port = nodes.masters[0].port
        with override_settings(JOB_EVENTS={"REDIS_CLIENT_FACTORY": f"{__name__}.create"}):
            yield


def measure(options: argparse.Namespace) -> None:
    set_up_django()
    single = asyncio.run(follow_all(options.streams))
    with on_cluster():
        several = asyncio.run(follow_all(options.streams))
    for name, one, three in zip(("CPU", "latency"), single, several, strict=True):
        print(f"{name} of {options.streams} streams in a cluster against one Redis:", end=" ")
        print(f"{three / one:.2f} ({one * 1000:.1f} to {three * 1000:.1f} ms)")


async def follow_all(streams: int) -> tuple[float, float]:
    """Return the CPU seconds per second and the median latency, with 20 events per second."""
    from events.live import follow
    from events.live.messages import Live
    from events.publisher import RedisStreamPublisher
    from events.streams.clients import close_async_redis, get_async_redis
    from events.types import Event

    live, latencies = asyncio.Semaphore(0), list[float]()

    async def read(job_id: str) -> None:
        async for message in follow(job_id):
            if isinstance(message, Live):
                live.release()
            elif isinstance(message, Event) and "sent" in message.data:
                latencies.append(monotonic() - message.data["sent"])

    publisher = RedisStreamPublisher(get_async_redis())
    names = [f"idle-{number}" for number in range(streams)]
    await asyncio.gather(*[publisher.publish_event(name, {"event_type": "x"}) for name in names])
    readers = [asyncio.create_task(read(name)) for name in names]
    for _ in names:
        await live.acquire()
    await asyncio.sleep(1)
    started = process_time()
    for number in range(SECONDS * RATE):
        await publisher.publish_event(names[number * 7 % streams], {"sent": monotonic()})
        await asyncio.sleep(1 / RATE)
    used = process_time() - started
    for reader in readers:
        reader.cancel()
    await asyncio.wait(readers)
    await close_async_redis()
    return used / SECONDS, median(latencies)


if __name__ == "__main__":
    run_benchmark("bench.cluster_streams", measure, on_sqlite, streams=10_000)
