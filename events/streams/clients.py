"""Redis: the one module that opens connections, and runs commands on them."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Self, cast
from weakref import WeakKeyDictionary

import redis
import redis.asyncio
from django.apps import apps
from redis import exceptions
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from events.conf import event_settings
from events.exceptions import EventsError, RedisUnavailable
from events.streams.retry import (
    ask,
    cancellations,
    close,
    exchange,
    raise_lost_cancellation,
    translated,
    unavailable,
)
from events.streams.scripts import Command

_RETRIES: Final = 3
# What our own clients try again; who hangs for REDIS_TIMEOUT is not asked four times.
_REFUSED: Final = (exceptions.ConnectionError,)
# Of so many connections, a publisher may keep one to itself.
_MANY: Final = 20
# Of requests at once; redis-py would stop at 100.
_MAX_CONNECTIONS: Final = 10_000
_SCANNED: Final = 1000


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
                retry = Retry(_backoff(), _RETRIES, _REFUSED)
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
                retry = AsyncRetry(_backoff(), _RETRIES, _REFUSED)
                with _malformed_addresses_refused():
                    clients[address] = redis.asyncio.Redis.from_url(
                        address.url,
                        retry=retry,
                        max_connections=_MAX_CONNECTIONS,
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
    return cast(Connections, cast(Any, apps.get_app_config("job_events")).connections)


def get_redis() -> redis.Redis:
    """The sync client of this process, for `JOB_EVENTS["REDIS_URL"]`."""
    return _connections().sync()


def get_async_redis() -> redis.asyncio.Redis:
    """The client of the running event loop, for `JOB_EVENTS["REDIS_URL"]`."""
    return _connections().running_loop()


async def close_async_redis() -> None:
    """Close the running event loop's connections; for a loop that ends before its process."""
    await _connections().close_running_loop()


def block_ms(client: redis.Redis | redis.asyncio.Redis) -> int:
    """How long a command may block: well below the time at which the socket gives up."""
    timeout = client.connection_pool.connection_kwargs.get("socket_timeout") or 5.0
    return max(int(min(timeout / 2, 5.0) * 1000), 1)  # 0 would be for ever


def run(client: redis.Redis, command: Command) -> Any:
    """Run a command; raises NotAStream, RedisUnavailable, RedisCommandError."""
    execute: Callable[..., Any] = client.execute_command
    try:
        return execute(*command)
    except exceptions.RedisError as error:
        raise translated(error, command) from error


async def arun(client: redis.asyncio.Redis, command: Command) -> Any:
    """The async twin of `run`."""
    execute: Callable[..., Awaitable[Any]] = client.execute_command
    before = cancellations()
    try:
        reply = await execute(*command)
    except exceptions.RedisError as error:
        raise translated(error, command) from error
    raise_lost_cancellation(before)
    return reply


class PinnedConnection:
    """A connection of one's own that is never opened again.

    As long as it lasts, it is the same Redis that answers: one that was killed, and came back
    with less than it had, is not taken for it.
    """

    def __init__(self, client: redis.asyncio.Redis, connection: Any) -> None:
        self._client: Any = client
        self._connection = connection
        self._is_ours = True
        self._is_answered = True

    @classmethod
    async def to(cls, client: redis.asyncio.Redis) -> Self:
        """Take a connection of the client's; raises RedisUnavailable."""
        pool: Any = client.connection_pool
        before = cancellations()
        try:
            wire = cls(client, await pool.get_connection())
        except exceptions.RedisError as error:
            raise unavailable(error) from error
        if cancellations() > before:
            await wire.close()
            raise asyncio.CancelledError
        return wire

    async def ask(self, command: Command) -> Any:
        """Run a command; raises as `run` does, and RedisUnavailable as soon as the wire is cut."""
        (reply,) = await self.ask_all([command])
        if isinstance(reply, EventsError):
            raise reply
        return reply

    async def ask_all(self, commands: Sequence[Command]) -> list[Any]:
        """Run commands in one round trip; a refusal is an EventsError in the list.

        One question at a time. Cancelled, or cut, the wire answers no more.
        """
        if not (self._is_ours and self._is_answered and self._connection.is_connected):
            raise RedisUnavailable
        self._is_answered = False
        try:
            replies = await exchange(self._connection, commands)
            self._is_answered = True
        except exceptions.RedisError as error:
            raise translated(error, commands[0]) from error
        return replies

    async def close(self) -> None:
        """Give the connection back; from now on it is not the wire's to ask.

        Whoever has it next must not be given an answer that somebody else was waiting for.
        """
        if self._is_ours:
            self._is_ours = False
            if not self._is_answered:
                await close(self._connection)
            await self._client.connection_pool.release(self._connection)


