"""Translation of redis-py's errors into those of `events.exceptions`."""

from typing import Final

from redis import exceptions

from events.exceptions import (
    EventsError,
    IdempotencyConflict,
    NotAStream,
    OutOfOrderSequence,
    ProducerFenced,
    RedisCommandError,
    RedisUnavailable,
)
from events.streams import scripts
from events.streams.scripts import Command

CONNECTION_ERRORS: Final = (exceptions.ConnectionError, exceptions.TimeoutError)


def unavailable(error: Exception) -> RedisUnavailable:
    """Return the error for a lost connection."""
    return RedisUnavailable(f"Redis did not answer: {error}")


def translated(error: exceptions.RedisError, command: Command) -> EventsError:
    """Return the error of this package for an error that redis-py raised for a command."""
    if isinstance(error, CONNECTION_ERRORS):
        return unavailable(error)
    if str(error).startswith(scripts.STALE_EPOCH):
        return ProducerFenced(f"{ProducerFenced.__doc__} Redis replied: {error}.")
    if str(error).startswith(scripts.OUT_OF_ORDER):
        return OutOfOrderSequence(int(str(error).split()[1]))
    if str(error).startswith(scripts.KEY_CONFLICT):
        return IdempotencyConflict()
    if "WRONGTYPE" in str(error):
        return NotAStream(f"{NotAStream.__doc__} The command was {command[0]!r}.")
    return RedisCommandError(f"Redis refused {command[0]!r}: {error}")
