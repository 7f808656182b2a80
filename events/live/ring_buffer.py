"""The latest events of a stream, for all who follow it. Does no I/O."""

from bisect import bisect_right
from collections.abc import Iterable
from operator import attrgetter
from typing import Final

from events.live.frames import EncodedMessage
from events.types import Cursor

# Of one stream, this much is kept in the memory of a process at most.
MOST_EVENTS: Final = 1000
MOST_BYTES: Final = 1024 * 1024
# What a viewer is given at once; then it is the turn of others.
_TAKEN_EVENTS: Final = 64
_TAKEN_BYTES: Final = 64 * 1024

_cursor = attrgetter("cursor")


class RingBuffer:
    """Events, numbered as they come; all of the log after the cursor `floor`, up to the last."""

    __slots__ = ("_events", "floor", "size", "start")

    def __init__(self, floor: Cursor) -> None:
        self.floor = floor
        self.start = 0  # the number of the first event
        self.size = 0  # bytes of event data
        self._events: list[EncodedMessage] = []

    @property
    def end(self) -> int:
        """The number of the next event to come."""
        return self.start + len(self._events)

    def append(self, events: Iterable[EncodedMessage]) -> None:
        """Take in what follows; the oldest make room for it."""
        for event in events:
            self._events.append(event)
            self.size += event.size
        self.keep(MOST_EVENTS, MOST_BYTES)

    def keep(self, events: int, size: int) -> None:
        """Forget the oldest, so that no more than so many events and bytes are left."""
        count, left = 0, self.size
        while count < len(self._events) and (len(self._events) - count > events or left > size):
            left -= self._events[count].size
            count += 1
        if count:
            self.floor = self._events[count - 1].cursor
            del self._events[:count]
            self.start += count
            self.size = left

    def clear(self, floor: Cursor) -> None:
        """Begin anew at a cursor, with numbers that nobody expects."""
        self.start = self.end + 1
        self._events, self.size, self.floor = [], 0, floor

    def number_after(self, cursor: Cursor) -> int:
        """The number of the first event after a cursor, which is not below the floor."""
        return self.start + bisect_right(self._events, cursor, key=_cursor)

    def take(self, number: int) -> list[EncodedMessage] | None:
        """Some events from a number on; None if that one was forgotten."""
        if number < self.start:
            return None
        first = last = number - self.start
        size = 0
        for event in self._events[first : first + _TAKEN_EVENTS]:
            size += event.size
            last += 1
            if size > _TAKEN_BYTES:
                break
        return self._events[first:last]
