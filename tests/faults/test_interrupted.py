"""A sync publish is interrupted at each line, as a signal handler may do.

Celery's soft time limit raises anywhere. The event is in the log once or not at all, a call that is
repeated with its idempotency key is there once, and no later call gets the reply of another one.
"""

import linecache
import sys
from itertools import count

import pytest

from events.exceptions import RedisUnavailable
from events.producer.sender import sync_sender
from events.publisher import SyncRedisStreamPublisher
from tests.faults.clients import numbers, stream, sync_client
from tests.faults.proxy import Act

PACKAGES = ("events/producer/", "events/streams/", "events/publisher.py")


class Interruption(BaseException):
    """What a signal handler raises."""


def interrupted_at(line, call):
    """Call, and raise Interruption before the line of this number is run; whether it was."""
    lines = count(1)

    def trace(frame, event, _argument):
        if not any(package in frame.f_code.co_filename for package in PACKAGES):
            return None
        # The interpreter runs no signal handler at the instruction for `try:`.
        source = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
        if event == "line" and source != "try:" and next(lines) == line:
            raise Interruption
        return trace

    sys.settrace(trace)
    try:
        call()
    except Interruption:
        return True
    finally:
        sys.settrace(None)
    return False


@pytest.fixture(params=["plain", "single"])
def publisher(request, proxy):
    with sync_client(proxy.port, request.param, seconds=5) as client:
        publisher = SyncRedisStreamPublisher(client)
        publisher.publish_event("abc", {"n": 0})
        yield publisher


@pytest.mark.parametrize("keyed", [True, False], ids=["key", "no-key"])
def test_a_publish_is_interrupted_at_each_line(publisher, redis_client, keyed):
    for n in count(1):
        key = f"{n}" if keyed else None

        def publish(n=n, key=key):
            return publisher.publish_event("abc", {"n": n}, idempotency_key=key)

        was_interrupted = interrupted_at(n, publish)
        event_id = publish() if keyed else publisher.publish_event("abc", {"n": -n})
        assert stream(redis_client)[-1] == (event_id, n if keyed else -n)
        if not was_interrupted:
            break
    assert n > 50
    there = [number for number in numbers(redis_client) if number > 0]
    assert sorted(set(there)) == sorted(there)
    assert len(there) == n if keyed else 5 < len(there) < n
    assert publisher._redis.get("nothing") is None
    pool = publisher._redis.connection_pool
    producers = sync_sender(publisher._senders)._producers
    assert len(pool._in_use_connections) <= len([p for p in producers if p.connection])


@pytest.mark.parametrize("act", [Act.LOST_AFTER, Act.LOST_BEFORE])
def test_a_retry_is_interrupted_at_each_line(publisher, proxy, redis_client, act):
    for n in count(1):
        proxy.plan(*[act] * 8)  # a call that was interrupted may arrive as well
        with pytest.raises(RedisUnavailable) as caught:
            publisher.publish_event("abc", {"n": n})
        proxy.plan()

        def retry(pending=caught.value.pending):
            return publisher.retry(pending)

        was_interrupted = interrupted_at(n, retry)
        event_id = retry()
        assert (event_id, n) in stream(redis_client)
        if not was_interrupted:
            break
    assert n > 30
    assert sorted(numbers(redis_client)) == list(range(n + 1))
