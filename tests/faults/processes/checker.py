"""Invariants of the log that hold after any failure."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from events.types import Cursor

Dump = dict[str, Any]


@dataclass
class Expected:
    """Names of the expected events.

    `committed` is in commit order. `published` are stream-first events that Redis did not lose,
    `maybe` are those that it may have lost, `never` were rolled back.
    """

    committed: list[str] = field(default_factory=list)
    published: list[str] = field(default_factory=list)
    maybe: list[str] = field(default_factory=list)
    never: list[str] = field(default_factory=list)


def check(dump: Dump, expected: Expected) -> None:
    """Check contents, archive, history and subscribers of one log."""
    log = dump["log"]
    names = [name for _, name, *_ in log]
    check_contents(names, expected)
    check_readers(dump)
    check_subscribers(dump)


def check_contents(names: Sequence[str], expected: Expected) -> None:
    duplicates = [name for name, count in Counter(names).items() if count > 1]
    assert not duplicates, f"duplicates: {duplicates}"
    present = set(names)
    lost = [name for name in [*expected.committed, *expected.published] if name not in present]
    assert not lost, f"lost: {lost}"
    rolled_back = present & set(expected.never)
    assert not rolled_back, f"rolled back but present: {rolled_back}"
    known = {*expected.committed, *expected.published, *expected.maybe}
    assert present <= known, f"unexpected: {present - known}"
    committed = set(expected.committed)
    assert [name for name in names if name in committed] == expected.committed


def check_readers(dump: Dump) -> None:
    log, archived = dump["log"], dump["archived"]
    ids = [event_id for event_id, *_ in log]
    assert _increasing(ids)
    assert log == archived
    assert list(reversed(dump["backwards"])) == log
    assert dump["pending"] == 0
    assert dump["fault"] == ""
    assert not ids or Cursor.parse(dump["position"]) >= Cursor.parse(ids[-1])
    # Entries that are archived under another id are removed from the stream.
    assert set(dump["stream"]) <= set(ids)


def check_subscribers(dump: Dump) -> None:
    """From each cursor, a subscriber receives the events after it."""
    for cursor, received in dump["followed"].items():
        after = Cursor.parse(cursor)
        assert received == [event for event in dump["log"] if Cursor.parse(event[0]) > after], (
            cursor
        )


def _increasing(ids: Iterable[str]) -> bool:
    cursors = [Cursor.parse(event_id) for event_id in ids]
    return all(first < second for first, second in pairwise(cursors))
