"""Ring buffer of a topic: its latest events, encoded once for all subscribers. Does no I/O."""

from bisect import bisect_right
from collections.abc import Iterable
from operator import attrgetter
from typing import Final

from events.live.frames import EncodedMessage
from events.types import Cursor

# Bounds of one topic.
MAX_RING_EVENTS: Final = 1000
MAX_RING_BYTES: Final = 1024 * 1024
# Bounds of one read, after which other subscribers have their turn.
_MAX_READ_EVENTS: Final = 64
_MAX_READ_BYTES: Final = 64 * 1024

_cursor = attrgetter("cursor")


class RingBuffer:
    """Events by offset: all events of the log after the cursor `floor`, up to the newest read.

    Offsets only increase. `floor` is the cursor of an event, or the start of the log.
    """

    __slots__ = ("_events", "floor", "size", "start")

    def __init__(self, floor: Cursor) -> None:
        self.floor = floor
        self.start = 0  # offset of the first event
        self.size = 0  # bytes of event data
        self._events: list[EncodedMessage] = []

    @property
    def end(self) -> int:
        return self.start + len(self._events)

    def append(self, events: Iterable[EncodedMessage]) -> None:
        """Append events, and evict the oldest ones beyond the bounds."""
        for event in events:
            self._events.append(event)
            self.size += event.size
        self.evict_to(MAX_RING_EVENTS, MAX_RING_BYTES)

    def evict_to(self, max_events: int, max_bytes: int) -> None:
        """Evict the oldest events until at most `max_events` and `max_bytes` remain."""
        count = 0
        while len(self._events) - count > max_events or self.size > max_bytes:
            self.size -= self._events[count].size
            count += 1
        if count:
            self.floor = self._events[count - 1].cursor
            self.start += count
            del self._events[:count]

    def clear(self, floor: Cursor) -> None:
        """Start again at a cursor; no offset returned before is valid afterwards."""
        self.start = self.end + 1
        self._events, self.size, self.floor = [], 0, floor

    def contains(self, cursor: Cursor) -> bool:
        """Whether the cursor is the floor or that of an event."""
        index = bisect_right(self._events, cursor, key=_cursor)
        return (self._events[index - 1].cursor if index else self.floor) == cursor

    def offset_after(self, cursor: Cursor) -> int:
        """The offset of the first event after a cursor that is not below the floor."""
        return self.start + bisect_right(self._events, cursor, key=_cursor)

    def read_from(self, offset: int) -> list[EncodedMessage] | None:
        """Return the next events from an offset on; None if that offset was evicted."""
        if offset < self.start:
            return None
        first, size = offset - self.start, 0
        events = self._events[first : first + _MAX_READ_EVENTS]
        for count, event in enumerate(events, 1):
            size += event.size
            if size > _MAX_READ_BYTES:
                return events[:count]
        return events
