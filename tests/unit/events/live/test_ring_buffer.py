"""The ring buffer: offsets, cursors and eviction."""

import pytest

from events.live.frames import EncodedMessage
from events.live.ring_buffer import MAX_RING_BYTES, MAX_RING_EVENTS, RingBuffer
from events.types import START, Cursor, Event


def event(number, size=2):
    return EncodedMessage(Event(f"{number}-0", "abc", "x", "2026", b"x" * size))


def ring_of(*numbers, size=2):
    ring = RingBuffer(START)
    ring.append([event(number, size) for number in numbers])
    return ring


def numbers(events):
    return [each.cursor.ms for each in events]


def test_events_are_read_in_order_by_offset():
    ring = ring_of(3, 5, 9)
    assert numbers(ring.read_from(0)) == [3, 5, 9]
    assert numbers(ring.read_from(2)) == [9]
    assert ring.read_from(3) == []
    ring.append([event(11)])
    assert numbers(ring.read_from(3)) == [11]


@pytest.mark.parametrize(("after", "first"), [(0, 3), (3, 5), (4, 5), (8, 9)])
def test_offset_after_a_cursor(after, first):
    ring = ring_of(3, 5, 9)
    assert numbers(ring.read_from(ring.offset_after(Cursor(after, 0))))[0] == first
    assert ring.read_from(ring.offset_after(Cursor(9, 0))) == []


def test_oldest_events_are_evicted_and_the_floor_rises():
    ring = ring_of(*range(1, MAX_RING_EVENTS + 4))
    assert ring.floor == Cursor(3, 0)
    assert ring.read_from(2) is None
    assert numbers(ring.read_from(3))[0] == 4
    ring = ring_of(1, 2, 3, 4, 5, size=MAX_RING_BYTES // 4)
    assert ring.floor == Cursor(1, 0)
    assert ring.size == MAX_RING_BYTES // 4 * 4


def test_event_larger_than_the_ring():
    ring = ring_of(1, 2, size=2 * MAX_RING_BYTES)
    assert (ring.floor, ring.size, ring.read_from(1)) == (Cursor(2, 0), 0, None)


def test_read_is_bounded():
    assert len(ring_of(*range(1, 500)).read_from(0)) == 64
    assert numbers(ring_of(1, 2, 3, 4, size=30_000).read_from(0)) == [1, 2, 3]


def test_offsets_of_before_a_clear_are_invalid():
    """The events in between were never in the ring."""
    ring = ring_of(1, 2)
    ring.clear(Cursor(7, 0))
    ring.append([event(8)])
    assert ring.read_from(2) is None
    assert numbers(ring.read_from(ring.offset_after(Cursor(7, 0)))) == [8]


@pytest.mark.parametrize(
    ("cursor", "expected"), [(0, True), (3, True), (4, False), (9, True), (10, False)]
)
def test_contains_events_and_the_floor(cursor, expected):
    assert ring_of(3, 5, 9).contains(Cursor(cursor, 0)) == expected
