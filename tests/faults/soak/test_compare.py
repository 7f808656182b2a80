"""The comparison of a reader with the log detects every kind of defect."""

import json

import pytest

from events.types import Cursor
from tests.faults.soak.compare import Logged, received_by

LOG = {"a": [Logged(Cursor(n, 0), f"e{n}", "") for n in (1, 2, 3)]}


def event(number, name=None):
    return {"job": "a", "id": f"{number}-0", "c": name or f"e{number}"}


def reset(number):
    return {"job": "a", "reset": f"{number}-0"}


@pytest.mark.parametrize(
    ("notes", "expected"),
    [
        ([event(1), event(2), event(3)], {}),
        ([event(1), event(9, "e3"), reset(1), event(2), event(3)], {}),
        ([event(1), event(3)], {"lost": 1}),
        ([event(1), event(2), event(2), event(3)], {"duplicates": 1, "out_of_order": 1}),
        ([event(1), event(3), event(2)], {"out_of_order": 2}),
        ([event(1), event(2), event(3), event(4, "e3")], {"duplicates": 1}),
        ([event(1), event(2), event(3), event(4)], {"unexpected": 1}),
        ([event(1), event(2), event(3, "x")], {"lost": 1, "unexpected": 1}),
        ([event(1), event(2), event(3), reset(2)], {"lost": 1}),
    ],
    ids=[
        "equal", "reset", "lost", "duplicates", "out-of-order", "two-ids", "gone", "changed",
        "reset-only",
    ],
)  # fmt: skip
def test_defects_of_a_reader_are_counted(tmp_path, notes, expected):
    path = tmp_path / "reader.notes"
    path.write_text("\n".join(map(json.dumps, notes)))
    counts = received_by(path, LOG).counts
    names = ("lost", "duplicates", "out_of_order", "unexpected")
    found = {name: getattr(counts, name) for name in names if getattr(counts, name)}
    assert found == expected
