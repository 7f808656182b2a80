"""10,000 streams watched by one process, against 100 at the same rate: `python -m bench.streams`.

What is measured is how long after the call of `publish_event`, by the clock that all processes of
a machine share, an event came to the one viewer of its stream, `events.live.follow` in a process
that watches them all. A process publishes 100 events a second, each to the next stream in a random
order: for some seconds to the 100, then for as long to the 10,000, which another process watches.
Each stream has an event before.
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

from bench.databases import measured, on_sqlite, set_up
from bench.servers import keep_on, leave_a_core
from events.publisher import SyncRedisStreamPublisher

FEW = 100
RATE = 100
EVENTS = 500
NOT_COUNTED = 50  # the first of a turn
TURNS = 8


def measure(chosen: argparse.Namespace) -> None:
    set_up()
    from events.conf import event_settings

    cores = leave_a_core()
    client = redis.Redis.from_url(event_settings.REDIS_URL)
    publisher = SyncRedisStreamPublisher(client)
    ratios = []
    for streams in (FEW, chosen.streams):
        for number in range(streams):
            publisher.publish_event(name(streams, number), {"event_type": "x"})
    with ExitStack() as stack:
        watched = {n: stack.enter_context(watching(n, cores)) for n in (FEW, chosen.streams)}
        for turn in range(TURNS):
            took = {}
            for streams in (FEW, chosen.streams) if turn % 2 else (chosen.streams, FEW):
                publish(publisher, streams)
                sleep(1)
                watched[streams].send(None)
                took[streams] = latency_of(watched[streams])
            ratios.append(took[chosen.streams] / took[FEW])
    client.close()
    spread = f"from {min(ratios):.2f} to {max(ratios):.2f} in {TURNS} turns"
    print(
        f"median delivery of {chosen.streams} streams against that of {FEW} (at most 2):"
        f" {median(ratios):.2f} ({spread})"
    )


def publish(publisher: SyncRedisStreamPublisher, streams: int) -> None:
    """Publish at a steady rate, to a stream as often as to another."""
    order = random.sample(range(streams), min(streams, EVENTS))
    start = monotonic()
    for number in range(EVENTS):
        sleep(max(start + number / RATE - monotonic(), 0))
        job_id = name(streams, order[number % len(order)])
        publisher.publish_event(job_id, {"event_type": "x", "sent": monotonic_ns()})


def name(streams: int, number: int) -> str:
    return f"of-{streams}-{number}"


def latency_of(watched: Connection) -> float:
    """The median of nanoseconds, of what was published last."""
    took: list[int] = watched.recv()
    if len(took) != EVENTS:
        raise RuntimeError(f"{len(took)} of {EVENTS} events")
    return median(took[NOT_COUNTED:])


@contextmanager
def watching(streams: int, cores: Collection[int]) -> Iterator[Connection]:
    """A process that watches so many streams; asked, it sends what events took since then."""
    ours, theirs = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=watch, args=(streams, cores, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        ours.recv()
        yield ours
    finally:
        process.kill()
        process.join()


def watch(streams: int, cores: Collection[int], connection: Connection) -> None:
    """Follow each stream in a task of its own, in a process that does nothing else."""
    keep_on(cores)
    set_up()
    uvloop.run(Watch(streams, connection).run())


class Watch:
    """Keeps how long each event took."""

    def __init__(self, streams: int, connection: Connection) -> None:
        self._streams = streams
        self._connection = connection
        self._took = list[int]()
        self._live = 0

    async def run(self) -> None:
        """Answer every request."""
        asyncio.get_running_loop().add_reader(self._connection.fileno(), self._answer)
        async with asyncio.TaskGroup() as group:
            for number in range(self._streams):
                group.create_task(self._follow(name(self._streams, number)))

    def _answer(self) -> None:
        self._connection.recv()
        self._connection.send(self._took)
        self._took = []

    async def _follow(self, job_id: str) -> None:
        from events.live import follow
        from events.live.messages import Live
        from events.types import Event

        async for message in follow(job_id):
            if isinstance(message, Event) and "sent" in message.data:
                self._took.append(monotonic_ns() - message.data["sent"])
            elif isinstance(message, Live):
                self._live += 1
                if self._live == self._streams:
                    self._connection.send(None)


if __name__ == "__main__":
    measured("bench.streams", measure, on_sqlite, streams=10_000)
