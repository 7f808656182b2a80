"""Subscriber: reset and completion after the topic was verified."""

import pytest

from events.live.hub import Hub
from events.live.subscriber import Subscriber
from events.live.topic import Topic
from events.types import START, Cursor


def cursor(number):
    return Cursor(number, 0)


@pytest.fixture
def subscriber():
    subscriber = Subscriber("abc", START, None)
    subscriber.cursor = cursor(8)
    return subscriber


def test_subscriber_past_the_common_event_is_rewound(subscriber):
    subscriber.offset = 5
    subscriber.rewind(cursor(6), cursor(9))
    assert (subscriber.cursor, subscriber.offset) == (cursor(6), None)
    subscriber.rewind(cursor(7), cursor(9))
    assert subscriber._reset_after == cursor(6)
    subscriber.rewind(cursor(3), cursor(9))
    assert subscriber._reset_after == cursor(3)


def test_subscriber_at_the_common_event_is_not_reset(subscriber):
    subscriber.rewind(cursor(8), cursor(9))
    assert (subscriber.cursor, subscriber._reset_after) == (cursor(8), None)


def test_cursor_above_the_head_is_checked_again(subscriber):
    """The topic has no record of the event, which another process delivered."""
    subscriber.rewind(cursor(7), cursor(7))
    assert (subscriber.cursor, subscriber._reset_after) == (cursor(8), None)
    assert not subscriber._is_checked


def test_cursor_that_was_not_checked_is_rewound():
    subscriber = Subscriber("abc", cursor(8), None)
    subscriber.rewind(cursor(6), cursor(9))
    assert (subscriber.cursor, subscriber._reset_after) == (cursor(6), cursor(6))


def test_verification_that_has_begun_does_not_end_the_topic():
    """The verification may have read the log before the last event was appended."""
    topic = Topic("abc", "job_events:abc")
    Hub(lambda: None)._finish(topic)
    assert not topic.is_ending
