"""Publishing against plain redis-py calls with the same fields: `python -m bench.publishing`."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import orjson
import redis
import redis.asyncio

from bench.ratio import compare
from bench.redis import temporary_redis
from events.codec import encode_event
from events.publisher import RedisStreamPublisher, SyncRedisStreamPublisher

EVENT: dict[str, Any] = {
    "event_type": "thought",
    "data": {"text": "The outline has five sections, of which two are about tea.", "node": "draft"},
    "job_id": "bench",
}
CALLS = 200
CONCURRENT = 50
BATCH = 500
KEY = "job_events:bench"


def fields() -> dict[str, str | bytes]:
    return dict(zip(("data", "timestamp", "event_type"), encode_event(EVENT), strict=True))


def bench_sync(url: str) -> None:
    client = redis.Redis.from_url(url)
    publisher, entry = SyncRedisStreamPublisher(client), fields()

    def ours() -> None:
        for _ in range(CALLS):
            publisher.publish_event("bench", EVENT)

    def baseline() -> None:
        for _ in range(CALLS):
            client.xadd(KEY, entry)

    compare("sync publish_event, rate against redis-py xadd (at least 1.0)", ours, baseline, 151)
    client.close()


Work = Callable[[], Awaitable[object]]


async def compare_async(claim: str, ours: Work, baseline: Work, pairs: int) -> None:
    """Compare coroutines in the running event loop; see `compare`."""
    loop = asyncio.get_running_loop()

    def as_sync(work: Work) -> Callable[[], object]:
        async def awaited() -> None:
            await work()

        return lambda: asyncio.run_coroutine_threadsafe(awaited(), loop).result()

    await asyncio.to_thread(compare, claim, as_sync(ours), as_sync(baseline), pairs)


def bench_async(url: str) -> None:
    async def run() -> None:
        client = redis.asyncio.Redis.from_url(url)
        publisher, entry = RedisStreamPublisher(client), fields()

        async def ours() -> None:
            for _ in range(CALLS):
                await publisher.publish_event("bench", EVENT)

        async def baseline() -> None:
            for _ in range(CALLS):
                await client.xadd(KEY, entry)

        claim = "async publish_event, rate against redis-py async xadd (at least 0.9)"
        await compare_async(claim, ours, baseline, 151)
        await client.aclose()

    asyncio.run(run())


def bench_concurrent(url: str) -> None:
    async def run() -> None:
        client = redis.asyncio.Redis.from_url(url)
        publisher, entry = RedisStreamPublisher(client), fields()

        async def ours() -> None:
            for _ in range(CALLS // CONCURRENT):
                await asyncio.gather(
                    *[publisher.publish_event("bench", EVENT) for _ in range(CONCURRENT)]
                )

        async def baseline() -> None:
            for _ in range(CALLS // CONCURRENT):
                await asyncio.gather(*[client.xadd(KEY, entry) for _ in range(CONCURRENT)])

        claim = "async publish_event, 50 concurrent, rate against 50 concurrent redis-py async xadd"
        await compare_async(f"{claim} (at least 2.5)", ours, baseline, 151)
        await client.aclose()

    asyncio.run(run())


def bench_batch(url: str) -> None:
    client = redis.Redis.from_url(url)
    publisher, entry = SyncRedisStreamPublisher(client), fields()
    events = [EVENT] * BATCH

    def ours() -> None:
        publisher.publish_events("bench", events)

    def add_encoded() -> None:
        pipeline = client.pipeline()  # a transaction by default: all or none, like publish_events
        for _ in range(BATCH):
            pipeline.xadd(KEY, entry)
        pipeline.execute()

    def encode_and_add() -> None:
        pipeline = client.pipeline()
        for event in events:
            now = datetime.now(UTC).isoformat()
            data = orjson.dumps({**event, "timestamp": now})
            kind = event["event_type"]
            pipeline.xadd(KEY, {"data": data, "timestamp": now, "event_type": kind})
        pipeline.execute()

    claim = "publish_events of 500, rate against a redis-py pipeline of 500 xadd"
    compare(f"{claim} of events (at least 2)", ours, encode_and_add, pairs=151)
    compare(f"{claim} of encoded fields", ours, add_encoded, pairs=151)
    client.close()


def bench_new_client(url: str) -> None:
    client = redis.Redis.from_url(url)
    publisher = SyncRedisStreamPublisher(client)
    calls = 20

    async def publish_with_a_new_client() -> None:
        async with redis.asyncio.Redis.from_url(url) as fresh:
            now = datetime.now(UTC).isoformat()
            data = json.dumps({**EVENT, "timestamp": now}, ensure_ascii=False)
            kind = EVENT["event_type"]
            await fresh.xadd(KEY, {"data": data, "timestamp": now, "event_type": kind})

    def ours() -> None:
        for _ in range(calls):
            publisher.publish_event("bench", EVENT)

    def baseline() -> None:
        for _ in range(calls):
            asyncio.run(publish_with_a_new_client())

    claim = "sync publish_event, rate against a new client and asyncio.run per event (at least 20)"
    compare(claim, ours, baseline, 51)
    client.close()


def main() -> None:
    with temporary_redis() as url:
        for bench in (bench_sync, bench_async, bench_concurrent, bench_batch, bench_new_client):
            bench(url)


if __name__ == "__main__":
    main()
