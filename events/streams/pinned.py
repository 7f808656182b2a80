"""Connections taken out of a client's pool, to be used by one caller."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final, Self

import redis
import redis.asyncio
from redis import exceptions

from events.exceptions import RedisUnavailable
from events.streams.errors import translated, unavailable
from events.streams.retry import (
    cancellations,
    close_connection,
    raised,
    send_once,
)
from events.streams.scripts import Command

# Connections are reserved between calls only where the pool may have this many.
MIN_POOL_CONNECTIONS: Final = 20


class PinnedConnection:
    """An async connection that is never reopened.

    All replies come from the same Redis process: after a restart, which may have lost data, the
    connection raises RedisUnavailable.
    """

    def __init__(self, client: redis.asyncio.Redis, connection: Any) -> None:
        self._pool: Any = client.connection_pool
        self._connection = connection
        self._is_open = True
        self._awaits_reply = False

    @classmethod
    async def open(cls, client: redis.asyncio.Redis) -> Self:
        """Take a connection out of the client's pool. Raises RedisUnavailable."""
        pool: Any = client.connection_pool
        before = cancellations()
        try:
            pinned = cls(client, await pool.get_connection())
        except exceptions.RedisError as error:
            raise unavailable(error) from error
        if cancellations() > before:
            await pinned.close()
            raise asyncio.CancelledError
        return pinned

    async def send(self, command: Command) -> Any:
        """Send a command and return its reply. Raises EventsError, for an error reply as well."""
        (reply,) = await self.send_all([command])
        return raised(reply)

    async def send_all(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands in one round trip; an error reply is an EventsError in the list.

        One call at a time. After a lost connection or a cancelled call, every call raises
        RedisUnavailable.
        """
        if not self._is_open or self._awaits_reply or not self._connection.is_connected:
            raise RedisUnavailable
        self._awaits_reply = True
        try:
            replies = await send_once(self._connection, commands)
        except exceptions.RedisError as error:
            raise translated(error, commands[0]) from error
        self._awaits_reply = False
        return replies

    async def close(self) -> None:
        """Return the connection to the pool; close it first if a reply is unread."""
        if self._is_open:
            self._is_open = False
            if self._awaits_reply:
                await close_connection(self._connection)
            await self._pool.release(self._connection)


def acquire(client: redis.Redis) -> Any:
    """Return a connection for `send_commands`; pass it to `release` afterwards.

    A cluster client selects a connection for each key: it is returned itself.
    """
    try:
        return client.connection_pool.get_connection() if _has_pool(client) else client
    except exceptions.RedisError as error:
        raise unavailable(error) from error


def release(client: redis.Redis, connection: Any) -> None:
    """Return a connection to the client's pool."""
    if _has_pool(client):
        client.connection_pool.release(connection)


def can_reserve(client: redis.Redis) -> bool:
    """Return whether the pool is large enough to reserve connections between calls."""
    limit = getattr(client.connection_pool, "max_connections", 0) if _has_pool(client) else 0
    return bool(limit >= MIN_POOL_CONNECTIONS)


def _has_pool(client: redis.Redis) -> bool:
    return getattr(client, "connection_pool", None) is not None


def reserve_connection(client: redis.asyncio.Redis) -> Any:
    """Return a connection for `asend_commands` in the running event loop, for as long as it runs.

    It belongs to the pool and is closed with the client. A pool that is small, or has connections
    of another loop, is not used: closing it from there would raise. The connection is then outside
    of the pool.
    """
    pool: Any = client.connection_pool
    loop = asyncio.get_running_loop()
    pooled = [
        connection
        for name in ("_available_connections", "_in_use_connections")
        for connection in list(getattr(pool, name, ()))
    ]
    is_shared = any(_loop_of(connection) not in (None, loop) for connection in pooled)
    if is_shared or pool.max_connections - len(pooled) < MIN_POOL_CONNECTIONS:
        return pool.make_connection()
    return pool.get_available_connection()


def _loop_of(connection: Any) -> asyncio.AbstractEventLoop | None:
    """Return the event loop of an open connection, which redis-py does not expose."""
    return getattr(getattr(connection, "_reader", None), "_loop", None)
