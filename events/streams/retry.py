"""Asking Redis on a connection, again if it is lost, and what it says to us as ours."""

import asyncio
import logging
from collections.abc import Sequence
from time import monotonic, sleep
from typing import Any, Final

import hiredis
from redis import exceptions

from events.conf import event_settings
from events.exceptions import (
    EventsError,
    NotAStream,
    OutOfOrderSequence,
    ProducerFenced,
    RedisCommandError,
    RedisUnavailable,
)
from events.streams import scripts
from events.streams.scripts import Command

logger = logging.getLogger(__name__)

# Seconds before each further try of what is safe to repeat; at the end, none is made.
_PAUSES: Final = (0.02, 0.1, 0.5, 0.0)
_LOST: Final = (exceptions.ConnectionError, exceptions.TimeoutError)


def ask(connection: Any, *commands: Command) -> list[Any]:
    """Send commands and read what Redis answers to each; a refusal is an EventsError in the list.

    If the connection is lost, all are sent again: they must be safe to repeat. Raises
    RedisUnavailable.
    """
    if not hasattr(connection, "pack_command"):
        return [_run_on_cluster(connection, command) for command in commands]
    packed, started = _packed(commands), monotonic()
    for pause in _PAUSES:
        try:
            connection.send_packed_command(packed, check_health=False)
            return _replies(connection, commands)
        except _LOST as error:
            connection.disconnect()
            if not pause or monotonic() - started > event_settings.REDIS_TIMEOUT:
                raise unavailable(error) from error
        except exceptions.RedisError as error:  # a new connection is refused for good
            raise unavailable(error) from error
        except BaseException:
            # Somebody stopped us, wherever we were: an answer may come that nobody waits for.
            connection.disconnect()
            raise
        sleep(pause)
    raise RedisUnavailable


def _run_on_cluster(client: Any, command: Command) -> Any:
    """Redis's answer, or its refusal; the cluster repeats a command by itself."""
    for attempt in (command, scripts.with_source(command)):
        try:
            return client.execute_command(*attempt)
        except exceptions.NoScriptError:
            continue
        except exceptions.ResponseError as error:
            return translated(error, command)
        except exceptions.RedisError as error:
            raise unavailable(error) from error
    raise RedisUnavailable


def _packed(commands: Sequence[Command]) -> list[bytes]:
    """The commands as they are sent; redis-py looks at each argument three times."""
    pack: Any = hiredis.pack_command  # typed as if a command had one word
    return [b"".join(map(pack, commands))]


def _replies(connection: Any, commands: Sequence[Command]) -> list[Any]:
    """What Redis answers to each; all is read before anything more is sent."""
    replies = []
    for _ in commands:
        try:
            replies.append(connection.read_response())
        except exceptions.ResponseError as error:
            replies.append(error)
    for number, reply in enumerate(replies):
        if isinstance(reply, exceptions.ResponseError):
            replies[number] = _refusal(connection, commands[number], reply)
    return replies


def _refusal(connection: Any, command: Command, error: exceptions.ResponseError) -> Any:
    """The error as ours; if Redis has not got the script, what it answers to the source."""
    if not isinstance(error, exceptions.NoScriptError):
        return translated(error, command)
    connection.send_command(*scripts.with_source(command))
    try:
        return connection.read_response()
    except exceptions.ResponseError as refusal:
        return translated(refusal, command)


async def exchange(connection: Any, commands: Sequence[Command]) -> list[Any]:
    """Send commands on an open connection, once, and read what Redis answers to each.

    A refusal is an EventsError in the list. Raises redis.exceptions.RedisError if it is lost.
    """
    before = cancellations()
    await connection.send_packed_command(_packed(commands), check_health=False)
    raise_lost_cancellation(before)  # or the answer may be waited for as long as Redis may block
    replies: list[Any] = []
    for command in commands:
        try:
            replies.append(await connection.read_response())
        except exceptions.ResponseError as error:
            replies.append(translated(error, command))
    raise_lost_cancellation(before)
    return replies


async def close(connection: Any) -> None:
    """Close a connection without waiting for the other side."""
    try:
        await connection.disconnect(nowait=True)
    except RuntimeError:  # it was opened in a loop that is closed
        logger.debug("connection_of_closed_loop")


async def aask(connection: Any, *commands: Command) -> list[Any]:
    """The async twin of `ask`; cancelled, it leaves the connection fit for `close` only."""
    packed, started, before = _packed(commands), monotonic(), cancellations()
    for pause in _PAUSES:
        try:
            await connection.send_packed_command(packed, check_health=False)
            return await _areplies(connection, commands, before)
        except _LOST as error:
            await close(connection)
            if not pause or monotonic() - started > event_settings.REDIS_TIMEOUT:
                raise unavailable(error) from error
        except exceptions.RedisError as error:
            raise unavailable(error) from error
        await asyncio.sleep(pause)
    raise RedisUnavailable


async def _areplies(connection: Any, commands: Sequence[Command], before: int) -> list[Any]:
    """The async twin of `_replies`."""
    replies = []
    for _ in commands:
        try:
            replies.append(await connection.read_response())
        except exceptions.ResponseError as error:
            replies.append(error)
    raise_lost_cancellation(before)
    for number, reply in enumerate(replies):
        if isinstance(reply, exceptions.ResponseError):
            replies[number] = await _arefusal(connection, commands[number], reply)
    return replies


async def _arefusal(connection: Any, command: Command, error: exceptions.ResponseError) -> Any:
    """The async twin of `_refusal`."""
    if not isinstance(error, exceptions.NoScriptError):
        return translated(error, command)
    await connection.send_command(*scripts.with_source(command))
    try:
        return await connection.read_response()
    except exceptions.ResponseError as refusal:
        return translated(refusal, command)


def cancellations() -> int:
    """How often this task was asked to end."""
    task = asyncio.current_task()
    return task.cancelling() if task is not None else 0


def raise_lost_cancellation(before: int) -> None:
    """Python 3.11's wait_for, by which redis-py writes, loses one that comes as it ends."""
    if cancellations() > before:
        raise asyncio.CancelledError


def unavailable(error: exceptions.RedisError) -> RedisUnavailable:
    """A lost connection as our error."""
    return RedisUnavailable(f"Redis did not answer: {error}")


def translated(error: exceptions.RedisError, command: Command) -> EventsError:
    """redis-py's error as ours."""
    if isinstance(error, _LOST):
        return unavailable(error)
    if str(error).startswith(scripts.STALE_EPOCH):
        return ProducerFenced(f"{ProducerFenced.__doc__} Redis says: {error}.")
    if str(error).startswith(scripts.OUT_OF_ORDER):
        return OutOfOrderSequence(int(str(error).split()[1]))
    if "WRONGTYPE" in str(error):
        return NotAStream(f"{NotAStream.__doc__} It was asked for {command[0]!r}.")
    return RedisCommandError(f"Redis refused {command[0]!r}: {error}")
