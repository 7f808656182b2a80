"""Unit tests of the reader of a cluster's master."""

from types import SimpleNamespace

import pytest

from events.live.stream_reader import ClusterStreamReader
from events.live.topic import Topic
from events.streams.retry import SlotMoved
from events.types import START


class Moved:
    """A connection whose node serves no key any more."""

    def __init__(self, before_reply):
        self.before_reply = before_reply

    async def send_all(self, requests):
        self.before_reply()
        return [SlotMoved() for _ in requests]


@pytest.mark.parametrize("is_verifying", [False, True])
@pytest.mark.parametrize("method", ["_read_some", "_check_heads"])
async def test_topic_whose_slot_moved_is_verified_again_once(method, is_verifying):
    """A topic that is being verified stays: the reader finds the same when it reads it again."""
    moved, topic = [], Topic("abc", "job_events:abc")
    reader = ClusterStreamReader(None, None, moved.append, SimpleNamespace(name="127.0.0.1:1"))
    topic.is_verified, topic.head, reader.topics = True, START, {topic.key: topic}
    topics = [topic] if method == "_read_some" else [(topic, topic.epoch)]
    connection = Moved(topic.invalidate if is_verifying else lambda: None)
    await getattr(reader, method)(connection, topics)
    assert moved == ([] if is_verifying else [topic])
    assert reader.topics == ({topic.key: topic} if is_verifying else {})
