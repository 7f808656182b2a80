"""What can go wrong with a log, as one tree.

::

    EventsError
    ├── InvalidJobId         (also a ValueError)
    ├── InvalidCursor        (also a ValueError)
    ├── InvalidEvent         (also a ValueError)
    │   └── EventTooLarge
    ├── NotAStream
    ├── RedisUnavailable
    ├── RedisRefused
    │   └── ScriptUnknown
    └── EmbeddedRedisError
"""


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


class RedisUnavailable(EventsError):
    """Redis did not answer."""


class RedisRefused(EventsError):
    """Redis answered, and refused the command."""


class ScriptUnknown(RedisRefused):
    """Redis does not have the script."""


class EmbeddedRedisError(EventsError):
    """The embedded Redis could not be started."""
