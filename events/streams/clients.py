"""Registry of the Redis clients of this process, and commands sent through a client."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Self
from weakref import WeakKeyDictionary

import redis
import redis.asyncio
from redis import exceptions
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from events.conf import event_settings
from events.exceptions import RedisUnavailable
from events.streams.errors import translated
from events.streams.pinned import acquire, release
from events.streams.retry import cancellations, raise_lost_cancellation, raised, send_commands
from events.streams.scripts import Command

MAX_RETRIES: Final = 3
# Timeouts are not retried: each attempt at a Redis that hangs would last REDIS_TIMEOUT.
_RETRIED_ERRORS: Final = (exceptions.ConnectionError,)
# For concurrent requests; redis-py's default is 100.
MAX_CONNECTIONS: Final = 10_000
MAX_BLOCK_SECONDS: Final = 5.0
_PROBE_TIMEOUT_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class _Address:
    """The settings from which a client is made."""

    url: str
    timeout: float

    @classmethod
    def configured(cls) -> Self:
        return cls(event_settings.REDIS_URL, event_settings.REDIS_TIMEOUT)

    def options(self) -> dict[str, Any]:
        return {
            "socket_timeout": self.timeout,
            "socket_connect_timeout": self.timeout,
            "health_check_interval": 30,
        }


class RedisClients:
    """The clients of a process: one sync client, and an async client for each event loop.

    A client opens its connections on first use, and anew after a fork.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sync: dict[_Address, redis.Redis] = {}
        self._async: WeakKeyDictionary[
            asyncio.AbstractEventLoop, dict[_Address, redis.asyncio.Redis]
        ] = WeakKeyDictionary()

    def sync(self) -> redis.Redis:
        """Return the sync client; threads may share it."""
        address = _Address.configured()
        with self._lock:
            if address not in self._sync:
                retry = Retry(_backoff(), MAX_RETRIES, _RETRIED_ERRORS)
                with _malformed_url_raised():
                    self._sync[address] = redis.Redis.from_url(
                        address.url, retry=retry, **address.options()
                    )
            return self._sync[address]

    def of_running_loop(self) -> redis.asyncio.Redis:
        """Return the client of the running event loop."""
        address = _Address.configured()
        with self._lock:
            self._discard_closed_loops()
            clients = self._async.setdefault(asyncio.get_running_loop(), {})
            if address not in clients:
                retry = AsyncRetry(_backoff(), MAX_RETRIES, _RETRIED_ERRORS)
                with _malformed_url_raised():
                    clients[address] = redis.asyncio.Redis.from_url(
                        address.url,
                        retry=retry,
                        max_connections=MAX_CONNECTIONS,
                        **address.options(),
                    )
            return clients[address]

    def _discard_closed_loops(self) -> None:
        """Clients refer to their loop, so the weak keys alone would keep both."""
        for loop in [loop for loop in self._async if loop.is_closed()]:
            del self._async[loop]

    async def close_running_loop(self) -> None:
        """Close the connections of the running event loop."""
        with self._lock:
            clients = self._async.pop(asyncio.get_running_loop(), {})
        for client in clients.values():
            await client.aclose()


redis_clients: Final = RedisClients()


@contextmanager
def _malformed_url_raised() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise RedisUnavailable(f"REDIS_URL is not the address of a Redis: {error}") from error


def _backoff() -> ExponentialWithJitterBackoff:
    return ExponentialWithJitterBackoff(base=0.05, cap=0.5)


def get_redis() -> redis.Redis:
    """Return the sync client of this process, for `JOB_EVENTS["REDIS_URL"]`."""
    return redis_clients.sync()


def get_async_redis() -> redis.asyncio.Redis:
    """Return the client of the running event loop, for `JOB_EVENTS["REDIS_URL"]`."""
    return redis_clients.of_running_loop()


async def close_async_redis() -> None:
    """Close the running event loop's connections; for a loop that ends before its process."""
    await redis_clients.close_running_loop()


def probe_client(url: str) -> redis.Redis:
    """Return a client that neither retries nor waits long; close it with `with`."""
    return redis.Redis.from_url(
        url,
        retry=Retry(_backoff(), 0),
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
