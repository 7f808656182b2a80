"""The clients that users make, and either publisher behind one way to call it."""

import asyncio
import inspect
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from events.exceptions import RedisUnavailable
from events.publisher import Publisher, RedisStreamPublisher, SyncRedisStreamPublisher

KEY = "job_events:abc"
STATE = "{job_events:abc}:producers"
# Short, so that the tests are: what is lost without a word is waited for.
TIMEOUT = 0.2

KINDS = ("plain", "url", "no-retries", "single", "blocking", "decoding", "resp2")


def _options(kind: str, sync: bool) -> dict:
    retry = Retry if sync else AsyncRetry
    return {
        "no-retries": {"retry": retry(NoBackoff(), 0)},
        "single": {"max_connections": 1},
        "decoding": {"decode_responses": True},
        "resp2": {"protocol": 2},
    }.get(kind, {})


@contextmanager
def sync_client(port: int, kind: str = "plain", seconds: float = TIMEOUT) -> Iterator[redis.Redis]:
    options = {"socket_timeout": seconds, **_options(kind, sync=True)}
    if kind == "url":
        client = redis.Redis.from_url(f"redis://127.0.0.1:{port}/0", **options)
    elif kind == "blocking":
        pool = redis.BlockingConnectionPool(port=port, max_connections=2, timeout=5, **options)
        client = redis.Redis.from_pool(pool)
    else:
        client = redis.Redis(port=port, **options)
    yield client
    client.close()


@asynccontextmanager
async def async_client(
    port: int, kind: str = "plain", seconds: float = TIMEOUT
) -> AsyncIterator[redis.asyncio.Redis]:
    options = {"socket_timeout": seconds, **_options(kind, sync=False)}
    if kind == "url":
        client = redis.asyncio.Redis.from_url(f"redis://127.0.0.1:{port}/0", **options)
    elif kind == "blocking":
        pool = redis.asyncio.BlockingConnectionPool(port=port, max_connections=2, **options)
        client = redis.asyncio.Redis.from_pool(pool)
    else:
        client = redis.asyncio.Redis(port=port, **options)
    yield client
    await client.aclose()
    await asyncio.sleep(0)  # a transport is closed in the loop's next round


class Publishing:
    """Calls the methods of either publisher, and awaits what has to be."""

    def __init__(self, publisher: Publisher) -> None:
        self.publisher = publisher

    async def one(self, *args, **kwargs):
        answer = self.publisher.publish_event("abc", *args, **kwargs)
        return await answer if inspect.isawaitable(answer) else answer

    async def many(self, *args, **kwargs):
        answer = self.publisher.publish_events("abc", *args, **kwargs)
        return await answer if inspect.isawaitable(answer) else answer

    async def numbers(self, method: str, first: int) -> list[str]:
        """Publish an event, or three, with numbers from `first`; their ids."""
        if method == "one":
            return [await self.one({"n": first})]
        return await self.many([{"n": n} for n in range(first, first + 3)])

    async def until_answered(self, method: str, first: int) -> tuple[list[str], int]:
        """As a caller does who publishes the same again when told to; and how often that was."""
        return await again(lambda: self.numbers(method, first))

    async def until_answered_as(self, event: dict) -> str:
        return (await again(lambda: self.one(event)))[0]


async def again(call):
    """Call as long as Redis is said to be unavailable; the answer, and how often that was."""
    for attempt in range(20):
        try:
            return await call(), attempt
        except RedisUnavailable:
            await asyncio.sleep(0.001)
    raise AssertionError("never answered")


@asynccontextmanager
async def publishing(
    which: str, port: int, kind: str = "plain", seconds: float = TIMEOUT, epoch: int = 0
) -> AsyncIterator[Publishing]:
    """A publisher, `sync` or `async`, of a client of that kind."""
    if which == "sync":
        with sync_client(port, kind, seconds) as client:
            yield Publishing(SyncRedisStreamPublisher(client, epoch=epoch))
    else:
        async with async_client(port, kind, seconds) as async_:
            yield Publishing(RedisStreamPublisher(async_, epoch=epoch))


def insist(publisher: SyncRedisStreamPublisher, number: int) -> str:
    """Publish an event as long as Redis is said to be unavailable; its id."""
    for _ in range(20):
        with suppress(RedisUnavailable):
            return publisher.publish_event("abc", {"n": number})
    raise AssertionError("never answered")


def stream(client: redis.Redis, key: str = KEY) -> list[tuple[str, int]]:
    """The ids in the stream and the numbers of their events."""
    return [
        (entry_id.decode(), json.loads(fields[b"data"])["n"])
        for entry_id, fields in client.xrange(key)
    ]


def numbers(client: redis.Redis, key: str = KEY) -> list[int]:
    return [number for _, number in stream(client, key)]
