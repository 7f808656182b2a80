"""What must hold in the end, whatever died."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from events.types import Cursor

Dump = dict[str, Any]


@dataclass
class Expected:
    """`committed` in the order of commits; `published` stream-first, and not lost by Redis.

    `maybe` stream-first events may have been lost; `never` were rolled back.
    """

    committed: list[str] = field(default_factory=list)
    published: list[str] = field(default_factory=list)
    maybe: list[str] = field(default_factory=list)
    never: list[str] = field(default_factory=list)


def check(dump: Dump, expected: Expected) -> None:
    """One log is whole: everything is there once, in one order, for everybody."""
    log = dump["log"]
    names = [name for _, name, *_ in log]
    check_contents(names, expected)
    check_ends(dump)
    check_subscribers(dump)


def check_contents(names: Sequence[str], expected: Expected) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    assert not twice, f"twice: {twice}"
    there = set(names)
    lost = [name for name in [*expected.committed, *expected.published] if name not in there]
    assert not lost, f"lost: {lost}"
    rolled_back = there & set(expected.never)
    assert not rolled_back, f"rolled back, and there: {rolled_back}"
    known = {*expected.committed, *expected.published, *expected.maybe}
    assert there <= known, f"from nowhere: {there - known}"
    committed = set(expected.committed)
    assert [name for name in names if name in committed] == expected.committed


def check_ends(dump: Dump) -> None:
    log, archived = dump["log"], dump["archived"]
    ids = [event_id for event_id, *_ in log]
    assert _increasing(ids)
    assert log == archived
    assert list(reversed(dump["backwards"])) == log
    assert dump["pending"] == 0
    assert dump["fault"] == ""
    assert not ids or Cursor.parse(dump["position"]) >= Cursor.parse(ids[-1])
    # What the archive has under another id was removed from the stream.
    assert set(dump["stream"]) <= set(ids)


def check_subscribers(dump: Dump) -> None:
    """From every cursor, a subscriber receives what history has after it."""
    for cursor, received in dump["followed"].items():
        after = Cursor.parse(cursor)
        assert received == [event for event in dump["log"] if Cursor.parse(event[0]) > after], (
            cursor
        )


def _increasing(ids: Iterable[str]) -> bool:
    cursors = [Cursor.parse(event_id) for event_id in ids]
    return all(first < second for first, second in pairwise(cursors))
