"""Redis Cluster: commands are grouped by master and sent in one round trip to each.

A cluster client of redis-py finds the masters. It also repeats commands for keys that have moved:
it follows redirections, and updates its map of the slots. After a lost connection the map is read
again, and the commands are sent to the present masters.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from time import monotonic, sleep
from typing import Any, Final, cast

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

_DEFAULT_TIMEOUT_SECONDS: Final = 5.0

_Group = tuple[Any, list[int]]


def is_cluster(client: object) -> bool:
    """Return whether a client is one of a cluster."""
    return isinstance(client, (redis.RedisCluster, redis.asyncio.RedisCluster))


def node_of(client: Any, key: str) -> Any:
    """Return the master of a key's slot. Raises RedisUnavailable."""
    try:
        return client.nodes_manager.get_node_from_slot(key_slot(key.encode()))
    except CLIENT_ERRORS as error:
        raise unavailable(error) from error


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
        self.client = client
        self._connections: dict[str, tuple[Any, Any]] = {}

    def send_all(self, commands: Sequence[Command]) -> list[Any]:
        first = None
        if (node := _only_node(self.client, commands)) is not None:
            first = self._send(node, commands)
            if _is_final(first):
                return cast(list[Any], first)
        return drive(_steps(self, commands, run_on_cluster, sleep, first))

    def send_groups(self, commands: Sequence[Command], groups: Iterable[_Group]) -> list[Any]:
        """Return a list of replies, or an error, for each group."""
        return [self._send(node, [commands[n] for n in numbers]) for node, numbers in groups]

    def _send(self, node: Any, commands: Sequence[Command]) -> Any:
        try:
            if node.name not in self._connections:
                pool = self.client.get_redis_connection(node).connection_pool
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


class AsyncClusterSender:
    """Async version of `ClusterSender`; its connections are outside of the pools."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self._connections: dict[str, Any] = {}

    async def send_all(self, commands: Sequence[Command]) -> list[Any]:
        await initialize(self.client)
        first = None
        if (node := _only_node(self.client, commands)) is not None:
            first = await self._send(node, commands)
            if _is_final(first):
                return cast(list[Any], first)
        return await drive_async(_steps(self, commands, arun_on_cluster, asyncio.sleep, first))

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
            async with asyncio.timeout(socket_timeout(node)):
                return await asend_once(connection, commands)
        except (*CLIENT_ERRORS, TimeoutError) as error:
            await close_connection(connection)
            return error


@contextmanager
def masters_of(client: Any) -> Iterator[list[Any]]:
    """Enter with clients of the masters of a cluster; without one, with the client itself.

    If one of them is unavailable, the map of the slots is read again for the next call.
    """
    if not is_cluster(client):
        yield [client]
        return
    try:
        yield [client.get_redis_connection(node) for node in client.get_primaries()]
    except RedisUnavailable:
        with suppress(*CLIENT_ERRORS):
            client.nodes_manager.initialize()
        raise


def connection_to(source: Any) -> Any:
    """Return a new connection as of an async pool, or of a node of a cluster, outside of it.

    Its caller limits the time of a call to `socket_timeout`. A timeout of redis-py for each reply
    takes longer than reading it.
    """
    retry = AsyncRetry(NoBackoff(), 0)
    options = {**source.connection_kwargs, "retry": retry, "socket_timeout": None}
    return source.connection_class(**options)


def socket_timeout(source: Any) -> float:
    """Return the time limit of a pool, or of a node of a cluster, in seconds."""
    return source.connection_kwargs.get("socket_timeout") or _DEFAULT_TIMEOUT_SECONDS


def _only_node(client: Any, commands: Sequence[Command]) -> Any:
    """Return the master of the key of a single command, which most calls send; otherwise None."""
    key = key_of(commands[0]) if len(commands) == 1 else None
    with suppress(RedisUnavailable):
        return None if key is None else node_of(client, key)


def _is_final(outcome: Any) -> bool:
    return isinstance(outcome, list) and not isinstance(outcome[0], SlotMoved)


def _steps(
    sender: Any, commands: Sequence[Command], redirect: Any, pause: Any, first: Any = None
) -> Steps:
    """Send commands; see `events.streams.retry` for the steps and the retry policy.

    `first` is the outcome of the first attempt to send a single command.
    """
    client, replies, started = sender.client, dict[int, Any](), monotonic()
    for attempt, delay in enumerate(retry.RETRY_DELAYS_SECONDS):
        groups, errors, outcomes = [(None, [0])], list[Exception](), [first]
        if attempt or first is None:
            groups, errors = _grouped(client, commands, replies)
            outcomes = yield sender.send_groups, (commands, groups)
        for (_, numbers), outcome in zip(groups, outcomes, strict=True):
            if isinstance(outcome, Exception):
                errors.append(outcome)
            else:
                found = map(of_later_attempt, outcome) if attempt else outcome
                replies |= zip(numbers, found, strict=True)
        if not errors:
            break
        if not delay or monotonic() - started > event_settings.REDIS_TIMEOUT:
            raise unavailable(errors[0]) from errors[0]
        yield pause, (delay,)
        with suppress(*CLIENT_ERRORS):
            yield client.nodes_manager.initialize, ()
    for number, reply in replies.items():
        if isinstance(reply, SlotMoved):  # the client may send the command several times
            replies[number] = of_later_attempt((yield redirect, (client, commands[number])))
    return [replies[number] for number in range(len(commands))]


def _grouped(
    client: Any, commands: Sequence[Command], replies: Mapping[int, Any]
) -> tuple[list[_Group], list[Exception]]:
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
    return list(groups.values()), errors


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
