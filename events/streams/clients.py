"""Registry of the Redis clients of this process, and commands sent through a client."""

import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

import redis
import redis.asyncio
from redis import exceptions
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import EqualJitterBackoff, NoBackoff
from redis.retry import Retry

from events.conf import event_settings
from events.exceptions import RedisUnavailable
from events.per_loop import PerLoop
from events.streams.pinned import aacquire, acquire, release
from events.streams.retry import (
    asend_commands,
    cancellations,
    close_connection,
    raise_lost_cancellation,
    raised,
    send_commands,
    translated,
)
from events.streams.scripts import Command

MAX_RETRIES: Final = 3
# Timeouts are not retried: each attempt at a Redis that hangs would last REDIS_TIMEOUT.
_RETRIED_ERRORS: Final = (exceptions.ConnectionError,)
# For concurrent requests; redis-py's default is 100.
MAX_CONNECTIONS: Final = 10_000
MAX_BLOCK_SECONDS: Final = 5.0
_PROBE_TIMEOUT_SECONDS: Final = 1.0


_Address = tuple[str, float]
_Client = TypeVar("_Client", redis.Redis, redis.asyncio.Redis)

# By the settings from which a client is created.
_lock = threading.Lock()
_sync_clients: dict[_Address, redis.Redis] = {}
_async_clients: Final = PerLoop[dict[_Address, redis.asyncio.Redis]]()


def get_redis() -> redis.Redis:
    """Return the sync client of this process, for `JOB_EVENTS["REDIS_URL"]`.

    Threads may share it. It opens connections on first use, and anew after a fork.
    """
    address = _configured_address()
    with _lock:
        if address not in _sync_clients:
            _sync_clients[address] = _create(redis.Redis, Retry, address)
        return _sync_clients[address]


def get_async_redis() -> redis.asyncio.Redis:
    """Return the client of the running event loop, for `JOB_EVENTS["REDIS_URL"]`."""
    address, clients = _configured_address(), _async_clients.of_running_loop(lambda _: {})
    if address not in clients:
        clients[address] = _create(redis.asyncio.Redis, AsyncRetry, address)
    return clients[address]


async def close_async_redis() -> None:
    """Close the running event loop's connections; for a loop that ends before its process."""
    clients = _async_clients.of_running_loop(lambda _: {})
    while clients:
        _, client = clients.popitem()
        await client.aclose()


def _configured_address() -> _Address:
    return event_settings.REDIS_URL, event_settings.REDIS_TIMEOUT


def _create(
    client: type[_Client], retry: type[Retry] | type[AsyncRetry], address: _Address
) -> _Client:
    url, timeout = address
    backoff = EqualJitterBackoff(base=0.05, cap=0.5)
    try:
        return client.from_url(
            url,
            retry=retry(backoff, MAX_RETRIES, _RETRIED_ERRORS),
            max_connections=MAX_CONNECTIONS,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            health_check_interval=30,
        )
    except ValueError:  # its text and its traceback may contain a part of the password
        raise RedisUnavailable("REDIS_URL is not the address of a Redis.") from None


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


def block_ms(client: redis.Redis | redis.asyncio.Redis) -> int:
    """Return how long a command may block: well below the socket timeout."""
    timeout = client.connection_pool.connection_kwargs.get("socket_timeout") or MAX_BLOCK_SECONDS
    return max(int(min(timeout / 2, MAX_BLOCK_SECONDS) * 1000), 1)  # 0 blocks for ever


def run(client: redis.Redis, command: Command) -> Any:
    """Run a command with the client's own retry. Raises EventsError."""
    execute: Callable[..., Any] = client.execute_command
    try:
        return execute(*command)
    except exceptions.RedisError as error:
        raise translated(error, command) from error


async def arun(client: redis.asyncio.Redis, command: Command) -> Any:
    """Async version of `run`."""
    execute: Callable[..., Awaitable[Any]] = client.execute_command
    before = cancellations()
    try:
        reply = await execute(*command)
    except exceptions.RedisError as error:
        raise translated(error, command) from error
    raise_lost_cancellation(before)
    return reply


def send_command(client: redis.Redis, command: Command) -> Any:
    """Send a command, such as a script call, that is safe to repeat. Raises EventsError."""
    (reply,) = send_pipeline(client, (command,))
    return raised(reply)


def send_pipeline(client: redis.Redis, commands: Sequence[Command]) -> list[Any]:
    """Send commands that are safe to repeat in one round trip; see `send_commands`."""
    connection = acquire(client)
    try:
        return send_commands(connection, *commands) if commands else []
    finally:
        release(client, connection)


async def asend_command(client: redis.asyncio.Redis, command: Command) -> Any:
    """Async version of `send_command`."""
    connection = await aacquire(client)
    try:
        (reply,) = await asend_commands(connection, command)
    except BaseException:
        await close_connection(connection)  # it may have an unread reply
        raise
    finally:
        await client.connection_pool.release(connection)
    return raised(reply)
