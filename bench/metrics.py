"""Cost of metrics and samples: `python -m bench.metrics`.

Compares publishing and delivery with and without metrics, in turns, and two kinds of runs without,
which differ by chance only: the A/A spread. The cost is that in CPU time of the process, of all its
threads: it is greater than that in throughput as long as the process also waits for Redis, and
depends less on what else the machine does. Metrics are written to files, as by several processes.
Sampling, and reading the metrics four times, are measured as a share of a minute.
"""

import argparse
import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from random import Random
from statistics import median
from time import clock_gettime, process_time
from typing import Any, Final

import redis
import redis.asyncio

from bench.databases import on_each_database, parse_options, set_up_django
from bench.ratio import seconds
from bench.servers import Server, reserve_core, run_fanout_site
from bench.sockets import all_done, connect, disconnect, handshake_of, request_of

KINDS: Final = ("without", "with", "without again")
PUBLISHING_ROUNDS: Final = 100
CALLS: Final = 2000
CONCURRENT: Final = 50
BATCH: Final = 500
BATCHES: Final = 10
DELIVERY_ROUNDS: Final = 12
BOOTSTRAP_SAMPLES: Final = 1000
SINGLE_EVENTS: Final = 100
JOBS: Final = 100_000
SAMPLED_MINUTES: Final = 15
READS_PER_MINUTE: Final = 4
LIMIT_PERCENT: Final = 2.0


def report(claim: str, rates: dict[str, list[float]]) -> None:
    """Print the median cost of metrics, and the A/A difference, with intervals of 95 %."""
    rounds = list(zip(*(rates[kind] for kind in KINDS), strict=True))
    costs = [100 * (1 - with_ / ((one + two) / 2)) for one, with_, two in rounds]
    spread = [100 * (1 - two / one) for one, _, two in rounds]
    print(
        f"{claim} (at most {LIMIT_PERCENT:g} %): {_interval(costs)}; A/A: {_interval(spread)}"
        f" ({len(rounds)} rounds)",
        flush=True,
    )


def _interval(values: list[float]) -> str:
    """Return the median and its bootstrap interval."""
    generator = Random(1)
    medians = sorted(
        median(generator.choices(values, k=len(values))) for _ in range(BOOTSTRAP_SAMPLES)
    )
    low, high = (medians[int(share * (len(medians) - 1))] for share in (0.025, 0.975))
    return f"{median(values):+.2f} % ({low:+.2f} to {high:+.2f})"


def in_turns(number: int) -> Iterator[str]:
    """Yield the kinds in an order that differs between rounds."""
    start = number % len(KINDS)
    yield from (*KINDS[start:], *KINDS[:start])


@contextmanager
def metrics(is_enabled: bool) -> Iterator[None]:
    """Let this process count, or behave as without the extra."""
    from events.metrics import instruments

    instruments.flush()
    instruments.IS_INSTALLED = is_enabled
    try:
        yield
    finally:
        instruments.IS_INSTALLED = True


Work = Callable[[], Awaitable[object]]


async def compare_publishing(claim: str, publish: Work) -> None:
    from events.metrics.instruments import flush

    rates: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for number in range(PUBLISHING_ROUNDS + 1):
        for kind in in_turns(number):
            with metrics(kind == "with"):
                start = process_time()
                await publish()
                flush()
                took = process_time() - start
            if number:  # the first round is a warm-up
                rates[kind].append(1 / took)
    report(claim, rates)


