"""Redis clients of all kinds that users create, and one interface to both publishers."""

import asyncio
import inspect
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial

import pytest
import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from events.exceptions import RedisUnavailable
from events.publisher import Publisher, RedisStreamPublisher, SyncRedisStreamPublisher

KEY = "job_events:abc"
STATE = "{job_events:abc}:producers"
# A name would be looked up under a lock of the C library, which a fork may inherit locked.
HOST = "127.0.0.1"
# Short: a test waits this long for a lost message.
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
        client = redis.Redis.from_url(f"redis://{HOST}:{port}/0", **options)
    elif kind == "blocking":
        pool = redis.BlockingConnectionPool(
            host=HOST, port=port, max_connections=2, timeout=5, **options
        )
        client = redis.Redis.from_pool(pool)
    else:
        client = redis.Redis(host=HOST, port=port, **options)
    yield client
    client.close()


@asynccontextmanager
async def async_client(
    port: int, kind: str = "plain", seconds: float = TIMEOUT
) -> AsyncIterator[redis.asyncio.Redis]:
    options = {"socket_timeout": seconds, **_options(kind, sync=False)}
    if kind == "url":
        client = redis.asyncio.Redis.from_url(f"redis://{HOST}:{port}/0", **options)
    elif kind == "blocking":
        pool = redis.asyncio.BlockingConnectionPool(
            host=HOST, port=port, max_connections=2, **options
        )
        client = redis.asyncio.Redis.from_pool(pool)
    else:
        client = redis.asyncio.Redis(host=HOST, port=port, **options)
    yield client
    await client.aclose()
    await asyncio.sleep(0)  # the transport is closed in the next iteration of the loop


class Publishing:
    """Calls the methods of either publisher, and awaits those of the async one."""

    def __init__(self, publisher: Publisher) -> None:
        self.publisher = publisher

    async def one(self, *args, **kwargs):
        return await awaited(self.publisher.publish_event("abc", *args, **kwargs))

    async def many(self, *args, **kwargs):
        return await awaited(self.publisher.publish_events("abc", *args, **kwargs))

    async def numbers(self, method: str, first: int, **kwargs) -> list[str]:
        """Publish one event, or three, numbered from `first`; return their ids."""
        if method == "one":
            return [await self.one({"n": first}, **kwargs)]
        return await self.many([{"n": n} for n in range(first, first + 3)], **kwargs)

    async def retry(self, error: RedisUnavailable):
        return await awaited(self.publisher.retry(error.pending))

    async def until_acknowledged(self, method: str, first: int) -> tuple[list[str], int]:
        """Publish and retry while Redis is unavailable; return ids and number of retries."""
        return await retried(lambda: self.numbers(method, first), self.publisher)

    async def failed(self, *args, method: str = "one") -> RedisUnavailable:
        """Publish and return the error."""
        with pytest.raises(RedisUnavailable) as caught:
            await getattr(self, method)(*args)
        return caught.value


async def awaited(result):
    return await result if inspect.isawaitable(result) else result


async def retried(call, publisher: Publisher) -> tuple[list[str], int]:
    """Call, then retry the pending append while Redis is unavailable.

    Return the ids and the number of retries.
    """
    for retries in range(20):
        try:
            ids = await awaited(call())
        except RedisUnavailable as error:
            call = partial(publisher.retry, error.pending)
            await asyncio.sleep(0.001)
        else:
            return [ids] if isinstance(ids, str) else ids, retries
    raise AssertionError("never acknowledged")


@asynccontextmanager
async def publishing(
    which: str, port: int, kind: str = "plain", seconds: float = TIMEOUT, epoch: int = 0
) -> AsyncIterator[Publishing]:
    """Create a `sync` or `async` publisher with a client of the given kind."""
    if which == "sync":
        with sync_client(port, kind, seconds) as client:
            yield Publishing(SyncRedisStreamPublisher(client, epoch=epoch))
    else:
        async with async_client(port, kind, seconds) as async_:
            yield Publishing(RedisStreamPublisher(async_, epoch=epoch))


def publish_with_retry(publisher: SyncRedisStreamPublisher, number: int) -> str:
    """Publish an event, and retry while Redis is unavailable; return its id."""
    call = partial(publisher.publish_event, "abc", {"n": number})
    for _ in range(20):
        try:
            return call()
        except RedisUnavailable as error:
            call = partial(publisher.retry, error.pending)
    raise AssertionError("never acknowledged")


def stream(client: redis.Redis, key: str = KEY) -> list[tuple[str, int]]:
    """Return the ids in the stream and the numbers of their events."""
    return [
        (entry_id.decode(), json.loads(fields[b"data"])["n"])
        for entry_id, fields in client.xrange(key)
    ]


def numbers(client: redis.Redis, key: str = KEY) -> list[int]:
    return [number for _, number in stream(client, key)]
