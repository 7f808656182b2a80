"""Scan of the keys under our prefix, of a bounded number."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, Final

from events.codec import text_of
from events.conf import event_settings
from events.streams.clients import get_redis, scan_keys, send_pipeline
from events.streams.keys import StreamKeys
from events.streams.retry import raised

MAX_KEYS: Final = 20_000
_MAX_SCANS: Final = 1000
_SCAN_COUNT: Final = 1000
_BATCH: Final = 500


@dataclass(slots=True)
class KeysFound:
    """The keys under our prefix; `complete` is False if Redis has more than were inspected."""

    streams: set[str] = field(default_factory=set)
    states: set[str] = field(default_factory=set)
    foreign: list[str] = field(default_factory=list)
    complete: bool = True

    @property
    def scope(self) -> str:
        """How many streams were inspected, for the end of a sentence."""
        more = "" if self.complete else "; there are more keys"
        return f"of {len(self.streams)} streams{more}"


def find_keys() -> KeysFound:
    """Scan the keys under our prefix. Raises EventsError."""
    keys, found = StreamKeys(event_settings.STREAM_PREFIX), KeysFound()
    scans = chain.from_iterable(
        scan_keys(get_redis(), pattern, _SCAN_COUNT, any_type=True)
        for pattern in dict.fromkeys((keys.pattern, keys.state_pattern))
    )
    inspected = 0
    for names in islice(scans, _MAX_SCANS):
        for batch in batches(names):
            _classify(batch, keys, found)
        inspected += len(names)
        if inspected > MAX_KEYS:
            break
    found.complete = next(scans, None) is None
    return found


def batches(items: Iterable[Any]) -> Iterator[list[Any]]:
    """Yield the items in lists of a limited length."""
    rest = iter(items)
    while batch := list(islice(rest, _BATCH)):
        yield batch


def _classify(names: Sequence[str], keys: StreamKeys, found: KeysFound) -> None:
    types = send_pipeline(get_redis(), [("TYPE", name) for name in names])
    for name, reply in zip(names, types, strict=True):
        kind, actual = keys.kind(name), text_of(raised(reply))
        if actual == "none" or keys.is_shared(name):  # "none": it was removed meanwhile
            continue
        if kind is None or kind[1] != actual:
            found.foreign.append(f"{name} ({actual})")
        elif actual == "stream":
            found.streams.add(kind[0])
        elif actual == "hash":
            found.states.add(kind[0])
