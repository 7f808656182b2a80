"""Exceptions raised by a signal handler at any line of a sync publish.

Celery's soft time limit does this. The event is appended at most once. A call that is repeated with
its idempotency key is appended once. No later call receives the reply of an interrupted one.
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
    """Raised in place of a signal handler's exception."""


def interrupt_at(line, call):
    """Raise Interruption before the nth executed line of a call; return whether it was reached."""
    lines = count(1)

    def trace(frame, event, _argument):
        if not any(package in frame.f_code.co_filename for package in PACKAGES):
            return None
        # The interpreter runs no signal handlers at the instruction of `try:`.
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
def test_publish_interrupted_at_each_line(publisher, redis_client, keyed):
    for n in count(1):
        key = f"{n}" if keyed else None

        def publish(n=n, key=key):
            return publisher.publish_event("abc", {"n": n}, idempotency_key=key)

        was_interrupted = interrupt_at(n, publish)
        event_id = publish() if keyed else publisher.publish_event("abc", {"n": -n})
        assert stream(redis_client)[-1] == (event_id, n if keyed else -n)
        if not was_interrupted:
            break
    assert n > 50
    appended = [number for number in numbers(redis_client) if number > 0]
    assert sorted(set(appended)) == sorted(appended)
    assert len(appended) == n if keyed else 5 < len(appended) < n
    assert publisher._redis.get("nothing") is None
    pool = publisher._redis.connection_pool
    producers = sync_sender(publisher._senders)._producers
    assert len(pool._in_use_connections) <= len([p for p in producers if p.connection])


@pytest.mark.parametrize("act", [Act.LOST_AFTER, Act.LOST_BEFORE])
def test_retry_interrupted_at_each_line(publisher, proxy, redis_client, act):
    for n in count(1):
        proxy.plan(*[act] * 8)  # includes calls of the interrupted attempt
        with pytest.raises(RedisUnavailable) as caught:
            publisher.publish_event("abc", {"n": n})
        proxy.plan()

        def retry(pending=caught.value.pending):
            return publisher.retry(pending)

        was_interrupted = interrupt_at(n, retry)
        event_id = retry()
        assert (event_id, n) in stream(redis_client)
        if not was_interrupted:
            break
    assert n > 30
    assert sorted(numbers(redis_client)) == list(range(n + 1))
