"""Send commands with retry, and translate redis-py's errors into those of `events.exceptions`.

One generator yields the I/O steps, for a sync and an async driver.
"""

import asyncio
import logging
from collections.abc import Generator, Sequence
from time import monotonic, sleep
from typing import Any, Final

import hiredis
from redis import exceptions

from events.conf import event_settings
from events.exceptions import (
    EventsError,
    IdempotencyConflict,
    LogDeleted,
    NotAStream,
    OutOfOrderSequence,
    ProducerFenced,
    RedisCommandError,
    RedisNotWritable,
    RedisOutOfMemory,
    RedisUnavailable,
)
from events.streams import scripts
from events.streams.scripts import Command

logger = logging.getLogger(__name__)

# The delay before each further attempt; there is none after the last.
RETRY_DELAYS_SECONDS: Final = (0.02, 0.1, 0.5, 0.0)

# What clients raise. RedisClusterException is no RedisError.
CLIENT_ERRORS: Final = (exceptions.RedisError, exceptions.RedisClusterException)
_CONNECTION_ERRORS: Final = (exceptions.ConnectionError, exceptions.TimeoutError)
# Replies of a node that cannot run commands now, such as a former master after a failover. It has
# not run the command; a new connection may lead to another node.
_NODE_ERRORS: Final = (
    exceptions.ReadOnlyError,
    exceptions.ClusterDownError,  # and MasterDownError
    exceptions.TryAgainError,
)
# redis-py has no classes for the first; before 6, it has the others in cluster clients only.
_NODE_ERROR_CODES: Final = (
    *("UNBLOCKED ", "NOREPLICAS ", "BUSY "),
    *("MASTERDOWN ", "CLUSTERDOWN ", "TRYAGAIN "),
)
_MOVED_CODES: Final = ("MOVED ", "ASK ")

_ERRORS_BY_PREFIX: Final[dict[str, type[EventsError]]] = {
    "KEYCONFLICT": IdempotencyConflict,
    "LOGDELETED": LogDeleted,
    "OOM": RedisOutOfMemory,
}

# `disable_decoding` of redis-py: replies are bytes, also of a client with `decode_responses`.
_AS_BYTES: Final = (True,)


class SlotMoved(RedisUnavailable):
    """The key is on another node of a Redis Cluster; this needs a client of a cluster."""


# A step is a function and its arguments. The driver calls it, in async code awaits the result,
# and sends the result back.
Steps = Generator[tuple[Any, tuple[Any, ...]], Any, Any]


def send_commands(connection: Any, *commands: Command) -> list[Any]:
    """Send commands and return their replies; an error reply is an EventsError in the list.

    After a lost connection, or a reply of a node that cannot run commands now, all commands are
    sent again on a new connection, so they must be safe to repeat. A command that Redis refuses in
    a later attempt may have been run in an earlier one: its error is then RedisUnavailable. Raises
    RedisUnavailable.
    """
    if not hasattr(connection, "pack_command"):  # a ClusterSender
        cluster_replies: list[Any] = connection.send_all(commands)
        return cluster_replies
    return _drive(connection, _attempts(connection, commands, _disconnect, sleep))


async def asend_commands(connection: Any, *commands: Command) -> list[Any]:
    """Async version of `send_commands`; a cancelled call leaves the connection to be closed."""
    if not hasattr(connection, "pack_command"):
        cluster_replies: list[Any] = await connection.send_all(commands)
        return cluster_replies
    return await drive_async(_attempts(connection, commands, close_connection, asyncio.sleep))


def send_once(connection: Any, commands: Sequence[Command]) -> list[Any]:
    """Send commands without retry; return what `send_commands` returns.

    Raises redis.exceptions.RedisError if the connection is lost.
    """
    return _drive(connection, _attempts(connection, commands))


async def asend_once(connection: Any, commands: Sequence[Command]) -> list[Any]:
    """Async version of `send_once`; a failed call leaves the connection to be closed."""
    return await drive_async(_attempts(connection, commands))


def _drive(connection: Any, steps: Steps) -> list[Any]:
    try:
        return drive(steps)
    except BaseException:
        # A signal handler may raise anywhere. An unread reply must not reach the next caller.
        connection.disconnect()
        raise


def drive(steps: Steps) -> list[Any]:
    """Run the steps of a generator, and return its result."""
    try:
        function, arguments = next(steps)
        while True:
            try:
                result = function(*arguments)
            except CLIENT_ERRORS as error:
                function, arguments = steps.throw(error)
            else:
                function, arguments = steps.send(result)
    except StopIteration as stop:
        replies: list[Any] = stop.value
        return replies


async def close_connection(connection: Any) -> None:
    """Close a connection without waiting for the other side."""
    try:
        await connection.disconnect(nowait=True)
    except RuntimeError:  # its event loop is closed
        logger.debug("connection_of_closed_loop")


def _disconnect(connection: Any) -> None:
    connection.disconnect()


async def drive_async(steps: Steps) -> list[Any]:
    """Async version of `drive`."""
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    try:
        function, arguments = next(steps)
        while True:
            try:
                result = await function(*arguments)
            except CLIENT_ERRORS as error:
                function, arguments = steps.throw(error)
            else:
                if task is not None and task.cancelling() > before:
                    raise asyncio.CancelledError  # see raise_lost_cancellation
                function, arguments = steps.send(result)
    except StopIteration as stop:
        replies: list[Any] = stop.value
        return replies


