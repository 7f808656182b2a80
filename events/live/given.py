"""What a process has read of a log, by which it knows what Redis has lost. Does no I/O."""

from collections.abc import Iterable
from typing import Final

from events.types import Cursor, Event

# What a Redis that was set back is given again is of its last seconds.
_REMEMBERED: Final = 1000


# Where an event was, and the generation in which it was lost.
Place = tuple[Cursor, int]


class Given:
    """The latest events of a log as they were read, and those of them that were lost since."""

    def __init__(self, start: Cursor) -> None:
        self.start = start  # what is up to here is not known
        # With a hash of what it was: a Redis that lost all may give an id again at once.
        self._by_cursor: dict[Cursor, tuple[str, int]] = {}
        self._producers: dict[str, Cursor] = {}
        self._lost: dict[str, tuple[Place, ...]] = {}
        self._lost_at: dict[Cursor, int] = {}

    def has(self, event: Event) -> bool:
        """Whether this entry was read."""
        return self._by_cursor.get(event.cursor) == (event.producer, hash(event.raw))

    def knows(self, event: Event) -> bool:
        """Whether it was read, here or elsewhere."""
        producer = event.producer
        return self.has(event) or producer in self._producers or producer in self._lost

    def add(self, event: Event) -> None:
        """It was read."""
        self._by_cursor[event.cursor] = event.producer, hash(event.raw)
        if event.producer:
            self._producers.setdefault(event.producer, event.cursor)
        if len(self._by_cursor) > _REMEMBERED:
            self.start = next(iter(self._by_cursor))
            producer, _ = self._by_cursor.pop(self.start)
            self._lost_at.pop(self.start, None)
            self._is_gone(producer, self.start)

    def is_repeat(self, event: Event) -> bool:
        """Whether the log has the same event before."""
        before = self._producers.get(event.producer)
        return before is not None and before < event.cursor

    def lost(self, event: Event) -> tuple[Place, ...]:
        """Where the log had the same event before."""
        return self._lost.get(event.producer, ())

    def lose(self, after: Cursor, generation: int) -> None:
        """What was read after a cursor is not in the log any more; it may come back."""
        for cursor, (producer, _) in self._by_cursor.items():
            if cursor > after:
                self._lost_at.setdefault(cursor, generation)
                if self._is_gone(producer, cursor):
                    self._lost[producer] = (*self._lost.get(producer, ()), (cursor, generation))
        while len(self._lost) > _REMEMBERED:
            del self._lost[next(iter(self._lost))]

    def first_lost(self) -> Cursor | None:
        """The first place at which something was lost, that was not found again."""
        return min(self._lost_at, default=None)

    def find(self, events: Iterable[Event]) -> list[Place]:
        """These are in the log: the places of those that had been lost."""
        found = []
        for event in events:
            if event.cursor in self._lost_at and self.has(event):
                found.append((event.cursor, self._lost_at.pop(event.cursor)))
                if event.producer:
                    self._producers.setdefault(event.producer, event.cursor)
        return found

    def _is_gone(self, producer: str, cursor: Cursor) -> bool:
        """Whether it was there that the log had the event; it has it no more."""
        if self._producers.get(producer) != cursor:
            return False
        del self._producers[producer]
        return True
