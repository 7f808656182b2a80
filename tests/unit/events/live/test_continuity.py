"""The newest event that the log and the delivered events have in common."""

import asyncio

import pytest

from events.live.continuity import MAX_DELIVERED_EVENTS, DeliveredEvents, verify_continuity
from events.live.frames import EncodedMessage
from events.types import START, Cursor, Event


def event(number, content=None):
    data = b'{"n":%d}' % (number if content is None else content)
    return Event(f"{number}-0", "abc", "x", "2026", data)


def events(*numbers):
    return [event(number) for number in numbers]


def messages(*events):
    return list(map(EncodedMessage, events))


def cursor(number):
    return Cursor(number, 0)


def delivered(*numbers, floor=START):
    found = DeliveredEvents()
    found.rebase(floor, floor, messages(*events(*numbers)))
    return found


def common(recorded, log, page_size=100):
    """Verify the delivered events against a log, page by page."""

    async def read_before(before):
        return [each for each in log if before is None or each.cursor < before][-page_size:]

    return asyncio.run(verify_continuity(recorded, read_before, page_size))


@pytest.mark.parametrize("page_size", [1, 2, 3, 100])
@pytest.mark.parametrize(
    ("log", "expected"),
    [
        (events(1, 2, 3, 4), 4),
        (events(1, 2, 3, 4, 5, 6), 4),
        (events(1, 2), 2),
        (events(1, 2, 5, 6), 2),
        (events(5, 6), 0),
        ([], 0),
        ([*events(1, 2, 3), event(4, content=9)], 3),
    ],
    ids=["same", "more", "less", "others", "nothing", "empty", "changed"],
)
def test_newest_common_event(log, expected, page_size):
    found = common(delivered(1, 2, 3, 4), log, page_size)
    assert found.common == (cursor(expected) if expected else START)
    assert found.latest == log[-page_size:]
    assert found.is_whole == (len(log) < page_size)


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        (events(1, 2, 4), 2),
        ([*events(1, 2, 3), Event("3-5", "abc", "x", "2026", b"{}"), event(4)], 3),
        ([*events(1, 2), event(3, content=9), event(4)], 2),
    ],
    ids=["removed", "inserted", "changed"],
)
def test_changes_within_a_page_are_detected(log, expected):
    """An archiver that commits late changes events in the middle of the log."""
    assert common(delivered(1, 2, 3, 4), log).common == cursor(expected)


def test_first_verification_accepts_any_log():
    assert common(DeliveredEvents(), events(7, 8)).common == cursor(8)
    assert common(DeliveredEvents(), []).common == START


def test_log_below_the_recorded_events_is_assumed_unchanged():
    recorded = delivered(8, 9, floor=cursor(7))
    assert common(recorded, events(5, 6, 7)).common == cursor(7)
    assert common(recorded, events(5, 6)).common == cursor(6)
    assert common(recorded, []).common == START
    assert common(recorded, events(5, 7, 8), page_size=2).common == cursor(8)


def test_long_log_is_not_read_completely():
    read = []

    async def read_before(before):
        read.append(before)
        return events(*range(100, 110)) if before is None else events(1, 2, 3)[-10:]

    found = asyncio.run(verify_continuity(delivered(1, 2, 3), read_before, 10))
    assert found.common == cursor(3)
    assert read == [None, cursor(3).next()]


def test_last_thousand_events_are_recorded():
    recorded = delivered(1)
    recorded.add(messages(*events(*range(2, MAX_DELIVERED_EVENTS + 4))))
    assert recorded.floor == cursor(3)
    assert recorded.head == cursor(MAX_DELIVERED_EVENTS + 3)
    assert not recorded.contains(event(3))
    assert recorded.contains(event(4))
    assert not recorded.contains(event(4, content=9))


def test_rebase_replaces_events_after_the_common_event():
    recorded = delivered(1, 2, 3)
    recorded.rebase(cursor(2), START, messages(*events(1, 2), event(3, content=9), event(5)))
    assert recorded.head == cursor(5)
    assert recorded.contains(event(2))
    assert recorded.contains(event(3, content=9))


def test_rebase_over_a_gap_clears_the_record():
    recorded = delivered(1, 2, 3)
    recorded.rebase(cursor(3), cursor(50), messages(*events(51, 52)))
    assert recorded.floor == cursor(50)
    assert not recorded.contains(event(3))
    assert recorded.contains(event(52))


def test_rebase_below_the_recorded_events_clears_the_record():
    recorded = delivered(8, 9, floor=cursor(7))
    recorded.rebase(cursor(5), START, messages(*events(4, 5, 11)))
    assert recorded.floor == START
    assert [recorded.contains(each) for each in events(4, 5, 8, 11)] == [True, True, False, True]
