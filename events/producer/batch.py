"""Who publishes, and what became of it: numbered calls, and those whose fate is unknown.

An append is numbered: (producer id, epoch, sequence). Redis recognises a call that comes again by
its number, so that a call may be repeated until it is answered. A producer has one call under way
at a time. Does no I/O.

The fate of a call is unknown when it was given up unanswered: then its producer is used no more,
and the call is remembered for a minute. Whoever publishes the same event to the same job again
within that time is taken to repeat the call; it is asked of Redis what became of it, and only if
nothing did, and nothing can any more, the event is published as a new one.
"""

import secrets
import threading
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import chain
from time import monotonic
from typing import Any, Final

import orjson

from events.codec import EncodedEvent
from events.exceptions import EventsError, RedisUnavailable
from events.streams import commands, scripts
from events.streams.commands import Keys
from events.streams.scripts import Command

_REMEMBERED: Final = 10_000
_REMEMBERED_SECONDS: Final = 60.0
_FLOORS: Final = 1000
# In the place of an event that is not sent again.
_NOTHING: Final[EncodedEvent] = (b"", "", "")


@dataclass(slots=True)
class Line:
    """A producer, and the connection that it uses."""

    id: str = field(default_factory=lambda: secrets.token_urlsafe(9))
    sequence: int = 1
    connection: Any = None


@dataclass(slots=True, eq=False)
class Call:
    """Events that somebody publishes to a job together, and what became of them."""

    keys: Keys
    epoch: int
    events: Sequence[EncodedEvent]
    ids: list[str] | None = None
    error: EventsError | None = None
    batch: "Batch | None" = None
    given: "Given | None" = None  # by what it is recognised, once it was given up
    withdrawn: bool = False  # nobody is to send it
    line: Any = None  # the AsyncLine that has taken it up
    done: Any = None  # the future for which an async publisher waits

    @property
    def settled(self) -> bool:
        """Whether the call is over, well or not."""
        return self.ids is not None or self.error is not None

    def forget_events(self) -> None:
        """They are not sent again, and what is remembered should be small."""
        self.events = (_NOTHING,) * len(self.events)

    def tell(self) -> None:
        """Wake who waits for it, if they still do."""
        if self.done is not None and not self.done.done():
            self.done.set_result(None)


@dataclass(slots=True, eq=False)
class Batch:
    """Calls for one job that one script call appends: all of them or none."""

    calls: list[Call]
    producer: commands.Numbered
    last: int

    @classmethod
    def of(cls, calls: list[Call], line: Line) -> "Batch":
        """Number the calls."""
        producer = (line.id, calls[0].epoch, line.sequence)
        line.sequence += sum([len(call.events) for call in calls])
        batch = cls(calls, producer, line.sequence - 1)
        for call in calls:
            call.batch = batch
        return batch

    def append(self, floor: str) -> Command:
        """The command that appends the events, or finds them appended."""
        call = self.calls[0]
        if len(self.calls) == 1 and len(call.events) == 1:
            data, timestamp, event_type = call.events[0]
            return commands.append(call.keys, self.producer, floor, timestamp, event_type, data)
        events = call.events
        if len(self.calls) > 1:
            events = list(chain.from_iterable([call.events for call in self.calls]))
        return commands.append_many(call.keys, self.producer, floor, events)

    def resolve(self) -> Command:
        """The command that asks what became of the events, and makes sure that it stays so."""
        producer_id, epoch, first = self.producer
        arguments = (producer_id, epoch, self.last, self.last - first + 1)
        return scripts.RESOLVE.call(self.calls[0].keys, arguments)

    def ids(self, reply: commands.Reply) -> list[str]:
        """The ids of all events, from what Redis answers."""
        return commands.ids_of_batch(reply, self.last - self.producer[2] + 1)

    def ids_of(self, call: Call, reply: commands.Reply) -> list[str]:
        """The ids of one call's events."""
        place = self.calls.index(call)
        start = sum(len(other.events) for other in self.calls[:place])
        return self.ids(reply)[start : start + len(call.events)]

    def settle(self, reply: commands.Reply) -> str:
        """Tell each call its ids; returns the last number and id, the floor from now on."""
        ids, start = self.ids(reply), 0
        for call in self.calls:
            stop = start + len(call.events)
            call.ids = ids[start:stop]
            if call.given is not None:
                call.forget_events()
            call.batch = None  # they refer to each other: both would wait for the garbage collector
            if call.done is not None:
                call.tell()
            start = stop
        return f"{self.last} {ids[-1]}"

    def fail(self, error: EventsError) -> None:
        """Tell each call what went wrong; none is sent again."""
        for call in self.calls:
            call.error = error
            call.forget_events()
            call.tell()


