"""One stream as a process follows it, for all of its viewers. Does no I/O.

A channel is *unread* until the feed has read the end of its log; then it is *read*, and whoever
has a cursor that its ring reaches follows it. When what was read may not be all that there is
(Redis was away; the entry that was read last is gone), it is *doubted*: the feed looks up to where
log and channel agree, and the channel goes on from there as of a new generation.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from events.live.completion import Completion
from events.live.frames import EncodedMessage
from events.live.given import Given, Place
from events.live.ring_buffer import MOST_BYTES, MOST_EVENTS, RingBuffer
from events.types import START, Cursor, Event

if TYPE_CHECKING:
    from events.live.subscriber import Subscriber

# Seconds for which those who have read all wait for those who have not.
_PATIENCE: Final = 0.25
_BREAKS: Final = 16


@dataclass(frozen=True, slots=True)
class Break:
    """What became of a log between two generations of its channel.

    Up to `common`, the log is what it was; what was read after that is lost. If it was `set_back`,
    it has other events there, which nobody was given. `found` are the places at which it has again
    what it had lost.
    """

    generation: int
    common: Cursor
    set_back: bool
    found: Sequence[Place]


class Topic:
    """What is known of a stream, who views it, and who of them waits."""

    def __init__(self, job_id: str, key: str) -> None:
        self.job_id = job_id
        self.key = key
        self.completion: Completion | None = None
        self.head = START  # everything up to here was read
        self.high = START  # and nothing after this, though some of it may have been lost since
        self.last: Event | None = None
        self.ring = RingBuffer(START)
        self.given = Given(START)
        self.generation = 0
        self.breaks: list[Break] = []
        self.is_read = self.is_over = False
        self.error: Exception | None = None
        self.viewers: set[Subscriber] = set()
        self.followers: set[Subscriber] = set()
        self.pages: dict[Any, Any] = {}
        self.quiet_since = monotonic()
        self._waiting: dict[Subscriber, None] = {}
        self._starved_since = 0.0

    @property
    def is_done(self) -> bool:
        """Whether nothing more comes of it: the job is over, or its log cannot be read."""
        return self.is_over or self.error is not None

    # What the feed has read

    def begin(self, latest: Sequence[Event]) -> None:
        """The channel is read from here on: `latest` are the last events of the log, in order."""
        start = (latest[0].cursor.previous() or START) if latest else START
        self.given, self.generation = Given(start), self.generation + 1
        self.ring.clear(start)
        self.head = start
        self._take_in(latest)
        self.is_read = True
        self.wake()

    def comes_back(self, events: Sequence[Event]) -> bool:
        """Whether these have places at which others may have been read before."""
        return events[0].cursor <= self.high

    def add(self, events: Iterable[Event]) -> None:
        """Events that follow the last one; what is not new among them is left out."""
        news = [event for event in events if event.cursor > self.head]
        if news:
            self._take_in(news)
            self.quiet_since = monotonic()
            self.wake()

    def _take_in(self, events: Sequence[Event]) -> None:
        encoded = []
        for event in events:
            if not self.given.is_repeat(event):
                encoded.append(EncodedMessage(event, self.given.lost(event)))
            self.given.add(event)
        self.ring.append(encoded)
        if events:
            self.head, self.last = events[-1].cursor, events[-1]
            self.high = max(self.high, self.head)

    def doubt(self) -> None:
        """What was read may not be all that there is: nobody goes on before that is known."""
        self.is_read = False
        self.pages.clear()

    def go_on(self, common: Cursor, *, set_back: bool, again: Iterable[Event]) -> None:
        """The log is what it was up to `common`; see Break.

        `again` are events of it up to there, from the first place at which something was lost.
        """
        self.generation += 1
        self.pages.clear()
        found = self.given.find(again)
        if found or common != self.high:
            self.given.lose(common, self.generation - 1)
            happened = Break(self.generation, common, set_back, found)
            self.breaks = [*self.breaks[1 - _BREAKS :], happened]
            self.ring.clear(common)
            self.head = common
        self.is_read = True
        self.wake()

    def skip_to(self, latest: Sequence[Event]) -> None:
        """Too much has come to read it all for everybody: go on with the last events."""
        self.ring.clear(latest[0].cursor.previous() or START)
        self.head = self.ring.floor
        self.add(latest)

    def fail(self, error: Exception) -> None:
        """The log cannot be read; whoever views it is told."""
        self.error = error
        self.wake()

    def end(self) -> None:
        """The job is over, and everything was read."""
        self.is_over = True
        self.wake()

    # Who waits

    def wait(self, viewer: "Subscriber") -> None:
        """Wake this viewer when there is something for it."""
        if not self._waiting:
            self._starved_since = monotonic()
        self._waiting[viewer] = None

    def wait_no_more(self, viewer: "Subscriber") -> None:
        """The viewer has something to do, or is gone."""
        self._waiting.pop(viewer, None)

    def wake(self) -> None:
        """There is something for everybody who waits."""
        waiting, self._waiting = self._waiting, {}
        for viewer in waiting:
            viewer.wake()

    def has_room(self) -> bool:
        """Whether more may be read: half of the ring is free of what its followers have to take.

        Who is held up by his own connection is waited for only as long as nobody has been without
        anything to do for a while; then he has to catch up by himself.
        """
        ring = self.ring
        if ring.size <= MOST_BYTES // 2 and ring.end - ring.start <= MOST_EVENTS // 2:
            return True
        mark = ring.end if ring.size > MOST_BYTES // 2 else ring.end - MOST_EVENTS // 2
        behind = [viewer for viewer in self.followers if (viewer.number or 0) < mark]
        if not behind:
            return True
        if self._waiting and monotonic() - self._starved_since > _PATIENCE:
            self.followers.difference_update(behind)
            return True
        return False