def acquire(client: redis.Redis) -> Any:
    """A connection of the client's, for `ask`; to be given back by `release`.

    A cluster has connections to each node, and chooses by itself: it stands for them.
    """
    try:
        return client.connection_pool.get_connection() if _has_pool(client) else client
    except exceptions.RedisError as error:
        raise unavailable(error) from error


def release(client: redis.Redis, connection: Any) -> None:
    """Let others have a connection again."""
    if _has_pool(client):
        client.connection_pool.release(connection)


def may_keep(client: redis.Redis) -> bool:
    """Whether the client has connections enough for some to be kept between two calls."""
    return _has_pool(client) and getattr(client.connection_pool, "max_connections", 0) >= _MANY


def _has_pool(client: redis.Redis | redis.asyncio.Redis) -> bool:
    return getattr(client, "connection_pool", None) is not None


def ask_once(client: redis.Redis, command: Command) -> Any:
    """Ask on a connection of the client's; raises what Redis refuses, and RedisUnavailable."""
    (reply,) = ask_many(client, (command,))
    if isinstance(reply, EventsError):
        raise reply
    return reply


def ask_many(client: redis.Redis, commands: Sequence[Command]) -> list[Any]:
    """Ask all in one round trip; a refusal is an EventsError in the list."""
    connection = acquire(client)
    try:
        return ask(connection, *commands) if commands else []
    finally:
        release(client, connection)


def new_connection(client: redis.asyncio.Redis) -> Any:
    """A connection for the running event loop, for `aask`, to be kept as long as the loop runs.

    It is the client's, and closed with it, unless the client has few of them, or some of another
    loop: one of these, in this loop, would raise or give somebody else's answer.
    """
    pool: Any = client.connection_pool
    loop = asyncio.get_running_loop()
    there = [
        connection
        for name in ("_available_connections", "_in_use_connections")
        for connection in list(getattr(pool, name, ()))
    ]
    strange = any(_loop_of(connection) not in (None, loop) for connection in there)
    if strange or pool.max_connections - len(there) < _MANY:
        return strange_connection(client)
    return pool.get_available_connection()


def strange_connection(client: redis.asyncio.Redis) -> Any:
    """A connection for `aask` of which the client does not know; to be closed by the caller."""
    pool: Any = client.connection_pool
    return pool.make_connection()


def _loop_of(connection: Any) -> asyncio.AbstractEventLoop | None:
    """The loop of an open connection, which redis-py does not tell."""
    return getattr(getattr(connection, "_reader", None), "_loop", None)


def answers(url: str) -> bool:
    """Whether a Redis answers at `url`, asked once and without waiting long."""
    with _hasty(url) as client:
        try:
            return bool(client.ping())
        except exceptions.RedisError:
            return False


def remove_keys(url: str, pattern: str) -> None:
    """Remove all keys that match a pattern, of a Redis that may be gone already."""
    with _hasty(url) as client, suppress(exceptions.RedisError):
        keys = client.scan_iter(match=pattern, count=_SCANNED)
        while some := list(islice(keys, _SCANNED)):
            client.unlink(*some)


def _hasty(url: str) -> redis.Redis:
    """A client of its own for a question or two; `with` closes it."""
    return redis.Redis.from_url(
        url, retry=Retry(_backoff(), 0), socket_connect_timeout=1, socket_timeout=1
    )
