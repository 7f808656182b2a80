"""Page size of a reader that reads a log to its end."""

from events.history.page_size import PageSize, first_bytes
from events.types import Event


def events(*sizes):
    return [Event(f"{n}-0", "abc", "x", "", b"x" * size) for n, size in enumerate(sizes, 1)]


def test_first_bytes():
    five = events(*[10] * 5)
    assert first_bytes(five, 35) == five[:3]
    assert first_bytes(five, 50) == five
    assert first_bytes(five, 1) == five[:1]
    assert first_bytes([], 1) == []


def test_page_size_grows_and_shrinks_with_the_events():
    size = PageSize(1000, 500)
    assert size.events == 50
    assert len(size.cut(events(*[1] * 50))) == 50
    assert size.events == 100  # at most twice as many
    assert len(size.cut(events(*[100] * 100))) == 10
    assert size.events == 10
    assert len(size.cut(events(*[2000] * 10))) == 1
    assert size.events == 1


def test_maximum_number_of_events():
    size = PageSize(1000, 4)
    assert size.events == 4
    size.cut(events(*[1] * 4))
    assert size.events == 4
