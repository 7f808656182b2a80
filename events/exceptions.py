"""Exceptions of events/.

::

    EventsError
    ├── InvalidJobId, InvalidCursor, InvalidEvent (also ValueErrors)
    │                                └── EventTooLarge
    ├── ProducerFenced, OutOfOrderSequence, IdempotencyConflict, RetryExpired
    ├── CursorExpired, CursorLost, LogDeleted
    ├── JobCancelled, DeliveryRejected, InputPending
    └── NotAStream, RedisUnavailable, RedisCommandError, EmbeddedRedisError
                                      └── RedisNotWritable
                                          └── RedisOutOfMemory
"""

from collections.abc import Sequence
from typing import Any

from events.error_text import ErrorText


class EventsError(Exception):
    """An operation on a log failed."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or ErrorText((type(self).__doc__ or "").partition("\n")[0]))


class InvalidJobId(EventsError, ValueError):
    """A job_id is 1 to 64 of the characters A-Z, a-z, 0-9, _ and -."""


class InvalidCursor(EventsError, ValueError):
    """A cursor is an event id, <ms>-<seq>, or 0 for the start of the log."""


class InvalidEvent(EventsError, ValueError):
    """The event is not valid JSON data: every reader has to accept it."""


class EventTooLarge(InvalidEvent):
    """The event is larger than MAX_EVENT_BYTES."""


class NotAStream(EventsError):
    """The Redis key of the job is not a stream."""


class ProducerFenced(EventsError):
    """The job is at a later attempt; producers of this one are fenced."""


class OutOfOrderSequence(EventsError):
    """The events do not follow the producer's last one.

    `expected` is the next sequence number. If it is greater than that of the call, the call was
    appended before; if it is less, earlier events are missing.
    """

    def __init__(self, expected: int) -> None:
        super().__init__(
            ErrorText("This producer's next event has the number %(expected)s.", expected=expected)
        )
        self.expected = expected


class IdempotencyConflict(EventsError):
    """The idempotency key was used for other events of this job."""


class RetryExpired(EventsError):
    """The append is too old to be sent again: Redis may no longer recognise a repeated one."""


class CursorExpired(EventsError):
    """The log was truncated after this cursor.

    Events before the id `truncated_before` were deleted; `after` is the cursor before it.
    """

    def __init__(self, truncated_before: str, after: str) -> None:
        super().__init__(
            ErrorText(
                "The log was truncated: events after this cursor were removed; it begins at"
                " %(truncated_before)s.",
                truncated_before=truncated_before,
            )
        )
        self.truncated_before = truncated_before
        self.after = after


class CursorLost(EventsError):
    """The log has no event at this cursor, for example because Redis lost it.

    `after` is the cursor of the event before it: discard the events after `after`, and read on
    from there.
    """

    def __init__(self, after: str) -> None:
        super().__init__(
            ErrorText("The log has no event at this cursor. Read on after %(after)s.", after=after)
        )
        self.after = after


class LogDeleted(EventsError):
    """The job was deleted; its log accepts and returns no events."""


class JobCancelled(EventsError):
    """The job was cancelled; its tasks have to stop."""


class DeliveryRejected(EventsError):
    """The task must not be executed: its job is finished, or another worker executes it.

    `retry_in` is the number of seconds until the next attempt; None for no further attempt.
    """

    def __init__(self, message: str, retry_in: float | None = None) -> None:
        super().__init__(message)
        self.retry_in = retry_in


class InputPending(EventsError):
    """The task has to return, and is executed again when its input requests are answered.

    `questions` are the `events.execution.Question`s.
    """

    def __init__(self, questions: Sequence[Any]) -> None:
        super().__init__("The task awaits input.")
        self.questions = questions


class StreamsOwned(EventsError):
    """The streams in Redis belong to the archive of another project, or of another database."""


class RedisUnavailable(EventsError):
    """Redis did not answer.

    `pending` is the append of a publisher, which may have been applied; pass it to the publisher's
    `retry`. None if nothing was published. It is not pickled.
    """

    pending: Any = None

    def __reduce__(self) -> tuple[type["RedisUnavailable"], tuple[Any, ...]]:
        return type(self), self.args


class RedisCommandError(EventsError):
    """Redis rejected the command."""


class RedisNotWritable(RedisCommandError):
    """Redis refuses all writes, for example because its disk is full."""


class RedisOutOfMemory(RedisNotWritable):
    """Redis is out of memory and refuses new events."""


class EmbeddedRedisError(EventsError):
    """The embedded Redis could not be started."""
