"""Redis Cluster: commands are grouped by master and sent in one round trip to each.

A cluster client of redis-py finds the masters. It also repeats commands for keys that have moved:
it follows redirections, and updates its map of the slots. After a lost connection the map is read
again, and the commands are sent to the present masters.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from time import monotonic, sleep
from typing import Any, Final

import redis
import redis.asyncio
from redis import exceptions
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.client import NEVER_DECODE
from redis.crc import key_slot

from events.conf import event_settings
from events.exceptions import RedisUnavailable
from events.streams import retry, scripts
from events.streams.commands import key_of
from events.streams.retry import (
    CLIENT_ERRORS,
    SlotMoved,
    Steps,
    asend_once,
    cancellations,
    close_connection,
    drive,
    drive_async,
    of_later_attempt,
    raise_lost_cancellation,
    send_once,
    translated,
    unavailable,
)
from events.streams.scripts import Command

# Before 5.3, redis-py requires the name of a command, and ignores it.
GET_CONNECTION_ARGUMENTS: Final = () if redis.VERSION >= (5, 3) else ("EVALSHA",)

_Group = tuple[Any, list[int]]


def is_cluster(client: object) -> bool:
    """Return whether a client is one of a cluster."""
    return isinstance(client, (redis.RedisCluster, redis.asyncio.RedisCluster))


def node_of(client: Any, key: str) -> Any:
    """Return the master of a key's slot. Raises RedisUnavailable."""
    try:
        return client.nodes_manager.get_node_from_slot(_slot(key))
    except CLIENT_ERRORS as error:
        raise unavailable(error) from error


@lru_cache(maxsize=1024)
def _slot(key: str) -> int:
    return key_slot(key.encode())


async def find_node(client: Any, key: str) -> Any:
    """Return the master of a key of an async cluster client; None for other clients.

    Raises RedisUnavailable.
    """
    if not is_cluster(client):
        return None
    await initialize(client)
    return node_of(client, key)


async def initialize(client: Any) -> None:
    """Find the nodes of the cluster, if that was not done yet. Raises RedisUnavailable."""
    try:
        await client.initialize()
    except CLIENT_ERRORS as error:
        raise unavailable(error) from error


class ClusterSender:
    """Sends commands that are safe to repeat to the masters of their keys.

    `send_commands` accepts it in place of a connection. It keeps a connection to each master.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._connections: dict[str, tuple[Any, Any]] = {}

    def send_all(self, commands: Sequence[Command]) -> list[Any]:
        replies = None
        if len(commands) == 1 and (key := key_of(commands[0])) is not None:
            replies = self._send(node_of(self._client, key), commands)
            if isinstance(replies, list) and not isinstance(replies[0], SlotMoved):
                return replies
        return drive(_steps(self, self._client, commands, sleep, attempted=replies is not None))

    def send_groups(self, commands: Sequence[Command], groups: Iterable[_Group]) -> list[Any]:
        """Return a list of replies, or an error, for each group."""
        return [self._send(node, [commands[n] for n in numbers]) for node, numbers in groups]

    def _send(self, node: Any, commands: Sequence[Command]) -> Any:
        try:
            if node.name not in self._connections:
                pool = self._client.get_redis_connection(node).connection_pool
                connection = pool.get_connection(*GET_CONNECTION_ARGUMENTS)
                self._connections[node.name] = pool, connection
            return send_once(self._connections[node.name][1], commands)
        except CLIENT_ERRORS as error:
            self._release(node.name)
            return error

    def _release(self, name: str) -> None:
        if name in self._connections:
            pool, connection = self._connections.pop(name)
            pool.release(connection)

    def disconnect(self) -> None:
        """Return the connections to the pools of their nodes."""
        for name in list(self._connections):
            self._release(name)

    def refresh(self) -> None:
        """Read the map of the slots again. Raises redis.exceptions.RedisError."""
        try:
            self._client.nodes_manager.initialize()
        except exceptions.RedisClusterException as error:
            raise exceptions.ConnectionError(str(error)) from error

    def redirect(self, command: Command) -> Any:
        return run_on_cluster(self._client, command)


class AsyncClusterSender:
    """Async version of `ClusterSender`; its connections are outside of the pools."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._connections: dict[str, Any] = {}

    async def send_all(self, commands: Sequence[Command]) -> list[Any]:
        if not self._connections:
            await initialize(self._client)
        replies = None
        if len(commands) == 1 and (key := key_of(commands[0])) is not None:
            replies = await self._send(node_of(self._client, key), commands)
            if isinstance(replies, list) and not isinstance(replies[0], SlotMoved):
                return replies
        steps = _steps(self, self._client, commands, asyncio.sleep, attempted=replies is not None)
        return await drive_async(steps)

    async def disconnect(self, *, nowait: bool = True) -> None:
        while self._connections:
            await close_connection(self._connections.popitem()[1])

    async def send_groups(self, commands: Sequence[Command], groups: Iterable[_Group]) -> list[Any]:
        sends = [self._send(node, [commands[n] for n in numbers]) for node, numbers in groups]
        return [await sends[0]] if len(sends) == 1 else await asyncio.gather(*sends)

    async def _send(self, node: Any, commands: Sequence[Command]) -> Any:
        if (connection := self._connections.get(node.name)) is None:
            connection = self._connections[node.name] = connection_to(node)
        try:
            return await asend_once(connection, commands)
        except CLIENT_ERRORS as error:
            await close_connection(connection)
            return error

    async def refresh(self) -> None:
        try:
            await self._client.nodes_manager.initialize()
        except exceptions.RedisClusterException as error:
            raise exceptions.ConnectionError(str(error)) from error

    async def redirect(self, command: Command) -> Any:
        return await arun_on_cluster(self._client, command)