def _attempts(
    connection: Any, commands: Sequence[Command], disconnect: Any = None, pause: Any = None
) -> Steps:
    """Send all commands, then read all replies; without `disconnect`, only once."""
    packed, started = _packed(commands), monotonic()
    for attempt, delay in enumerate(RETRY_DELAYS_SECONDS):
        try:
            yield from _connect(connection, again=attempt > 0)
            yield connection.send_packed_command, (packed, False)
            replies: list[Any] = []
            for _ in commands:
                try:
                    replies.append((yield connection.read_response, _AS_BYTES))
                except exceptions.ResponseError as error:
                    replies.append(error)
            for number, reply in enumerate(replies):
                if isinstance(reply, exceptions.ResponseError):
                    replies[number] = yield from _error_reply(connection, commands[number], reply)
        except exceptions.RedisError as error:
            if disconnect is None:
                raise
            yield disconnect, (connection,)
            is_over = not delay or monotonic() - started > event_settings.REDIS_TIMEOUT
            if is_over or not isinstance(error, _CONNECTION_ERRORS):
                raise unavailable(error) from error
            yield pause, (delay,)
        else:
            return [of_later_attempt(reply) for reply in replies] if attempt else replies
    raise RedisUnavailable


def _connect(connection: Any, *, again: bool) -> Steps:
    """Open a closed connection. Sending opens it, too, but not to the master of Sentinel."""
    if again or not getattr(connection, "is_connected", True):
        yield connection.connect, ()


def _error_reply(connection: Any, command: Command, error: exceptions.ResponseError) -> Steps:
    """Return the EventsError for an error reply; send the source of a script that Redis lacks.

    Raises redis.exceptions.ConnectionError if the connection is of no use.
    """
    if isinstance(error, exceptions.NoScriptError):
        source = scripts.with_source(command)
        yield connection.send_packed_command, (_packed([source]), False)
        try:
            return (yield connection.read_response, _AS_BYTES)
        except exceptions.ResponseError as second:
            error = second
    if _is_node_error(error):
        raise exceptions.ConnectionError(str(error)) from error
    return translated(error, command)


def _is_node_error(error: Exception) -> bool:
    return isinstance(error, _NODE_ERRORS) or str(error).startswith(_NODE_ERROR_CODES)


def _packed(commands: Sequence[Command]) -> list[bytes]:
    """Return the bytes to send; redis-py's own packing inspects each argument three times."""
    pack: Any = hiredis.pack_command  # its annotation allows commands of one word only
    return [b"".join(map(pack, commands))]


def of_later_attempt(reply: Any) -> Any:
    """Return RedisUnavailable for a refusal: an earlier attempt may have been run."""
    return RedisUnavailable(str(reply)) if isinstance(reply, RedisCommandError) else reply


def unavailable(error: Exception) -> RedisUnavailable:
    """Return the error for a lost connection."""
    return RedisUnavailable(f"Redis did not answer: {error}")


def translated(error: Exception, command: Command) -> EventsError:
    """Return the error of this package for an error that redis-py raised for a command."""
    if isinstance(error, exceptions.AskError) or str(error).startswith(_MOVED_CODES):
        return SlotMoved(f"{SlotMoved.__doc__} Redis replied: {error}.")  # MovedError, too
    if not isinstance(error, exceptions.ResponseError) or _is_node_error(error):
        return unavailable(error)
    return _refusal(error, command)


def _refusal(error: exceptions.ResponseError, command: Command) -> EventsError:
    text = str(error)
    if text.startswith("STALEEPOCH"):
        return ProducerFenced(f"{ProducerFenced.__doc__} Redis replied: {error}.")
    if text.startswith("OUTOFORDER"):
        return OutOfOrderSequence(int(text.split()[1]))
    prefix = "OOM" if "'maxmemory'" in text else text.partition(" ")[0]  # redis-py removes it
    if prefix in _ERRORS_BY_PREFIX:
        return _ERRORS_BY_PREFIX[prefix]()
    if "WRONGTYPE" in text:
        return NotAStream(f"{NotAStream.__doc__} The command was {command[0]!r}.")
    is_not_writable = prefix == "MISCONF" or isinstance(error, exceptions.ReadOnlyError)
    kind = RedisNotWritable if is_not_writable else RedisCommandError
    return kind(f"Redis refused {command[0]!r}: {error}")


def cancellations() -> int:
    """Return how many times the current task was cancelled."""
    task = asyncio.current_task()
    return task.cancelling() if task is not None else 0


def raise_lost_cancellation(before: int) -> None:
    """Raise CancelledError if the current task was cancelled since it counted `before`.

    redis-py writes under `wait_for`, which in Python 3.11 loses a cancellation that arrives as it
    returns.
    """
    if cancellations() > before:
        raise asyncio.CancelledError


def raised(reply: Any, kind: type[EventsError] = EventsError) -> Any:
    """Return a reply, or raise the error that stands for an error reply."""
    if isinstance(reply, kind):
        raise reply
    return reply
