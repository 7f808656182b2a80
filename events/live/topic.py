"""Topic: one log, the end of it that this event loop has read, and its subscribers. Does no I/O.

*Unverified*, because it is new or the log may have lost events, it delivers nothing. *Verified*,
the reader appends what follows `head`. *Done*, the job is finished or the log cannot be read.
"""

from collections.abc import Collection, Mapping, Sequence
from time import monotonic
from typing import Any, Final, Protocol

from events.live.continuity import DeliveredEvents, LogEnd
from events.live.frames import EncodedMessage
from events.live.ring_buffer import MAX_RING_BYTES, MAX_RING_EVENTS, RingBuffer
from events.types import START, Cursor, Event

# A slow subscriber delays the ring by at most this; after that it falls back to catch-up.
MAX_LAG_SECONDS: Final = 0.25
# After a loss, an archiver may still commit what it read before, and remove duplicates.
_SETTLING_SECONDS: Final = 5.0
_RING_IDLE_SECONDS: Final = 5.0


class Completion(Protocol):
    """Decides when a job is finished; without one, a log never ends."""

    def is_terminal(self, event: Event) -> bool:
        """Whether the event may be the last of its job. Called for each event; does no I/O."""

    async def completed(self, last: Mapping[str, Event | None]) -> Collection[str]:
        """Return the finished jobs among those of `last`: job_id and last event of each log.

        Called after a terminal event, and every few seconds for quiet logs.
        """


class TopicSubscriber(Protocol):
    """The interface of a subscriber to its topic and the hub."""

    topic: "Topic"
    offset: int | None

    def wake(self) -> None: ...
    def rewind(self, common: Cursor, head: Cursor) -> None: ...
    def tick(self, now: float, keep_alive: float, send_timeout: float) -> None: ...


class Topic:
    """One log as it was read, and its subscribers."""

    def __init__(self, job_id: str, key: str) -> None:
        self.job_id, self.key = job_id, key
        self.head = START  # everything up to here was read
        self.last: Event | None = None
        self.ring = RingBuffer(START)
        self.delivered = DeliveredEvents()
        self.is_verified = self.is_completed = False
        self.is_ending = False  # the job is finished: completed by the next verification
        self.is_head_archived = self._is_head_missing = False
        self.epoch = 0  # number of verifications; a reply from before the last one is discarded
        self.error: Exception | None = None
        self.completion: Completion | None = None
        self.subscribers: set[TopicSubscriber] = set()
        self.tailing: set[TopicSubscriber] = set()
        self.pages: dict[Any, Any] = {}
        self.last_event_at = monotonic()
        self.unsettled_until = 0.0
        self._waiting: dict[TopicSubscriber, None] = {}
        self._starved_since = 0.0

    @property
    def is_done(self) -> bool:
        """Whether the job is finished, or the log cannot be read."""
        return self.is_completed or self.error is not None

    def is_current(self, epoch: int) -> bool:
        """Whether continuity was not in question since that epoch."""
        return self.is_verified and self.epoch == epoch

    def append(self, events: Sequence[Event]) -> None:
        messages = list(map(EncodedMessage, events))
        self.ring.append(messages)
        self.delivered.add(messages)
        self._move_head(events[-1], messages[-1].cursor)
        self.wake()

    def _move_head(self, last: Event | None, head: Cursor) -> None:
        self.last, self.head = last, head
        self.is_head_archived, self.last_event_at = False, monotonic()

    def invalidate(self, *, is_head_missing: bool = False) -> None:
        """Stop delivery until continuity is verified."""
        self.is_verified, self._is_head_missing = False, is_head_missing
        self.pages.clear()

    def resume(self, end: LogEnd) -> None:
        """Continue with the verified end of the log; reset every subscriber past `end.common`."""
        head, newest = self.head, end.latest[-1].cursor if end.latest else START
        has_lost = end.common < head
        if has_lost or newest != head or not self.epoch:
            self._load(end)
            self._move_head(end.latest[-1] if end.latest else None, newest)
            if has_lost or (self._is_head_missing and head > START):
                self.unsettled_until = monotonic() + _SETTLING_SECONDS
        elif self._is_head_missing:
            self.is_head_archived = True
        # A later event may be of a new attempt of the job.
        self.is_completed |= self.is_ending and not has_lost and newest == head
        self.is_verified, self.is_ending = True, False
        self.epoch += 1
        for subscriber in self.subscribers:
            subscriber.rewind(end.common, head)
        self.wake()

    def _load(self, end: LogEnd) -> None:
        floor = START if end.is_whole else end.latest[0].cursor
        messages = [each for each in map(EncodedMessage, end.latest) if each.cursor > floor]
        self.ring.clear(floor)
        self.ring.append(messages)
        self.delivered.rebase(end.common, floor, messages)

    def fail(self, error: Exception) -> None:
        self.error = error
        self.wake()

    def tidy(self, now: float) -> None:
        """Release the pages that were read, and the ring of a quiet log."""
        self.pages = {key: page for key, page in self.pages.items() if not page.done()}
        if now > self.last_event_at + _RING_IDLE_SECONDS:
            self.ring.evict_to(0, 0)

    # Subscribers

    def remove(self, subscriber: TopicSubscriber) -> None:
        self.subscribers.discard(subscriber)
        self.tailing.discard(subscriber)
        self.stop_waiting(subscriber)

    def wait(self, subscriber: TopicSubscriber) -> None:
        """Wake this subscriber when there is something to deliver."""
        if not self._waiting:
            self._starved_since = monotonic()
        self._waiting[subscriber] = None

    def stop_waiting(self, subscriber: TopicSubscriber) -> None:
        self._waiting.pop(subscriber, None)

    def wake(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for subscriber in waiting:
            subscriber.wake()

    def has_room(self) -> bool:
        """Backpressure: whether half of the ring is free of events that a subscriber has to take.

        Slow subscribers are detached when the others have waited for MAX_LAG_SECONDS.
        """
        ring = self.ring
        if ring.size <= MAX_RING_BYTES // 2 and ring.end - ring.start <= MAX_RING_EVENTS // 2:
            return True
        mark = ring.end if ring.size > MAX_RING_BYTES // 2 else ring.end - MAX_RING_EVENTS // 2
        behind = [each for each in self.tailing if (each.offset or 0) < mark]
        if behind and self._waiting and monotonic() - self._starved_since > MAX_LAG_SECONDS:
            self.tailing.difference_update(behind)
            return True
        return not behind
