"""Publishing to a cluster, against redis-py's cluster client: `python -m bench.cluster`."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import django
import redis
import redis.asyncio
from django.conf import settings

from bench.publishing import BATCH, CALLS, CONCURRENT, EVENT, compare_async, fields
from bench.ratio import compare
from events.publisher import RedisStreamPublisher, SyncRedisStreamPublisher
from tests.support.redis_nodes import cluster

PAIRS = 51
JOBS = [f"bench{number}" for number in range(CONCURRENT)]


def key(number: int) -> str:
    return f"job_events:{JOBS[number % CONCURRENT]}"


def bench_sync(port: int) -> None:
    client = redis.RedisCluster(host="127.0.0.1", port=port)
    publisher, entry = SyncRedisStreamPublisher(client), fields()

    def ours() -> None:
        for number in range(CALLS):
            publisher.publish_event(JOBS[number % CONCURRENT], EVENT)

    def baseline() -> None:
        for number in range(CALLS):
            client.xadd(key(number), entry)

    compare("sync publish_event, rate against redis-py xadd (at least 1.0)", ours, baseline, PAIRS)

    def batches() -> None:
        publisher.publish_events(JOBS[0], [EVENT] * BATCH)

    def pipeline() -> None:
        commands = client.pipeline()
        for _ in range(BATCH):
            commands.xadd(key(0), entry)
        commands.execute()

    claim = "publish_events of 500, rate against a redis-py pipeline of 500 encoded xadd"
    compare(f"{claim} (at least 1.0)", batches, pipeline, PAIRS)
    client.close()


async def bench_async(port: int) -> None:
    async with redis.asyncio.RedisCluster(host="127.0.0.1", port=port) as client:
        publisher, entry = RedisStreamPublisher(client), fields()

        def ours(number: int) -> Awaitable[str]:
            return publisher.publish_event(JOBS[number % CONCURRENT], EVENT)

        def baseline(number: int) -> Awaitable[object]:
            return client.xadd(key(number), entry)

        def in_turn(call: Callable[[int], Awaitable[object]]) -> Callable[[], Awaitable[object]]:
            async def work() -> None:
                for number in range(CALLS):
                    await call(number)

            return work

        def at_once(call: Callable[[int], Awaitable[object]]) -> Callable[[], Awaitable[object]]:
            async def work() -> None:
                for _ in range(CALLS // CONCURRENT):
                    await asyncio.gather(*map(call, range(CONCURRENT)))

            return work

        claim = "async publish_event, rate against redis-py async xadd (at least 1.0)"
        await compare_async(claim, in_turn(ours), in_turn(baseline), PAIRS)
        claim = "async publish_event to 50 jobs at once, rate against 50 concurrent async xadd"
        await compare_async(f"{claim} (at least 1.0)", at_once(ours), at_once(baseline), PAIRS)


def main() -> None:
    settings.configure(INSTALLED_APPS=["events"], JOB_EVENTS={})
    django.setup()
    with tempfile.TemporaryDirectory(prefix="je") as directory, cluster(Path(directory)) as nodes:
        bench_sync(nodes.masters[0].port)
        asyncio.run(bench_async(nodes.masters[0].port))


if __name__ == "__main__":
    main()
