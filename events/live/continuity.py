"""Continuity: what happens to subscribers after Redis lost events that were delivered. No I/O.

Events disappear from the end of a log only: if a delivered event is in the log, so is everything
before it, unchanged. Verification finds the newest such event; `Topic.resume` resets every
subscriber past it.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from events.live.frames import EncodedMessage
from events.types import OUTBOX, START, Cursor, Event

MAX_DELIVERED_EVENTS: Final = 1000
_OUTBOX_PREFIX: Final = f"{OUTBOX}:"
_NOTHING_DELIVERED: Final = Cursor(2**64 - 1, 2**64 - 1)


class DeliveredEvents:
    """Cursor and digest of the last 1,000 delivered events; a wiped Redis can assign an id again.

    Up to `floor` no event is recorded, and the log is taken as unchanged.
    """

    __slots__ = ("_digests", "_transactional", "floor")

    def __init__(self) -> None:
        self.floor = _NOTHING_DELIVERED
        self._digests: dict[Cursor, int] = {}
        self._transactional = set[Cursor]()

    @property
    def head(self) -> Cursor:
        return next(reversed(self._digests), self.floor)

    def add(self, messages: Iterable[EncodedMessage]) -> None:
        for each in messages:
            event: Any = each.message
            self._digests[each.cursor] = _digest(event)
            if event.producer.startswith(_OUTBOX_PREFIX):
                self._transactional.add(each.cursor)
        while len(self._digests) > MAX_DELIVERED_EVENTS:
            self.floor = next(iter(self._digests))
            del self._digests[self.floor]
            self._transactional.discard(self.floor)

    def rebase(self, common: Cursor, floor: Cursor, messages: Iterable[EncodedMessage]) -> None:
        """Replace the events after `common` by `messages`, all of the log after `floor`."""
        if max(floor, self.floor) <= common:
            kept = {cursor: self._digests[cursor] for cursor in self._digests if cursor <= common}
        else:
            self.floor, kept = floor, {}
        self._digests = kept
        self._transactional &= kept.keys()
        head = self.head
        self.add(each for each in messages if each.cursor > head)

    def stream_first_after(self, cursor: Cursor) -> list[Cursor]:
        """Return the events after a cursor that are not transactional: those are appended again."""
        return [each for each in self._digests if each > cursor and each not in self._transactional]

    def contains(self, event: Event) -> bool:
        """Whether this event was delivered, with this content."""
        return self._digests.get(event.cursor) == _digest(event)

    def common_cursor(self, page: Sequence[Event], *, is_start: bool) -> Cursor | None:
        """Return the newest cursor up to which a page of the log equals what was delivered.

        `page` is ascending; `is_start`: the log begins with it. None: an older page decides.
        """
        common = START if is_start else None
        first = page[0].cursor if page else START
        delivered = iter([each for each in self._digests.items() if each[0] >= first])
        for event in page:
            is_recorded = event.cursor > self.floor
            if is_recorded and next(delivered, None) != (event.cursor, _digest(event)):
                break
            common = event.cursor
        return common


def _digest(event: Any) -> int:
    """Digest of what a subscriber receives of an Event besides its id."""
    return hash((event.event_type, event.timestamp, event.raw))


class LogEnd(NamedTuple):
    """The newest events of a log, ascending; up to `common` it is what was delivered."""

    common: Cursor
    latest: Sequence[Event]
    is_whole: bool  # the log has no other events


async def verify_continuity(
    delivered: DeliveredEvents,
    read_before: Callable[[Cursor | None], Awaitable[list[Event]]],
    page_size: int,
) -> LogEnd:
    """Compare the log with what was delivered.

    `read_before` returns the `page_size` newest events before a cursor, ascending.
    """
    latest = page = await read_before(None)
    while (common := delivered.common_cursor(page, is_start=len(page) < page_size)) is None:
        page = await read_before(min(page[0].cursor, delivered.head.next() or START))
    return LogEnd(common, latest, len(latest) < page_size)
