"""Comparison of a log with the expected events, and the report of the first mismatch. No I/O."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import EllipsisType
from typing import Any, Final, NamedTuple

import orjson

from events.types import Event, shown

# An event type, a dict that the data contains, both, or any number of events.
Expected = str | Mapping[str, Any] | tuple[str, Mapping[str, Any]] | EllipsisType

_MAX_VALUE_CHARACTERS: Final = 120
_ENVELOPE_KEYS: Final = ("event_type", "timestamp")


def check_events(
    job_id: str,
    events: Sequence[Event],
    expected: Iterable[Expected],
    hint: Callable[[], str] = str,
) -> None:
    """Raise AssertionError, with the whole log and a hint, if events differ from the expected ones.

    Raises TypeError for items that are not `Expected`.
    """
    __tracebackhide__ = True
    if isinstance(expected, str | Mapping):
        raise TypeError(f"The expected events are a list. Given: {shown(expected)}.")
    items = [_ExpectedItem.parse(item) for item in expected]
    mismatch = _first_mismatch(events, items)
    if mismatch is not None:
        lines = [
            f"The log of {job_id} differs from the expected events.",
            "",
            *_log_lines(events, items, mismatch),
            "",
            f"all expected events: [{', '.join(map(str, items))}]",
            *filter(None, [hint()]),
        ]
        raise AssertionError("\n".join(lines))


@dataclass(frozen=True, slots=True)
class _ExpectedItem:
    """One expected event, or any number of events if `is_wildcard`."""

    item: Expected
    event_type: str | None = None
    data: Mapping[str, Any] | None = None
    is_wildcard: bool = False

    @classmethod
    def parse(cls, item: Expected) -> "_ExpectedItem":
        match item:
            case EllipsisType():
                return cls(item, is_wildcard=True)
            case str():
                return cls(item, event_type=item)
            case Mapping():
                return cls(item, data=item)
            case (str(event_type), Mapping() as data):
                return cls(item, event_type=event_type, data=data)
        raise TypeError(
            "An expected event is an event type, a dict that its data contains, a pair of both, or"
            f" ... for any number of events. Given: {shown(item)}."
        )

    def differences(self, event: Event) -> Iterator[str]:
        if self.event_type not in (None, event.event_type):
            yield f"event_type is {event.event_type!r}"
        if self.data is not None:
            yield from _differences(self.data, event.data, "")

    def __str__(self) -> str:
        return "..." if self.is_wildcard else repr(self.item)


def _differences(expected: Any, actual: Any, path: str) -> Iterator[str]:
    """Describe where a value differs; a dict may contain more keys than expected."""
    if isinstance(expected, Mapping) and isinstance(actual, Mapping):
        for key, value in expected.items():
            inner = f"{path}.{key}" if path else str(key)
            if key in actual:
                yield from _differences(value, actual[key], inner)
            else:
                yield f"{inner} is missing"
    elif (
        isinstance(expected, list | tuple)
        and isinstance(actual, list)
        and len(expected) == len(actual)
    ):
        for index, (one, other) in enumerate(zip(expected, actual, strict=True)):
            yield from _differences(one, other, f"{path}[{index}]")
    elif not expected == actual:  # noqa: SIM201 - an expected object may define only __eq__
        yield f"{path} is {_shortened(repr(actual))}"


# A nondeterministic automaton: a state is a set of indexes of the items that may match next.


class _Mismatch(NamedTuple):
    """The event at `event_index` does not match the item at `item_index`."""

    item_index: int
    event_index: int


def _first_mismatch(events: Sequence[Event], items: Sequence[_ExpectedItem]) -> _Mismatch | None:
    """Return the mismatch after the longest match; None if all events and items match."""
    state = _skip_wildcards([0], items)
    furthest = _Mismatch(max(state), 0)
    for index, event in enumerate(events, 1):
        state = _skip_wildcards(_step(event, state, items), items)
        if not state:
            return furthest
        furthest = max(furthest, _Mismatch(max(state), index))
    return None if len(items) in state else furthest


def _step(event: Event, state: Iterable[int], items: Sequence[_ExpectedItem]) -> Iterator[int]:
    for index in state:
        if index < len(items):
            if items[index].is_wildcard:
                yield index
            elif not any(items[index].differences(event)):
                yield index + 1


def _skip_wildcards(state: Iterable[int], items: Sequence[_ExpectedItem]) -> set[int]:
    """Return the state and the indexes after its wildcards, which match no event as well."""
    reached = set(state)
    for index, item in enumerate(items):
        if item.is_wildcard and index in reached:
            reached.add(index + 1)
    return reached


def _log_lines(
    events: Sequence[Event], items: Sequence[_ExpectedItem], mismatch: _Mismatch
) -> Iterator[str]:
    """Describe the whole log, one event per line, with a mark at the mismatch."""
    width = max((len(event.event_type) for event in events), default=0)
    digits = len(str(len(events)))
    for index, event in enumerate(events):
        mark = ">" if index == mismatch.event_index else " "
        line = f"{mark} {index + 1:>{digits}}  {event.event_type:<{width}}  {_data(event)}"
        yield line.rstrip()
        if index == mismatch.event_index:
            yield from _explanation(items, mismatch, event)
    if mismatch.event_index == len(events):
        yield "> the log ends here" if events else "> the log is empty"
        yield from _explanation(items, mismatch, None)


def _explanation(
    items: Sequence[_ExpectedItem], mismatch: _Mismatch, event: Event | None
) -> Iterator[str]:
    index = mismatch.item_index
    if index == len(items):
        yield "     expected: no more events"
        return
    yield f"     expected: {items[index]}"
    # After a wildcard the event is not a candidate for this item.
    is_candidate = not (index and items[index - 1].is_wildcard)
    if event is not None and is_candidate and items[index].data is not None:
        yield f"     but {', '.join(items[index].differences(event))}"


def _data(event: Event) -> str:
    data = {name: value for name, value in event.data.items() if name not in _ENVELOPE_KEYS}
    return _shortened(orjson.dumps(data).decode())


def _shortened(text: str) -> str:
    limit = _MAX_VALUE_CHARACTERS
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
