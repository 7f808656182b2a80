"""What is known of a log that loses some of what it had, and finds some of it again."""

import pytest

from events.live.given import Given
from events.types import START, Cursor, Event


def event(number, producer="", raw=b"{}"):
    return Event(f"{number}-0", "abc", "x", "2026", raw, producer)


@pytest.fixture
def given():
    given = Given(START)
    for each in (event(1, "a:0:1"), event(2), event(3, "a:0:2")):
        given.add(each)
    return given


def test_an_entry_is_known_by_its_place_and_content(given):
    assert given.has(event(2))
    assert not given.has(event(2, raw=b"[]"))
    assert not given.has(event(2, "a:0:9"))
    assert not given.has(event(4))


def test_an_event_is_known_by_its_producer_wherever_it_is(given):
    again = event(9, "a:0:2")
    assert given.knows(again)
    assert given.is_repeat(again)
    assert not given.lost(again)
    assert not given.knows(event(9, "b:0:2"))


def test_what_was_lost_is_no_repeat_and_has_its_place(given):
    given.lose(Cursor(1, 0), 4)
    again = event(9, "a:0:2")
    assert not given.is_repeat(again)
    assert given.lost(again) == ((Cursor(3, 0), 4),)
    assert not given.lost(event(9, "a:0:1"))
    given.add(again)
    given.lose(Cursor(8, 0), 5)
    assert given.lost(event(10, "a:0:2")) == ((Cursor(3, 0), 4), (Cursor(9, 0), 5))


def test_what_comes_back_is_found_at_its_place(given):
    given.lose(START, 4)
    assert given.first_lost() == Cursor(1, 0)
    assert given.find([event(2), event(3, "other")]) == [(Cursor(2, 0), 4)]
    assert given.find([event(2)]) == []
    assert given.first_lost() == Cursor(1, 0)


def test_a_thousand_are_remembered(given):
    for number in range(4, 1005):
        given.add(event(number, f"b:0:{number}"))
    assert given.start == Cursor(4, 0)
    assert not given.has(event(4, "b:0:4"))
    assert given.has(event(5, "b:0:5"))
    assert not given.knows(event(3000, "b:0:4"))
