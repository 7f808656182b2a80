"""Registry of the Redis clients of this process, and commands sent through a client."""

import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import redis
import redis.asyncio
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string
from redis import exceptions
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import EqualJitterBackoff, NoBackoff
from redis.retry import Retry

from events.conf import event_settings
from events.exceptions import RedisUnavailable
from events.per_loop import PerLoop
from events.streams import commands
from events.streams.cluster import arun_on_cluster, is_cluster, masters_of, socket_timeout
from events.streams.pinned import aacquire, acquire, release
from events.streams.retry import (
    CLIENT_ERRORS,
    asend_commands,
    cancellations,
    close_connection,
    raise_lost_cancellation,
    raised,
    send_commands,
    translated,
    unavailable,
)
from events.streams.scripts import Command
from events.types import Cursor

MAX_RETRIES: Final = 3
# Timeouts are not retried: each attempt at a Redis that hangs would last REDIS_TIMEOUT.
_RETRIED_ERRORS: Final = (exceptions.ConnectionError,)
# For concurrent requests; redis-py's default is 100.
MAX_CONNECTIONS: Final = 10_000
MAX_BLOCK_SECONDS: Final = 5.0
_PROBE_TIMEOUT_SECONDS: Final = 1.0


class _Source(NamedTuple):
    """The settings from which clients are created."""

    url: str
    timeout: float
    factory: str


_lock = threading.Lock()
_sync_clients: dict[_Source, redis.Redis] = {}
_async_clients: Final = PerLoop[dict[_Source, redis.asyncio.Redis]]()


def get_redis() -> redis.Redis:
    """Return the sync client of this process, for `REDIS_URL` or from `REDIS_CLIENT_FACTORY`.

    Threads may share it. It opens connections on first use, and anew after a fork. Raises
    RedisUnavailable.
    """
    source = _configured_source()
    with _lock:
        if source not in _sync_clients:
            _sync_clients[source] = _create(source, asynchronous=False)
        return _sync_clients[source]


def get_async_redis() -> redis.asyncio.Redis:
    """Return the client of the running event loop; see `get_redis`."""
    source, clients = _configured_source(), _async_clients.of_running_loop(lambda _: {})
    if source not in clients:
        clients[source] = _create(source, asynchronous=True)
    return clients[source]


async def close_async_redis() -> None:
    """Close the running event loop's connections; for a loop that ends before its process."""
    clients = _async_clients.of_running_loop(lambda _: {})
    while clients:
        _, client = clients.popitem()
        await client.aclose()
        pool: Any = getattr(client, "connection_pool", None)  # a cluster client has none
        if pool is not None:
            await pool.disconnect()  # a client leaves a pool open that it was given
        manager = getattr(pool, "sentinel_manager", None)
        for sentinel in manager.sentinels if manager else ():
            await sentinel.aclose()


def _configured_source() -> _Source:
    settings = event_settings
    return _Source(settings.REDIS_URL, settings.REDIS_TIMEOUT, settings.REDIS_CLIENT_FACTORY)


def _create(source: _Source, *, asynchronous: bool) -> Any:
    try:
        if source.factory:
            client = import_string(source.factory)(asynchronous=asynchronous)
            return _supported(client, asynchronous=asynchronous)
        kind: Any = redis.asyncio.Redis if asynchronous else redis.Redis
        retry: Any = AsyncRetry if asynchronous else Retry
        return kind.from_url(
            source.url,
            retry=retry(EqualJitterBackoff(base=0.05, cap=0.5), MAX_RETRIES, _RETRIED_ERRORS),
            max_connections=MAX_CONNECTIONS,
            socket_timeout=source.timeout,
            socket_connect_timeout=source.timeout,
            health_check_interval=30,
        )
    except CLIENT_ERRORS as error:  # a cluster client connects at once
        raise unavailable(error) from error
    except ValueError:  # its text and its traceback may contain a part of the password
        if source.factory:
            raise
        raise RedisUnavailable("REDIS_URL is not the address of a Redis.") from None


def _supported(client: Any, *, asynchronous: bool) -> Any:
    """Return the client of a factory.

    Raises ImproperlyConfigured if it is not one of redis-py, or reads from replicas, which lag.
    """
    module: Any = redis.asyncio if asynchronous else redis
    if not isinstance(client, (module.Redis, module.RedisCluster)):
        raise ImproperlyConfigured(
            f"REDIS_CLIENT_FACTORY returned {type(client)} with asynchronous={asynchronous}, not a"
            f" Redis or RedisCluster of {module.__name__}."
        )
    names = "read_from_replicas", "load_balancing_strategy"
    if is_cluster(client) and any(getattr(client, name, None) for name in names):
        raise ImproperlyConfigured(f"A client of REDIS_CLIENT_FACTORY has one of {names}.")
    return client