def batches(calls: Iterable[Call], line: Line) -> Iterator[Batch]:
    """The calls in as few batches as there are jobs; those of one job in their order."""
    by_job: dict[tuple[Keys, int], list[Call]] = {}
    for call in calls:
        by_job.setdefault((call.keys, call.epoch), []).append(call)
    for group in by_job.values():
        yield Batch.of(group, line)


class Floors:
    """What was appended last to each of the latest jobs: ids to come must be above its id.

    It is `<sequence> <id>`, as Redis keeps it, so that the two are soon compared.
    """

    def __init__(self) -> None:
        self._last: dict[Keys, str] = {}

    def get(self, keys: Keys) -> str:
        """What was appended last; empty if nothing is known."""
        return self._last.get(keys, "")

    def set(self, keys: Keys, last: str) -> None:
        """Remember it. Without all of them the clock decides, as it does in Redis."""
        if len(self._last) >= _FLOORS:
            self._last = {}
        self._last[keys] = last


Given = tuple[Keys, int, bytes]


def given(call: Call, data: Iterable[Mapping[str, Any]]) -> Given:
    """By what it is recognised that somebody repeats a call: what they gave to publish."""
    content = orjson.dumps([dict(event) for event in data])
    return call.keys, call.epoch, blake2b(content, digest_size=16).digest()


def is_unanswered(error: BaseException) -> bool:
    """Whether a call that ended so may have been carried out, or may still be."""
    return isinstance(error, RedisUnavailable) or not isinstance(error, EventsError)


class Unsettled:
    """The calls that were given up, by what was to be published. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: OrderedDict[Call, tuple[Given, float]] = OrderedDict()
        self._alike: dict[Given, deque[Call]] = {}

    def __bool__(self) -> bool:
        return bool(self._calls)

    def remember(self, given: Given, call: Call) -> None:
        """A call was given up; others that look alike may have been, too."""
        with self._lock:
            call.given = given
            if call.settled:
                call.forget_events()
            if call not in self._calls:
                self._alike.setdefault(given, deque()).append(call)
            self._calls[call] = given, monotonic() + _REMEMBERED_SECONDS
            self._calls.move_to_end(call)
            if len(self._calls) > _REMEMBERED:
                self._forget(next(iter(self._calls)))

    def remember_again(self, call: Call) -> None:
        """Nobody could say what became of a call that was recalled."""
        if call.given is not None:
            self.remember(call.given, call)

    def recall(self, given: Given) -> Call | None:
        """The call that somebody repeats, if they do; it is remembered no more."""
        with self._lock:
            now = monotonic()
            while self._calls and next(iter(self._calls.values()))[1] < now:
                self._forget(next(iter(self._calls)))
            if given not in self._alike:
                return None
            call = self._alike[given][0]
            self._forget(call)
            return call

    def _forget(self, call: Call) -> None:
        given, _ = self._calls.pop(call)
        self._alike[given].remove(call)
        if not self._alike[given]:
            del self._alike[given]


def ids_found(call: Call, reply: Any) -> list[str] | None:
    """What became of a call, from what Redis answers to `Batch.resolve`; None for nothing."""
    if isinstance(reply, EventsError):
        raise reply
    if not reply or call.batch is None:
        return None
    found: Sequence[str | bytes] = reply
    return call.batch.ids_of(call, found)
