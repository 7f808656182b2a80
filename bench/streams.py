"""Delivery latency with 10,000 followed streams against 100: `python -m bench.streams`.

The latency is the time from the call of `publish_event` to the delivery by `events.live.follow`,
measured with the monotonic clock, which all processes of a machine share. One process follows 100
streams, another 10,000. Events are published at 100 per second to the streams of one process, then
for the same time to those of the other, in random order. Each stream already contains an event.
"""

import argparse
import asyncio
import random
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from statistics import median
from time import monotonic, monotonic_ns, sleep

import redis
import uvloop

from bench.databases import on_sqlite, run_benchmark, set_up_django
from bench.servers import pin_to_cores, reserve_core
from events.publisher import SyncRedisStreamPublisher

FEW = 100
RATE = 100
EVENTS = 500
WARM_UP_EVENTS = 50  # per turn, not counted
TURNS = 8


def measure(options: argparse.Namespace) -> None:
    set_up_django()
    from events.conf import event_settings

    cores = reserve_core()
    client = redis.Redis.from_url(event_settings.REDIS_URL)
    publisher = SyncRedisStreamPublisher(client)
    ratios = []
    for streams in (FEW, options.streams):
        for number in range(streams):
            publisher.publish_event(stream_name(streams, number), {"event_type": "x"})
    with ExitStack() as stack:
        readers = {
            n: stack.enter_context(follower_process(n, cores)) for n in (FEW, options.streams)
        }
        for turn in range(TURNS):
            latencies = {}
            for streams in (FEW, options.streams) if turn % 2 else (options.streams, FEW):
                publish(publisher, streams)
                sleep(1)
                readers[streams].send(None)
                latencies[streams] = latency_of(readers[streams])
            ratios.append(latencies[options.streams] / latencies[FEW])
    client.close()
    spread = f"from {min(ratios):.2f} to {max(ratios):.2f} in {TURNS} turns"
    print(
        f"median latency with {options.streams} streams against {FEW} (at most 2):"
        f" {median(ratios):.2f} ({spread})"
    )


def publish(publisher: SyncRedisStreamPublisher, streams: int) -> None:
    """Publish at a steady rate, equally often to each stream."""
    order = random.sample(range(streams), min(streams, EVENTS))
    start = monotonic()
    for number in range(EVENTS):
        sleep(max(start + number / RATE - monotonic(), 0))
        job_id = stream_name(streams, order[number % len(order)])
        publisher.publish_event(job_id, {"event_type": "x", "sent": monotonic_ns()})


def stream_name(streams: int, number: int) -> str:
    return f"of-{streams}-{number}"


def latency_of(reader: Connection) -> float:
    """Return the median latency of the last turn in nanoseconds."""
    latencies: list[int] = reader.recv()
    if len(latencies) != EVENTS:
        raise RuntimeError(f"{len(latencies)} of {EVENTS} events")
    return median(latencies[WARM_UP_EVENTS:])


@contextmanager
def follower_process(streams: int, cores: Collection[int]) -> Iterator[Connection]:
    """Run a process that follows streams. It replies to a message with the latest latencies."""
    parent, child = get_context("spawn").Pipe()
    process = get_context("spawn").Process(
        target=follow_streams, args=(streams, cores, child), daemon=True
    )
    process.start()
    child.close()
    try:
        parent.recv()
        yield parent
    finally:
        process.kill()
        process.join()


def follow_streams(streams: int, cores: Collection[int], connection: Connection) -> None:
    """Main function of the process: follow each stream in its own task."""
    pin_to_cores(cores)
    set_up_django()
    uvloop.run(Follower(streams, connection).run())


class Follower:
    """Follows streams and collects the latency of each event."""

    def __init__(self, streams: int, connection: Connection) -> None:
        self._streams = streams
        self._connection = connection
        self._latencies = list[int]()
        self._live = 0

    async def run(self) -> None:
        asyncio.get_running_loop().add_reader(self._connection.fileno(), self._send_latencies)
        async with asyncio.TaskGroup() as group:
            for number in range(self._streams):
                group.create_task(self._follow(stream_name(self._streams, number)))

    def _send_latencies(self) -> None:
        self._connection.recv()
        self._connection.send(self._latencies)
        self._latencies = []

    async def _follow(self, job_id: str) -> None:
        from events.live import follow
        from events.live.messages import Live
        from events.types import Event

        async for message in follow(job_id):
            if isinstance(message, Event) and "sent" in message.data:
                self._latencies.append(monotonic_ns() - message.data["sent"])
            elif isinstance(message, Live):
                self._live += 1
                if self._live == self._streams:
                    self._connection.send(None)


if __name__ == "__main__":
    run_benchmark("bench.streams", measure, on_sqlite, streams=10_000)