def check_clients() -> None:
    """Create clients of both kinds. Raises ImproperlyConfigured, RedisUnavailable."""
    get_redis()
    _create(_configured_source(), asynchronous=True)


def is_available() -> bool:
    """Return whether the project's Redis replies within a second.

    True with `REDIS_CLIENT_FACTORY`: the timeouts of its clients apply.
    """
    return bool(event_settings.REDIS_CLIENT_FACTORY) or is_reachable(event_settings.REDIS_URL)


def probe_client(url: str) -> redis.Redis:
    """Return a client that neither retries nor waits long; close it with `with`."""
    return redis.Redis.from_url(
        url,
        retry=Retry(NoBackoff(), 0),
        socket_connect_timeout=_PROBE_TIMEOUT_SECONDS,
        socket_timeout=_PROBE_TIMEOUT_SECONDS,
    )


def is_reachable(url: str) -> bool:
    """Return whether a Redis replies at `url`."""
    try:
        with probe_client(url) as client:
            return bool(client.ping())
    except (exceptions.RedisError, ValueError):  # ValueError: the address is malformed
        return False


def block_ms(client: Any) -> int:
    """Return how long a command may block: well below the socket timeout."""
    timeout = socket_timeout(client.nodes_manager if is_cluster(client) else client.connection_pool)
    return max(int(min(timeout / 2, MAX_BLOCK_SECONDS) * 1000), 1)  # 0 blocks for ever


def run(client: redis.Redis, command: Command) -> Any:
    """Run a command with the client's own retry. Raises EventsError."""
    execute: Callable[..., Any] = client.execute_command
    try:
        return execute(*command)
    except CLIENT_ERRORS as error:
        raise translated(error, command) from error


async def arun(client: redis.asyncio.Redis, command: Command) -> Any:
    """Async version of `run`."""
    execute: Callable[..., Awaitable[Any]] = client.execute_command
    before = cancellations()
    try:
        reply = await execute(*command)
    except CLIENT_ERRORS as error:
        raise translated(error, command) from error
    raise_lost_cancellation(before)
    return reply


def send_command(client: redis.Redis, command: Command) -> Any:
    """Send a command, such as a script call, that is safe to repeat. Raises EventsError."""
    (reply,) = send_pipeline(client, (command,))
    return raised(reply)


def send_pipeline(client: redis.Redis, requests: Sequence[Command]) -> list[Any]:
    """Send commands that are safe to repeat in one round trip; see `send_commands`."""
    connection = acquire(client)
    try:
        return send_commands(connection, *requests) if requests else []
    finally:
        release(client, connection)


def scan_keys(
    client: redis.Redis, pattern: str, count: int, *, any_type: bool = False
) -> Iterator[list[str]]:
    """Yield the keys that match a pattern, by default of streams, one SCAN reply at a time."""
    with masters_of(client) as masters:
        for master in masters:
            cursor = ""
            while cursor != "0":
                scan = commands.scan(cursor or "0", pattern, count, any_type=any_type)
                reply = send_command(master, scan)
                cursor, names = commands.scanned(reply)
                yield names


def read_streams(
    client: redis.Redis, positions: Mapping[str, Cursor], limit: int
) -> dict[str, Any]:
    """Return up to `limit` entries after a position of each stream that has some, by key.

    Raises NotAStream, RedisUnavailable, RedisCommandError. A cluster refuses to read streams of
    several slots at once.
    """
    requests = [commands.xread(positions, limit)]
    if is_cluster(client):
        requests = [commands.xread({key: positions[key]}, limit) for key in positions]
    entries: dict[str, Any] = {}
    for reply in send_pipeline(client, requests):
        entries |= commands.entries_of_xread(raised(reply))
    return entries


async def asend_command(client: redis.asyncio.Redis, command: Command) -> Any:
    """Async version of `send_command`."""
    if is_cluster(client):
        return raised(await arun_on_cluster(client, command))
    connection = await aacquire(client)
    try:
        (reply,) = await asend_commands(connection, command)
    except BaseException:
        await close_connection(connection)  # it may have an unread reply
        raise
    finally:
        await client.connection_pool.release(connection)
    return raised(reply)
