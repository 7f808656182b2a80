"""Connections taken out of a client's pool, to be used by one caller."""

import asyncio
import logging
from collections.abc import Sequence
from time import monotonic
from typing import Any, Final, Self

import redis
import redis.asyncio
from redis import exceptions

from events.exceptions import EventsError, RedisUnavailable
from events.streams import commands
from events.streams.cluster import (
    GET_CONNECTION_ARGUMENTS,
    AsyncClusterSender,
    ClusterSender,
    connection_to,
    is_cluster,
    socket_timeout,
)
from events.streams.retry import (
    CLIENT_ERRORS,
    asend_commands,
    asend_once,
    cancellations,
    close_connection,
    raise_lost_cancellation,
    raised,
    send_commands,
    translated,
    unavailable,
)
from events.streams.scripts import Command

logger = logging.getLogger(__name__)

# Connections are reserved between calls only where the pool may have this many.
MIN_POOL_CONNECTIONS: Final = 20
ROLE_SECONDS: Final = 5.0


class PinnedConnection:
    """An async connection that is never reopened.

    All replies come from the same Redis process: after a restart, which may have lost data, the
    connection raises RedisUnavailable.
    """

    def __init__(self, source: Any) -> None:
        self._connection, self._timeout = connection_to(source), socket_timeout(source)
        self._is_usable = True

    @classmethod
    async def open(cls, client: redis.asyncio.Redis, node: Any = None) -> Self:
        """Open a connection outside of the client's pool, which may be small.

        `node` is that of a cluster. Raises RedisUnavailable.
        """
        pinned = cls(node or client.connection_pool)
        before = cancellations()
        try:
            async with asyncio.timeout(pinned._timeout):
                await pinned._connection.connect()
            raise_lost_cancellation(before)
        except (exceptions.RedisError, TimeoutError) as error:
            await pinned.close()
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
            async with asyncio.timeout(self._timeout):
                replies = await asend_once(self._connection, requests)
        except (exceptions.RedisError, TimeoutError) as error:
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

    For a cluster client, return a sender, which selects a connection for each key.
    """
    if is_cluster(client):
        return ClusterSender(client)
    pool: Any = client.connection_pool
    connection = None
    try:
        connection = pool.get_connection(*GET_CONNECTION_ARGUMENTS)
        if _must_check_role(connection):
            (reply,) = send_commands(connection, commands.hello())
            if _is_of_replica(reply):
                connection.disconnect()
                connection.connect()
        return connection  # noqa: TRY300 - a signal handler may raise before it returns
    except BaseException as error:
        if connection is not None:
            pool.release(connection)
        if isinstance(error, exceptions.RedisError):
            raise unavailable(error) from error
        raise


async def aacquire(client: redis.asyncio.Redis) -> Any:
    """Async version of `acquire`; return the connection to the pool afterwards."""
    pool: Any = client.connection_pool
    before = cancellations()
    connection = None
    try:
        connection = await pool.get_connection(*GET_CONNECTION_ARGUMENTS)
        if _must_check_role(connection):
            (reply,) = await asend_commands(connection, commands.hello())
            if _is_of_replica(reply):
                await close_connection(connection)
        raise_lost_cancellation(before)
    except BaseException as error:
        if connection is not None:
            await close_connection(connection)
            await pool.release(connection)
        if isinstance(error, exceptions.RedisError):
            raise unavailable(error) from error
        raise
    return connection


def _must_check_role(connection: Any) -> bool:
    """Return whether the role of the node was not queried recently; record that it is now.

    After a failover, a former master that leaves connections open would be read for ever.
    """
    now = monotonic()
    if now < getattr(connection, "_job_events_role_until", 0.0):
        return False
    connection._job_events_role_until = now + ROLE_SECONDS  # noqa: SLF001 - an attribute of ours
    return True


def _is_of_replica(reply: Any) -> bool:
    return not isinstance(reply, EventsError) and commands.id_and_role(reply)[1] != "master"


def release(client: redis.Redis, connection: Any) -> None:
    """Return a connection to the client's pool."""
    if isinstance(connection, ClusterSender):
        connection.disconnect()
    else:
        client.connection_pool.release(connection)


def can_reserve(client: Any) -> bool:
    """Return whether the pool is large enough to reserve connections between calls."""
    if is_cluster(client):
        options: Any = client.nodes_manager.connection_kwargs
        return bool(options.get("max_connections", MIN_POOL_CONNECTIONS) >= MIN_POOL_CONNECTIONS)
    return getattr(client.connection_pool, "max_connections", 0) >= MIN_POOL_CONNECTIONS


async def forget_nodes(client: Any) -> None:
    """Forget where commands were sent: after a failover it may be a former master."""
    try:
        if is_cluster(client):
            await client.nodes_manager.initialize()
        else:
            await client.connection_pool.disconnect(inuse_connections=False)
    except CLIENT_ERRORS as error:
        logger.debug("nodes_not_found", extra={"error": str(error)})


async def reserve_connection(client: redis.asyncio.Redis, *, is_shared: bool) -> Any:
    """Return a new connection for `asend_commands`, for as long as the event loop runs.

    It is closed with the client, unless the pool is small, exhausted, or shared with other loops:
    these could not close it, so it is then outside of the pool.
    """
    if is_cluster(client):
        return AsyncClusterSender(client)
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
