"""Connections taken out of a client's pool, to be used by one caller."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final, Self

import redis
import redis.asyncio
from redis import exceptions

from events.exceptions import RedisUnavailable
from events.streams import commands
from events.streams.retry import (
    cancellations,
    close_connection,
    raise_lost_cancellation,
    raised,
    send_once,
    translated,
    unavailable,
)
from events.streams.scripts import Command

# Connections are reserved between calls only where the pool may have this many.
MIN_POOL_CONNECTIONS: Final = 20
# Before 5.3, redis-py requires the name of a command, and ignores it.
_GET_CONNECTION_ARGUMENTS: Final = () if redis.VERSION >= (5, 3) else ("EVALSHA",)


class PinnedConnection:
    """An async connection that is never reopened.

    All replies come from the same Redis process: after a restart, which may have lost data, the
    connection raises RedisUnavailable.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._is_usable = True

    @classmethod
    async def open(cls, client: redis.asyncio.Redis) -> Self:
        """Open a connection outside of the client's pool, which may be small.

        Raises RedisUnavailable.
        """
        pool: Any = client.connection_pool
        pinned = cls(pool.make_connection())
        before = cancellations()
        try:
            await pinned._connection.connect()
            raise_lost_cancellation(before)
        except exceptions.RedisError as error:
            raise unavailable(error) from error
        except BaseException:
            await pinned.close()
            raise
        return pinned

    async def send(self, command: Command) -> Any:
        """Send a command and return its reply. Raises EventsError, for an error reply as well."""
        (reply,) = await self.send_all([command])
        return raised(reply)

    async def send_all(self, requests: Sequence[Command]) -> list[Any]:
        """Send commands in one round trip; an error reply is an EventsError in the list.

        One call at a time. After a lost connection or a cancelled call, every call raises
        RedisUnavailable.
        """
        if not self._is_usable or not self._connection.is_connected:
            raise RedisUnavailable
        self._is_usable = False
        try:
            replies = await send_once(self._connection, requests)
        except exceptions.RedisError as error:
            raise translated(error, requests[0]) from error
        self._is_usable = True
        return replies

    async def check_role(self) -> int:
        """Return the connection's id; raise RedisUnavailable if a failover made it a replica's.

        The former master would lack later events, if it still receives any.
        """
        connection_id, role = commands.id_and_role(await self.send(commands.hello()))
        if role != "master":
            raise RedisUnavailable(f"The role of this Redis is {role}.")
        return connection_id

    async def close(self) -> None:
        self._is_usable = False
        await close_connection(self._connection)


def acquire(client: redis.Redis) -> Any:
    """Return a connection for `send_commands`; pass it to `release` afterwards.

    A cluster client selects a connection for each key: it is returned itself.
    """
    pool = getattr(client, "connection_pool", None)
    try:
        return client if pool is None else pool.get_connection(*_GET_CONNECTION_ARGUMENTS)
    except exceptions.RedisError as error:
        raise unavailable(error) from error


async def aacquire(client: redis.asyncio.Redis) -> Any:
    """Async version of `acquire`; return the connection to the pool afterwards."""
    pool: Any = client.connection_pool
    before = cancellations()
    try:
        connection = await pool.get_connection(*_GET_CONNECTION_ARGUMENTS)
    except exceptions.RedisError as error:
        raise unavailable(error) from error
    if cancellations() > before:
        await pool.release(connection)
        raise asyncio.CancelledError
    return connection


def release(client: redis.Redis, connection: Any) -> None:
    """Return a connection to the client's pool."""
    if connection is not client:
        client.connection_pool.release(connection)


def can_reserve(client: redis.Redis | redis.asyncio.Redis) -> bool:
    """Return whether the pool is large enough to reserve connections between calls."""
    pool = getattr(client, "connection_pool", None)
    return getattr(pool, "max_connections", 0) >= MIN_POOL_CONNECTIONS


async def close_idle_connections(client: redis.asyncio.Redis) -> None:
    """Close the connections of the pool that are not in use; they may lead to a former master."""
    await client.connection_pool.disconnect(inuse_connections=False)


async def reserve_connection(client: redis.asyncio.Redis, *, is_shared: bool) -> Any:
    """Return a new connection for `asend_commands`, for as long as the event loop runs.

    It is closed with the client, unless the pool is small, exhausted, or shared with other loops:
    these could not close it, so it is then outside of the pool.
    """
    pool: Any = client.connection_pool
    if is_shared or not can_reserve(client):
        return pool.make_connection()
    idle = []
    try:
        # An open connection may belong to another loop.
        while (connection := pool.get_available_connection()).is_connected:
            idle.append(connection)
    except exceptions.ConnectionError:
        connection = pool.make_connection()
    for each in idle:
        await pool.release(each)
    return connection
