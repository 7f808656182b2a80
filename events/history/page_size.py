"""Page size of a reader that reads a log to its end. Does no I/O."""

from bisect import bisect_right
from itertools import accumulate
from typing import Final

from events.types import Event

_FIRST_PAGE_EVENTS: Final = 50


class PageSize:
    """Number of events to read next, for pages of at most `max_bytes`."""

    __slots__ = ("_max_bytes", "_max_events", "events")

    def __init__(self, max_bytes: int, max_events: int) -> None:
        self._max_bytes, self._max_events = max_bytes, max_events
        self.events = min(_FIRST_PAGE_EVENTS, max_events)

    def cut(self, events: list[Event]) -> list[Event]:
        """Return `first_bytes` of the events that were read, and adapt the size."""
        page = first_bytes(events, self._max_bytes)
        size = sum(len(event.raw) for event in page)
        fitting = self._max_bytes * len(page) // max(size, 1)
        self.events = max(1, min(self._max_events, 2 * self.events, fitting))
        return page


def first_bytes(events: list[Event], max_bytes: int) -> list[Event]:
    """Return the first of some events: at most `max_bytes`, or one event."""
    sizes = list(accumulate(len(event.raw) for event in events))
    return events[: max(1, bisect_right(sizes, max_bytes))]