async def measure_publishing(url: str) -> None:
    from bench.publishing import EVENT
    from events.publisher import RedisStreamPublisher, SyncRedisStreamPublisher

    client, async_client = redis.Redis.from_url(url), redis.asyncio.Redis.from_url(url)
    sync, publisher = SyncRedisStreamPublisher(client), RedisStreamPublisher(async_client)

    async def publish_sync() -> None:
        for _ in range(CALLS):
            sync.publish_event("bench", EVENT)

    async def publish_async() -> None:
        for _ in range(CALLS):
            await publisher.publish_event("bench", EVENT)

    async def publish_concurrently() -> None:
        for _ in range(CALLS // CONCURRENT):
            calls = [publisher.publish_event("bench", EVENT) for _ in range(CONCURRENT)]
            await asyncio.gather(*calls)

    async def publish_batch() -> None:
        for _ in range(BATCHES):
            sync.publish_events("bench", [EVENT] * BATCH)

    await compare_publishing("cost of metrics, sync publish_event", publish_sync)
    await compare_publishing("cost of metrics, async publish_event", publish_async)
    await compare_publishing("cost of metrics, 50 concurrent publish_event", publish_concurrently)
    await compare_publishing("cost of metrics, publish_events of 500", publish_batch)
    await async_client.aclose()
    client.close()


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process: Linux has a clock for each."""
    return clock_gettime((~pid << 3) | 2)


Publish = Callable[[list[dict[str, Any]]], Awaitable[object]]


async def delivery_rate(path: str, server: Server, publish: Publish, events: int) -> float:
    """Return the deliveries per second of CPU time of the server, to 500 viewers."""
    from bench.fanout import BURSTS, LAST, TEXT, VIEWERS, BurstViewer

    request = request_of if path.startswith("sse") else handshake_of
    viewers = await connect(server.port, VIEWERS, lambda: BurstViewer(request(f"{path}/")))
    rates = []
    for _ in range(BURSTS):
        for viewer in viewers:
            viewer.expect()
        data = [{"event_type": "x", "text": text} for text in [TEXT] * (events - 1) + [LAST]]
        start = cpu_seconds(server.pid)
        await publish(data)
        await all_done([viewer.done for viewer in viewers])
        rates.append(VIEWERS * events / (cpu_seconds(server.pid) - start))
    await disconnect(viewers)
    return median(rates)


async def measure_delivery(url: str, servers: dict[str, Server]) -> None:
    """Compare servers that take turns."""
    from bench.fanout import EVENTS, JOB
    from events.publisher import SyncRedisStreamPublisher

    client = redis.Redis.from_url(url)
    publisher = SyncRedisStreamPublisher(client)

    async def publish(data: list[dict[str, Any]]) -> None:
        await asyncio.to_thread(publisher.publish_events, JOB, data)

    async def publish_singly(data: list[dict[str, Any]]) -> None:
        for each in data:
            await asyncio.to_thread(publisher.publish_event, JOB, each)

    async def compare(claim: str, path: str, publish: Publish, events: int) -> None:
        rates: dict[str, list[float]] = {kind: [] for kind in KINDS}
        for number in range(DELIVERY_ROUNDS + 1):
            for kind in in_turns(number):
                client.delete(f"job_events:{JOB}")
                found = await delivery_rate(path, servers[kind], publish, events)
                if number:
                    rates[kind].append(found)
        report(claim, rates)

    await compare("cost of metrics, bursts over WebSockets", "ours", publish, EVENTS)
    await compare("cost of metrics, bursts over SSE", "sse/ours", publish, EVENTS)
    claim = "cost of metrics, events published one by one, over WebSockets"
    await compare(claim, "ours", publish_singly, SINGLE_EVENTS)
    client.close()


def measure_samples(options: argparse.Namespace) -> None:
    """Measure a minute's sample, and its expositions, with many jobs."""
    set_up_django()
    from bench.lists import analyse, make_users
    from bench.monitoring import fill, fill_samples
    from events.metrics import render
    from events.processor.health import status_cache
    from jobs.models import MonitorCheckpoint
    from jobs.monitoring.sampler import ArchivedEventCounter, Sampler

    fill(options.jobs, make_users())
    fill_samples()
    analyse()
    sampler = Sampler(ArchivedEventCounter(), single_pass=True)
    while sampler.step():
        pass

    def sample() -> None:
        checkpoint = MonitorCheckpoint.objects.get(name="samples")
        checkpoint.at -= timedelta(minutes=1)
        checkpoint.save()
        sampler.step()

    def read() -> None:
        status_cache.clear()
        render()

    for name, work, times in (("sampling", sample, 1), ("reading", read, READS_PER_MINUTE)):
        work()
        took = median(seconds(work) for _ in range(SAMPLED_MINUTES)) * times
        claim = f"{name} each minute with {options.jobs} jobs on {options.on}, share of a core"
        limit = f"(at most {LIMIT_PERCENT:g} %)"
        print(f"{claim} {limit}: {took / 60:.2%}, {took * 1000:.0f} ms", flush=True)


def main() -> None:
    options = parse_options(jobs=JOBS)
    if options.on:
        measure_samples(options)
        return
    from bench.redis import temporary_redis

    with ExitStack() as stack:
        directories = {
            kind: stack.enter_context(tempfile.TemporaryDirectory(prefix="jb")) for kind in KINDS
        }
        # Read when prometheus_client is imported.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = directories["with"]
        url = stack.enter_context(temporary_redis())
        on_each_database("bench.metrics", url, jobs=options.jobs)
        asyncio.run(measure_publishing(url))
        cores, servers = reserve_core(), {}
        for kind in KINDS:
            os.environ["BENCH_METRICS"] = "1" if kind == "with" else "0"
            servers[kind] = stack.enter_context(run_fanout_site(url, directories[kind], cores))
        asyncio.run(measure_delivery(url, servers))


if __name__ == "__main__":
    main()