def masters_of(client: Any) -> list[Any]:
    """Return clients of the masters of a cluster; without one, the client itself."""
    if not is_cluster(client):
        return [client]
    return [client.get_redis_connection(node) for node in client.get_primaries()]


def connection_to(node: Any, **overrides: Any) -> Any:
    """Return a new connection to a node of an async cluster client, outside of its pool."""
    options = {**node.connection_kwargs, "retry": AsyncRetry(NoBackoff(), 0), **overrides}
    return node.connection_class(**options)


def _steps(
    sender: Any, client: Any, commands: Sequence[Command], pause: Any, *, attempted: bool
) -> Steps:
    """Send commands; see `events.streams.retry` for the steps and the retry policy."""
    replies: dict[int, Any] = {}
    started, error = monotonic(), Exception()
    for attempt, delay in enumerate(retry.RETRY_DELAYS_SECONDS):
        groups, failed = _grouped(client, commands, replies)
        outcomes = yield sender.send_groups, (commands, groups.values())
        for (_, numbers), outcome in zip(groups.values(), outcomes, strict=True):
            if isinstance(outcome, Exception):
                failed.append(outcome)
            else:
                found = map(of_later_attempt, outcome) if attempt or attempted else outcome
                replies |= zip(numbers, found, strict=True)
        if not failed:
            break
        error = failed[0]
        if not delay or monotonic() - started > event_settings.REDIS_TIMEOUT:
            raise unavailable(error) from error
        yield pause, (delay,)
        try:
            yield sender.refresh, ()
        except exceptions.RedisError as unreachable:
            error = unreachable
    for number, reply in replies.items():
        if isinstance(reply, SlotMoved):
            replies[number] = yield sender.redirect, (commands[number],)
    return [replies[number] for number in range(len(commands))]


def _grouped(
    client: Any, commands: Sequence[Command], replies: Mapping[int, Any]
) -> tuple[dict[str, _Group], list[Exception]]:
    """Group the commands without a reply by master; return also the errors of others."""
    groups: dict[str, _Group] = {}
    errors: list[Exception] = []
    for number, command in enumerate(commands):
        if number in replies:
            continue
        key = key_of(command)
        try:
            node = client.get_default_node() if key is None else node_of(client, key)
        except RedisUnavailable as error:
            errors.append(error)
        else:
            groups.setdefault(node.name, (node, []))[1].append(number)
    return groups, errors


def run_on_cluster(client: Any, command: Command) -> Any:
    """Return the reply, or an EventsError; the client follows redirections and retries."""
    execute = client.execute_command
    try:
        try:
            return execute(*command, **_OPTIONS)
        except exceptions.NoScriptError:
            return execute(*scripts.with_source(command), **_OPTIONS)
    except CLIENT_ERRORS as error:
        return translated(error, command)


async def arun_on_cluster(client: Any, command: Command) -> Any:
    """Async version of `run_on_cluster`."""
    execute, before = client.execute_command, cancellations()
    try:
        try:
            reply = await execute(*command, **_OPTIONS)
        except exceptions.NoScriptError:
            reply = await execute(*scripts.with_source(command), **_OPTIONS)
    except CLIENT_ERRORS as error:
        return translated(error, command)
    raise_lost_cancellation(before)
    return reply


_OPTIONS: Final[dict[str, Any]] = {NEVER_DECODE: True}
