"""Messages that a subscriber receives besides events. Does no I/O."""

from dataclasses import dataclass

from events.types import Event


@dataclass(frozen=True, slots=True)
class Live:
    """The subscriber has caught up; later events are delivered as they are appended."""


@dataclass(frozen=True, slots=True)
class End:
    """The job is finished, and the subscriber has received all of its events."""


@dataclass(frozen=True, slots=True)
class Restart:
    """The server shuts down; reconnect from the cursor after `retry` milliseconds.

    The delay differs per subscriber, so that they do not reconnect at the same time.
    """

    retry: int


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """Sent after KEEP_ALIVE seconds without another message, unless the log cannot be read."""


@dataclass(frozen=True, slots=True)
class Reset:
    """The log differs from what the subscriber received after the cursor `after`.

    Discard the events after `after`: the messages that follow start there. `reason` is a sentence.
    """

    reason: str
    after: str


Message = Event | Live | End | Restart | KeepAlive | Reset
