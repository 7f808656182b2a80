"""What can go wrong with a log, as one tree.

::

    EventsError
    ├── InvalidJobId         (also a ValueError)
    ├── InvalidCursor        (also a ValueError)
    ├── InvalidEvent         (also a ValueError)
    │   └── EventTooLarge
    ├── NotAStream
    ├── ProducerFenced
    ├── OutOfOrderSequence
    ├── CursorExpired
    ├── JobCancelled
    ├── DeliveryRejected
    ├── InputPending
    ├── RedisUnavailable
    ├── RedisCommandError
    └── EmbeddedRedisError
"""

from collections.abc import Sequence
from typing import Any


class EventsError(Exception):
    """The log could not do what was asked."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or type(self).__doc__)


class InvalidJobId(EventsError, ValueError):
    """A job_id is 1 to 64 of the characters A-Z, a-z, 0-9, _ and -."""


class InvalidCursor(EventsError, ValueError):
    """A cursor is an event id, <ms>-<seq>, or 0 for the start of the log."""


class InvalidEvent(EventsError, ValueError):
    """The event cannot be written as JSON that every reader accepts."""


class EventTooLarge(InvalidEvent):
    """The event is larger than MAX_EVENT_BYTES."""


class NotAStream(EventsError):
    """The job's Redis key holds something else than a stream."""


class ProducerFenced(EventsError):
    """The job is at a later attempt: whoever publishes for this one has been given up."""


class OutOfOrderSequence(EventsError):
    """The call does not follow on the producer's last.

    `expected` is the number that comes next. If it is above the call's, that was appended before;
    if it is below, something before it is missing.
    """

    def __init__(self, expected: int) -> None:
        super().__init__(f"This producer's next event has the number {expected}.")
        self.expected = expected


class CursorExpired(EventsError):
    """The log was cut behind this cursor: events after it are not kept any more.

    `first` is the id at which the log begins, `after` the cursor from which it can be read.
    """

    def __init__(self, first: str, after: str) -> None:
        super().__init__(
            f"The log was cut, and events after this cursor are gone; it begins at {first}."
        )
        self.first = first
        self.after = after


class JobCancelled(EventsError):
    """The job was cancelled: whoever works on it is to stop."""


class DeliveryRejected(EventsError):
    """The task is not to be run: its job is over, or another worker has it.

    `retry_in` are the seconds after which it may be tried again; None if it never may.
    """

    def __init__(self, message: str, retry_in: float | None = None) -> None:
        super().__init__(message)
        self.retry_in = retry_in


class InputPending(EventsError):
    """A person has to answer before the task can go on; it is to end, and is run again then.

    `questions` are the `events.execution.run.Question`s.
    """

    def __init__(self, questions: Sequence[Any]) -> None:
        super().__init__()
        self.questions = questions


class RedisUnavailable(EventsError):
    """Redis did not answer."""


class RedisCommandError(EventsError):
    """Redis answered, and refused the command."""


class EmbeddedRedisError(EventsError):
    """The embedded Redis could not be started."""
