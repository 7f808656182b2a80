"""Redis: the one module that opens connections, runs commands and translates errors."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Any, Final, Self, cast
from weakref import WeakKeyDictionary

import redis
import redis.asyncio
from django.apps import apps
from redis import exceptions
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from events import scripts
from events.conf import event_settings
from events.exceptions import EventsError, NotAStream, RedisRefused, RedisUnavailable, StaleEpoch
from events.scripts import Command

_RETRIES: Final = 3
# Seconds before each further try of what is safe to repeat; at the end, none is made.
_PAUSES: Final = (0.02, 0.1, 0.5, 0.0)
_LOST: Final = (exceptions.ConnectionError, exceptions.TimeoutError)
# Of so many connections, a publisher may keep one to itself.
_MANY: Final = 20
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


def _unavailable(error: exceptions.RedisError) -> RedisUnavailable:
    return RedisUnavailable(f"Redis did not answer: {error}")


def _translated(error: exceptions.RedisError, command: Command) -> EventsError:
    """redis-py's error as ours."""
    if isinstance(error, _LOST):
        return _unavailable(error)
    if str(error).startswith(scripts.STALE_EPOCH):
        return StaleEpoch(f"{StaleEpoch.__doc__} Redis says: {error}.")
    if "WRONGTYPE" in str(error):
        return NotAStream(f"{NotAStream.__doc__} It was asked for {command[0]!r}.")
    return RedisRefused(f"Redis refused {command[0]!r}: {error}")


def lend(client: redis.Redis) -> Any:
    """A connection of the client's, for `ask`; to be given back by `give_back`.

    A cluster has connections to each node, and chooses by itself: it stands for them.
    """
    try:
        return client.connection_pool.get_connection() if _has_pool(client) else client
    except exceptions.RedisError as error:
        raise _unavailable(error) from error


def give_back(client: redis.Redis, connection: Any) -> None:
    """Let others have a connection again."""
    if _has_pool(client):
        client.connection_pool.release(connection)


def may_keep(client: redis.Redis) -> bool:
    """Whether the client has connections enough for some to be kept between two calls."""
    return _has_pool(client) and getattr(client.connection_pool, "max_connections", 0) >= _MANY


def _has_pool(client: redis.Redis | redis.asyncio.Redis) -> bool:
    return getattr(client, "connection_pool", None) is not None


def ask(connection: Any, *commands: Command) -> list[Any]:
    """Send commands and read what Redis answers to each; a refusal is an EventsError in the list.

    If the connection is lost, all are sent again: they must be safe to repeat. Raises
    RedisUnavailable.
    """
    if not hasattr(connection, "pack_command"):
        return [_run_on_cluster(connection, command) for command in commands]
    packed = connection.pack_command(*commands[0])
    if len(commands) > 1:
        packed = connection.pack_commands(commands)
    started = monotonic()
    for pause in _PAUSES:
        try:
            connection.send_packed_command(packed, check_health=False)
            replies = [_reply(connection) for _ in commands]
            return [_understood(connection, *pair) for pair in zip(commands, replies, strict=True)]
        except _LOST as error:
            connection.disconnect()
            if not pause or monotonic() - started > event_settings.REDIS_TIMEOUT:
                raise _unavailable(error) from error
        sleep(pause)
        try:
            connection.connect()
        except exceptions.RedisError as error:
            raise _unavailable(error) from error
    raise RedisUnavailable


def ask_once(client: redis.Redis, command: Command) -> Any:
    """Ask on a connection of the client's; raises what Redis refuses, and RedisUnavailable."""
    (reply,) = ask_many(client, (command,))
    if isinstance(reply, EventsError):
        raise reply
    return reply


def ask_many(client: redis.Redis, commands: Sequence[Command]) -> list[Any]:
    """Ask all in one round trip; a refusal is an EventsError in the list."""
    connection = lend(client)
    try:
        return ask(connection, *commands) if commands else []
    finally:
        give_back(client, connection)


def _run_on_cluster(client: Any, command: Command) -> Any:
    """Redis's answer, or its refusal; the cluster repeats a command by itself."""
    for attempt in (command, scripts.with_source(command)):
        try:
            return client.execute_command(*attempt)
        except exceptions.NoScriptError:
            continue
        except exceptions.ResponseError as error:
            return _translated(error, command)
        except exceptions.RedisError as error:
            raise _unavailable(error) from error
    raise RedisUnavailable


def _reply(connection: Any) -> Any:
    try:
        return connection.read_response()
    except exceptions.ResponseError as error:
        return error


def _understood(connection: Any, command: Command, reply: Any) -> Any:
    if isinstance(reply, exceptions.NoScriptError):
        connection.send_command(*scripts.with_source(command))
        reply = _reply(connection)
    return _translated(reply, command) if isinstance(reply, exceptions.RedisError) else reply


def new_connection(client: redis.asyncio.Redis) -> Any:
    """A connection for the running event loop, for `aask`.

    It is the client's, and closed with it, unless the client has connections of another loop: one
    of these, in this loop, would raise or give somebody else's answer.
    """
    pool: Any = client.connection_pool
    loop = asyncio.get_running_loop()
    there = [
        connection
        for name in ("_available_connections", "_in_use_connections")
        for connection in getattr(pool, name, ())
    ]
    strange = any(_loop_of(connection) not in (None, loop) for connection in there)
    try:
        return pool.make_connection() if strange else pool.get_available_connection()
    except exceptions.RedisError as error:  # all that the pool may have are in use
        raise _unavailable(error) from error


def _loop_of(connection: Any) -> asyncio.AbstractEventLoop | None:
    """The loop of an open connection, which redis-py does not tell."""
    return getattr(getattr(connection, "_reader", None), "_loop", None)


async def close(connection: Any) -> None:
    """Close a connection without waiting for the other side."""
    await connection.disconnect(nowait=True)


async def aask(connection: Any, *commands: Command) -> list[Any]:
    """The async twin of `ask`; cancelled, it leaves the connection fit for `close` only."""
    packed = connection.pack_commands(commands)
    started, cancellations = monotonic(), _cancellations()
    for pause in _PAUSES:
        if not connection.is_connected:
            await _connect(connection)
        try:
            await connection.send_packed_command(packed, check_health=False)
            replies = [await _areply(connection) for _ in commands]
            _raise_lost_cancellation(cancellations)
            return [
                await _aunderstood(connection, *pair)
                for pair in zip(commands, replies, strict=True)
            ]
        except _LOST as error:
            await close(connection)
            if not pause or monotonic() - started > event_settings.REDIS_TIMEOUT:
                raise _unavailable(error) from error
        await asyncio.sleep(pause)
    raise RedisUnavailable


async def _connect(connection: Any) -> None:
    try:
        await connection.connect()
    except exceptions.RedisError as error:
        raise _unavailable(error) from error


async def _areply(connection: Any) -> Any:
    try:
        return await connection.read_response()
    except exceptions.ResponseError as error:
        return error


async def _aunderstood(connection: Any, command: Command, reply: Any) -> Any:
    if isinstance(reply, exceptions.NoScriptError):
        await connection.send_command(*scripts.with_source(command))
        reply = await _areply(connection)
    return _translated(reply, command) if isinstance(reply, exceptions.RedisError) else reply


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
