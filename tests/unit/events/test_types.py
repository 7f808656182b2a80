"""Job ids and cursors."""

import pytest

from events.exceptions import InvalidCursor, InvalidJobId
from events.types import START, Cursor, check_job_id

LARGEST = Cursor(2**64 - 1, 2**64 - 1)


@pytest.mark.parametrize("job_id", ["a", "A-z_09", "x" * 64])
def test_valid_job_id(job_id):
    assert check_job_id(job_id) == job_id


@pytest.mark.parametrize(
    "job_id",
    [
        "",
        "x" * 65,
        "a b",
        "a/b",
        "../x",
        "ü",
        "a\n",
        "a\x00",
        "*",
        "\ud800",
        "x" * 70_000,
        5,
        None,
        b"a",
    ],
)
def test_invalid_job_id(job_id):
    with pytest.raises(InvalidJobId, match="1 to 64") as caught:
        check_job_id(job_id)
    assert len(str(caught.value)) < 200


def test_cursor_round_trip():
    assert Cursor.parse("0") == START == Cursor.parse("0-0")
    assert Cursor.parse("1700000000000-12") == Cursor(1_700_000_000_000, 12)
    assert str(Cursor(5, 7)) == "5-7"
    assert Cursor.parse(str(LARGEST)) == LARGEST
    assert Cursor.parse(START) is START


def test_parts_above_64_bits_count_as_the_maximum():
    assert Cursor.parse("99999999999999999999-0") == Cursor(2**64 - 1, 0)
    assert Cursor.parse("0-18446744073709551616") == Cursor(0, 2**64 - 1)


@pytest.mark.parametrize(
    "text",
    ["", "$", "-", "+", "1", "1-", "-1", "1-2-3", "a-b", " 1-1", "1-1\n", "1.5-0", "١-٢", "(1-1",
     "9" * 21 + "-0", None, 5, b"1-1",
     "\ud800"],
)  # fmt: skip
def test_invalid_cursor(text):
    with pytest.raises(InvalidCursor):
        Cursor.parse(text)


def test_cursors_are_ordered_as_numbers():
    assert Cursor.parse("9-0") < Cursor.parse("10-0") < Cursor.parse("10-2") < Cursor.parse("10-10")


def test_next_and_previous_cursor():
    assert Cursor(5, 0).next() == Cursor(5, 1)
    assert Cursor(5, 2**64 - 1).next() == Cursor(6, 0)
    assert LARGEST.next() is None
    assert Cursor(5, 1).previous() == Cursor(5, 0)
    assert Cursor(5, 0).previous() == Cursor(4, 2**64 - 1)
    assert START.previous() is None
