"""Asking Redis on a connection, again if it is lost, and what it says to us as ours."""

import asyncio
import logging
from time import monotonic, sleep
from typing import Any, Final

from redis import exceptions

from events import scripts
from events.conf import event_settings
from events.exceptions import EventsError, NotAStream, RedisRefused, RedisUnavailable, StaleEpoch
from events.scripts import Command

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


def _reply(connection: Any) -> Any:
    try:
        return connection.read_response()
    except exceptions.ResponseError as error:
        return error


def _understood(connection: Any, command: Command, reply: Any) -> Any:
    if isinstance(reply, exceptions.NoScriptError):
        connection.send_command(*scripts.with_source(command))
        reply = _reply(connection)
    return translated(reply, command) if isinstance(reply, exceptions.RedisError) else reply


async def close(connection: Any) -> None:
    """Close a connection without waiting for the other side."""
    try:
        await connection.disconnect(nowait=True)
    except RuntimeError:  # it was opened in a loop that is closed
        logger.debug("connection_of_closed_loop")


async def aask(connection: Any, *commands: Command) -> list[Any]:
    """The async twin of `ask`; cancelled, it leaves the connection fit for `close` only."""
    packed = connection.pack_commands(commands)
    started, before = monotonic(), cancellations()
    for pause in _PAUSES:
        try:
            await connection.send_packed_command(packed, check_health=False)
            replies = [await _areply(connection) for _ in commands]
            raise_lost_cancellation(before)
            return [
                await _aunderstood(connection, *pair)
                for pair in zip(commands, replies, strict=True)
            ]
        except _LOST as error:
            await close(connection)
            if not pause or monotonic() - started > event_settings.REDIS_TIMEOUT:
                raise unavailable(error) from error
        except exceptions.RedisError as error:
            raise unavailable(error) from error
        await asyncio.sleep(pause)
    raise RedisUnavailable


async def _areply(connection: Any) -> Any:
    try:
        return await connection.read_response()
    except exceptions.ResponseError as error:
        return error


async def _aunderstood(connection: Any, command: Command, reply: Any) -> Any:
    if isinstance(reply, exceptions.NoScriptError):
        await connection.send_command(*scripts.with_source(command))
        reply = await _areply(connection)
    return translated(reply, command) if isinstance(reply, exceptions.RedisError) else reply


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
        return StaleEpoch(f"{StaleEpoch.__doc__} Redis says: {error}.")
    if "WRONGTYPE" in str(error):
        return NotAStream(f"{NotAStream.__doc__} It was asked for {command[0]!r}.")
    return RedisRefused(f"Redis refused {command[0]!r}: {error}")
