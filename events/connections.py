"""Redis: the one module that opens connections, runs commands and translates errors."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Self, cast
from weakref import WeakKeyDictionary

import redis
import redis.asyncio
from django.apps import apps
from redis import exceptions
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from events.commands import Command, Script
from events.conf import event_settings
from events.exceptions import EventsError, NotAStream, RedisRefused, RedisUnavailable, ScriptUnknown

_RETRIES: Final = 3
# Each viewer waits on a connection of its own; redis-py would stop at 100.
_MAX_VIEWERS: Final = 10_000


@dataclass(frozen=True, slots=True)
class _Address:
    """What a client is made of, as the settings say now."""

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


class Connections:
    """The clients of this process: a sync one, and one for each running event loop.

    Clients are pools that open connections when they are first used, and again after a fork.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sync: dict[_Address, redis.Redis] = {}
        self._async: WeakKeyDictionary[
            asyncio.AbstractEventLoop, dict[_Address, redis.asyncio.Redis]
        ] = WeakKeyDictionary()

    def sync(self) -> redis.Redis:
        """The client for code that blocks; threads may share it."""
        address = _Address.configured()
        with self._lock:
            if address not in self._sync:
                retry = Retry(_backoff(), _RETRIES)
                with _malformed_addresses_refused():
                    self._sync[address] = redis.Redis.from_url(
                        address.url, retry=retry, **address.options()
                    )
            return self._sync[address]

    def running_loop(self) -> redis.asyncio.Redis:
        """The client of the running event loop."""
        address = _Address.configured()
        with self._lock:
            self._forget_closed_loops()
            clients = self._async.setdefault(asyncio.get_running_loop(), {})
            if address not in clients:
                retry = AsyncRetry(_backoff(), _RETRIES)
                with _malformed_addresses_refused():
                    clients[address] = redis.asyncio.Redis.from_url(
                        address.url,
                        retry=retry,
                        max_connections=_MAX_VIEWERS,
                        **address.options(),
                    )
            return clients[address]

    def _forget_closed_loops(self) -> None:
        """Clients refer to their loop, so that a dictionary of weak references keeps them."""
        for loop in [loop for loop in self._async if loop.is_closed()]:
            del self._async[loop]

    async def close_running_loop(self) -> None:
        """Close what the running event loop has opened."""
        with self._lock:
            clients = self._async.pop(asyncio.get_running_loop(), {})
        for client in clients.values():
            await client.aclose()


@contextmanager
def _malformed_addresses_refused() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise RedisUnavailable(f"REDIS_URL is not the address of a Redis: {error}") from error


def _backoff() -> ExponentialWithJitterBackoff:
    return ExponentialWithJitterBackoff(base=0.05, cap=0.5)


def _connections() -> Connections:
    return cast(Connections, cast(Any, apps.get_app_config("events")).connections)


def get_redis() -> redis.Redis:
    """The sync client of this process, for `JOB_EVENTS["REDIS_URL"]`."""
    return _connections().sync()


def get_async_redis() -> redis.asyncio.Redis:
    """The client of the running event loop, for `JOB_EVENTS["REDIS_URL"]`."""
    return _connections().running_loop()


async def close_async_redis() -> None:
    """Close the running event loop's connections; for a loop that ends before its process."""
    await _connections().close_running_loop()


def block_ms(client: redis.asyncio.Redis) -> int:
    """How long a command may block: well below the time at which the socket gives up."""
    timeout = client.connection_pool.connection_kwargs.get("socket_timeout") or 5.0
    return max(int(min(timeout / 2, 5.0) * 1000), 1)  # 0 would be for ever


def run(client: redis.Redis, command: Command) -> Any:
    """Run a command; raises NotAStream, RedisUnavailable, RedisRefused."""
    execute: Callable[..., Any] = client.execute_command
    try:
        return execute(*command)
    except exceptions.RedisError as error:
        raise _translated(error, command) from error


async def arun(client: redis.asyncio.Redis, command: Command) -> Any:
    """The async twin of `run`."""
    execute: Callable[..., Awaitable[Any]] = client.execute_command
    cancellations = _cancellations()
    try:
        reply = await execute(*command)
    except exceptions.RedisError as error:
        raise _translated(error, command) from error
    _raise_lost_cancellation(cancellations)
    return reply


def _cancellations() -> int:
    """How often this task was asked to end."""
    task = asyncio.current_task()
    return task.cancelling() if task is not None else 0


def _raise_lost_cancellation(before: int) -> None:
    """Python 3.11's wait_for, by which redis-py writes, loses one that comes as it ends."""
    if _cancellations() > before:
        raise asyncio.CancelledError


def _translated(error: exceptions.RedisError, command: Command) -> EventsError:
    """redis-py's error as ours."""
    if isinstance(error, (exceptions.ConnectionError, exceptions.TimeoutError)):
        return RedisUnavailable(f"Redis did not answer: {error}")
    if isinstance(error, exceptions.NoScriptError):
        return ScriptUnknown()
    if "WRONGTYPE" in str(error):
        return NotAStream(f"{NotAStream.__doc__} It was asked for {command[0]!r}.")
    return RedisRefused(f"Redis refused {command[0]!r}: {error}")


def append(client: redis.Redis, command: Command) -> Any:
    """Run a command whose answer needs no parsing, by the shortest way through redis-py.

    What `execute_command` does besides (metrics, parsing by command) is a fifth of a call's time.
    A lost connection is retried as the client is set to.
    """
    pool: Any = getattr(client, "connection_pool", None)
    if pool is None:  # a cluster has one for each node
        return run(client, command)
    try:
        connection = pool.get_connection()
        try:
            return connection.retry.call_with_retry(
                partial(_ask, connection, command), lambda _error: connection.disconnect()
            )
        finally:
            pool.release(connection)
    except exceptions.RedisError as error:
        raise _translated(error, command) from error


def _ask(connection: Any, command: Command) -> Any:
    connection.send_command(*command)
    return connection.read_response()


async def aappend(client: redis.asyncio.Redis, command: Command) -> Any:
    """The async twin of `append`."""
    pool: Any = getattr(client, "connection_pool", None)
    if pool is None:
        return await arun(client, command)
    cancellations = _cancellations()
    try:
        connection = await pool.get_connection()
        try:
            reply = await connection.retry.call_with_retry(
                partial(_aask, connection, command), lambda _error: connection.disconnect()
            )
        finally:
            await pool.release(connection)
    except exceptions.RedisError as error:
        raise _translated(error, command) from error
    _raise_lost_cancellation(cancellations)
    return reply


async def _aask(connection: Any, command: Command) -> Any:
    await connection.send_command(*command)
    return await connection.read_response()


def append_by_script(client: redis.Redis, script: Script, called: Command) -> Any:
    """Run a script, sending its source if Redis does not have it."""
    try:
        return append(client, called)
    except ScriptUnknown:
        return append(client, script.send(called))


async def aappend_by_script(client: redis.asyncio.Redis, script: Script, called: Command) -> Any:
    """The async twin of `append_by_script`."""
    try:
        return await aappend(client, called)
    except ScriptUnknown:
        return await aappend(client, script.send(called))


def answers(url: str) -> bool:
    """Whether a Redis answers at `url`, asked once and without waiting long."""
    client = redis.Redis.from_url(
        url, retry=Retry(_backoff(), 0), socket_connect_timeout=1, socket_timeout=1
    )
    try:
        return bool(client.ping())
    except exceptions.RedisError:
        return False
    finally:
        client.close()
