"""What a log is expected to be, and where it departs from that. Does no I/O."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import EllipsisType
from typing import Any, Final, NoReturn

import orjson

from events.types import Event, shown

# A type, what the data has, both, or any number of other events.
Expected = str | Mapping[str, Any] | tuple[str, Mapping[str, Any]] | EllipsisType

_WIDEST: Final = 120
# The keys of an event dict that are not the event's own.
_COMMON: Final = ("event_type", "timestamp")


def check_events(
    job_id: str,
    events: Sequence[Event],
    expected: Iterable[Expected],
    hint: Callable[[], str] = str,
) -> None:
    """Raise AssertionError, with the whole log and a hint, unless it is as expected.

    Raises TypeError for items that are none of `Expected`.
    """
    __tracebackhide__ = True
    wanted = _Wanted.all_of(expected)
    departure = _departure(events, wanted)
    if departure is not None:
        _fail(job_id, events, wanted, departure, hint())


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One expected item: an event, or, if `any_others`, any number of them."""

    item: Expected
    event_type: str | None = None
    data: Mapping[str, Any] | None = None
    any_others: bool = False

    @classmethod
    def all_of(cls, expected: Iterable[Expected]) -> "list[_Wanted]":
        if isinstance(expected, str | Mapping):
            raise TypeError(f"The expected events are a list. Given: {shown(expected)}.")
        return [cls.of(item) for item in expected]

    @classmethod
    def of(cls, item: Expected) -> "_Wanted":
        match item:
            case EllipsisType():
                return cls(item, any_others=True)
            case str():
                return cls(item, event_type=item)
            case Mapping():
                return cls(item, data=item)
            case (str(event_type), Mapping() as data):
                return cls(item, event_type=event_type, data=data)
        raise TypeError(
            "An expected event is its type, a dict that its data has, both as a pair, or ... for"
            f" any number of others. Given: {shown(item)}."
        )

    def accepts(self, event: Event) -> bool:
        return next(self.differences(event), None) is None

    def differences(self, event: Event) -> Iterator[str]:
        """In what an event is not what is wanted."""
        if self.event_type not in (None, event.event_type):
            yield f"event_type is {event.event_type!r}"
        if self.data is not None:
            yield from _differences(self.data, event.data, "")

    def __str__(self) -> str:
        return "..." if self.any_others else repr(self.item)


def _differences(wanted: Any, given: Any, path: str) -> Iterator[str]:
    """In what a value is not what is wanted; a dict may have more than it has to."""
    if isinstance(wanted, Mapping) and isinstance(given, Mapping):
        for key, value in wanted.items():
            inner = f"{path}.{key}" if path else str(key)
            if key in given:
                yield from _differences(value, given[key], inner)
            else:
                yield f"{inner} is missing"
    elif _are_alike_lists(wanted, given):
        for number, (one, other) in enumerate(zip(wanted, given, strict=True)):
            yield from _differences(one, other, f"{path}[{number}]")
    elif not wanted == given:  # noqa: SIM201 - what a test gives may define == alone
        yield f"{path} is {_short(repr(given))}"


def _are_alike_lists(wanted: Any, given: Any) -> bool:
    is_list = isinstance(wanted, list | tuple) and isinstance(given, list)
    return is_list and len(wanted) == len(given)


# Places: a set of numbers of what may come next, as `...` leaves more than one.


@dataclass(frozen=True, slots=True, order=True)
class _Departure:
    """So much of what was expected is there; the log departs from it at the event `at`."""

    place: int
    at: int


def _departure(events: Sequence[Event], wanted: Sequence[_Wanted]) -> _Departure | None:
    """Where the most of what was expected had been found; None if all was, and nothing else."""
    places = _reached([0], wanted)
    furthest = _Departure(max(places), 0)
    for number, event in enumerate(events, 1):
        places = _reached(_after(event, places, wanted), wanted)
        if not places:
            return furthest
        furthest = max(furthest, _Departure(max(places), number))
    return None if len(wanted) in places else furthest


def _after(event: Event, places: Iterable[int], wanted: Sequence[_Wanted]) -> Iterator[int]:
    for place in places:
        if place < len(wanted):
            if wanted[place].any_others:
                yield place
            elif wanted[place].accepts(event):
                yield place + 1


def _reached(places: Iterable[int], wanted: Sequence[_Wanted]) -> set[int]:
    """The places, and those behind each `...`, as it may stand for no event at all."""
    reached = set[int]()
    for start in places:
        place = start
        reached.add(place)
        while place < len(wanted) and wanted[place].any_others:
            place += 1
            reached.add(place)
    return reached


# What a reader is told


def _fail(
    job_id: str,
    events: Sequence[Event],
    wanted: Sequence[_Wanted],
    departure: _Departure,
    hint: str,
) -> NoReturn:
    __tracebackhide__ = True
    told = [
        f"The log of {job_id} is not what was expected.",
        "",
        *_log(events, wanted, departure),
        "",
        f"expected, in all: [{', '.join(map(str, wanted))}]",
        *filter(None, [hint]),
    ]
    raise AssertionError("\n".join(told))


def _log(
    events: Sequence[Event], wanted: Sequence[_Wanted], departure: _Departure
) -> Iterator[str]:
    """The whole log, one line an event, with a mark where it departs."""
    types = max((len(event.event_type) for event in events), default=0)
    digits = len(str(len(events)))
    for number, event in enumerate(events):
        mark = ">" if number == departure.at else " "
        line = f"{mark} {number + 1:>{digits}}  {event.event_type:<{types}}  {_data(event)}"
        yield line.rstrip()
        if number == departure.at:
            yield from _remarks(wanted, departure, event)
    if departure.at == len(events):
        yield "> the log ends here" if events else "> the log is empty"
        yield from _remarks(wanted, departure, None)


def _remarks(
    wanted: Sequence[_Wanted], departure: _Departure, event: Event | None
) -> Iterator[str]:
    if departure.place == len(wanted):
        yield "     expected: no more events"
        return
    due = wanted[departure.place]
    yield f"     expected: {due}"
    # After `...`, other events are none of those that are waited for.
    before = wanted[departure.place - 1] if departure.place else due
    if event is not None and not before.any_others and due.data is not None:
        yield f"     but {', '.join(due.differences(event))}"


def _data(event: Event) -> str:
    data = {name: value for name, value in event.data.items() if name not in _COMMON}
    return _short(orjson.dumps(data).decode())


def _short(text: str) -> str:
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 3]}..."
