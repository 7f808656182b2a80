"""Producer ids of idempotency keys."""

import re

import pytest

from events.exceptions import InvalidEvent
from events.producer.external import digest_of, idempotency_id
from events.types import Producer

EVENT = {"event_type": "x", "text": "ü"}


def test_id_consists_of_digests_of_key_and_content():
    one, other = idempotency_id("a", [EVENT]), idempotency_id("a", [EVENT, EVENT])
    assert one[:16] == other[:16]
    assert one[16:] != other[16:]
    assert idempotency_id("b", [EVENT])[16:] == one[16:]
    assert idempotency_id("b", [EVENT])[:16] != one[:16]
    assert Producer.parse(f"{one}:0:1") == (one, 0, 1)


def test_only_a_given_timestamp_is_content():
    assert idempotency_id("a", [EVENT]) == idempotency_id("a", [dict(EVENT)])
    timed = {**EVENT, "timestamp": "2026-01-02T03:04:05+00:00"}
    assert idempotency_id("a", [EVENT]) != idempotency_id("a", [timed])


def test_content_of_any_size_is_accepted():
    """The size is checked by the codec."""
    assert re.fullmatch(r"[\w-]{32}", idempotency_id("a", [{"text": "x" * 1_000_000}]))


@pytest.mark.parametrize("key", ["", "x" * 201, None, 7, b"key"])
def test_invalid_key(key):
    with pytest.raises(InvalidEvent, match="idempotency_key is text of 1 to 200 characters"):
        idempotency_id(key, [EVENT])


def test_digests_of_different_names_differ():
    names = [("a", "b"), ("ab",), ("a", "b", ""), ("b", "a"), ("1:a", "b"), ("\ud800",), ()]
    digests = {digest_of(each) for each in names}
    assert len(digests) == len(names)
    assert all(re.fullmatch("[0-9a-f]{24}", each) for each in digests)
