"""Topic: verification of the log, ring buffer and backpressure."""

import asyncio
from time import monotonic

import pytest

from events.live import topic as topics
from events.live.completion import CompletionQueries
from events.live.continuity import LogEnd
from events.live.ring_buffer import MAX_RING_EVENTS
from events.live.topic import Topic
from events.types import START, Cursor, Event


def events(*numbers):
    return [Event(f"{n}-0", "abc", "x", "2026", b'{"n":%d}' % n) for n in numbers]


class FakeSubscriber:
    """Records calls."""

    def __init__(self, offset=None):
        self.offset, self.calls = offset, []

    def wake(self):
        self.calls.append("wake")

    def rewind(self, common, head):
        self.calls.append((common.ms, head.ms))

    def tick(self, now, keep_alive, send_timeout):
        pass


def end(common, *numbers, is_whole=True):
    return LogEnd(Cursor(common, 0), events(*numbers), is_whole)


def in_ring(topic):
    return [each.cursor.ms for each in topic.ring.read_from(topic.ring.start)]


@pytest.fixture
def topic():
    topic = Topic("abc", "job_events:abc")
    topic.resume(end(3, 1, 2, 3))
    return topic


def test_topic_starts_with_the_end_of_the_log(topic):
    assert (topic.head, topic.ring.floor, in_ring(topic)) == (Cursor(3, 0), START, [1, 2, 3])
    later = Topic("abc", "job_events:abc")
    later.resume(end(9, 7, 8, 9, is_whole=False))
    assert (later.ring.floor, in_ring(later)) == (Cursor(7, 0), [8, 9])


def test_unchanged_log_keeps_the_ring(topic):
    offset = topic.ring.end
    topic.invalidate()
    topic.resume(end(3, 2, 3, is_whole=False))
    assert topic.ring.read_from(offset) == []
    assert topic.unsettled_until == 0


def test_loss_clears_the_ring_and_rewinds_every_subscriber(topic):
    subscriber = FakeSubscriber()
    topic.subscribers.add(subscriber)
    offset = topic.ring.end
    topic.append(events(4))
    topic.invalidate()
    topic.resume(end(2, 1, 2, 6))
    assert topic.ring.read_from(offset) is None
    assert in_ring(topic) == [1, 2, 6]
    assert (topic.head, topic.last.id) == (Cursor(6, 0), "6-0")
    assert subscriber.calls == [(2, 4)]
    assert topic.unsettled_until > 0


def test_topic_of_a_wiped_log(topic):
    topic.invalidate()
    topic.resume(LogEnd(START, [], True))
    assert (topic.head, topic.last, in_ring(topic)) == (START, None, [])
    topic.invalidate()
    topic.resume(end(0, 8))
    assert in_ring(topic) == [8]


def test_replies_of_an_earlier_epoch_are_not_current(topic):
    epoch = topic.epoch
    assert topic.is_current(epoch)
    topic.invalidate()
    assert not topic.is_current(epoch)
    topic.resume(end(3, 1, 2, 3))
    assert not topic.is_current(epoch)
    assert topic.is_current(topic.epoch)


def test_missing_entry_that_is_in_the_log_counts_as_archived(topic):
    topic.invalidate(is_head_missing=True)
    topic.resume(end(3, 1, 2, 3))
    assert topic.is_head_archived
    topic.append(events(4))
    assert not topic.is_head_archived


def test_events_after_a_missing_entry_are_verified_again(topic):
    topic.invalidate(is_head_missing=True)
    topic.resume(end(3, 1, 2, 3, 4))
    assert not topic.is_head_archived
    assert topic.unsettled_until > 0


def test_finished_job_completes_its_topic_unless_events_were_lost(topic):
    topic.is_ending = True
    topic.invalidate()
    topic.resume(end(2, 1, 2))
    assert not topic.is_completed
    topic.is_ending = True
    topic.invalidate()
    topic.resume(end(2, 1, 2))
    assert topic.is_completed


def test_later_event_of_a_finished_job_is_delivered_before_its_topic_completes(topic):
    topic.is_ending = True
    topic.invalidate()
    topic.resume(end(3, 1, 2, 3, 4))
    assert not topic.is_completed


async def test_job_with_a_later_event_is_not_finished(topic):
    finished = []
    completions = CompletionQueries(finished.append)

    class Completion:
        def is_terminal(self, event):
            return True

        async def completed(self, last):
            if not finished and topic.last.id == "3-0":
                topic.append(events(4))
            return last.keys()

    topic.completion = Completion()
    completions.add_if_terminal(topic)
    task = asyncio.create_task(completions.run())
    await asyncio.sleep(0.01)
    assert finished == []
    completions.add_if_terminal(topic)
    while not finished:  # noqa: ASYNC110 - no event to wait for
        await asyncio.sleep(0)
    assert finished == [topic]
    task.cancel()


def test_slow_subscriber_is_detached_after_max_lag_seconds(monkeypatch):
    """The ring has no room until then."""
    topic = Topic("abc", "job_events:abc")
    topic.resume(LogEnd(START, [], True))
    slow, quick = FakeSubscriber(offset=0), FakeSubscriber(offset=MAX_RING_EVENTS)
    topic.tailing |= {slow, quick}
    topic.append(events(*range(1, MAX_RING_EVENTS // 2 + 1)))
    assert topic.has_room()
    topic.append(events(*range(1000, 1200)))
    assert not topic.has_room()
    topic.wait(quick)
    assert not topic.has_room()
    monkeypatch.setattr(topics, "MAX_LAG_SECONDS", 0)
    assert topic.has_room()
    assert topic.tailing == {quick}


async def test_pages_that_were_read_are_released():
    topic = Topic("abc", "job_events:abc")
    read, unread = asyncio.Future(), asyncio.Future()
    read.set_result([])
    topic.pages = {"read": read, "unread": unread}
    topic.tidy(monotonic())
    assert list(topic.pages) == ["unread"]
