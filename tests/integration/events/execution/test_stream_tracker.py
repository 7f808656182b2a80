"""Spans of tasks in projects without the app `jobs`."""

from datetime import UTC, datetime, timedelta

import pytest

from events.exceptions import JobCancelled
from events.execution.adapter import Cancelled, Failed, QueueAdapter, Retry
from events.execution.run import Delivery, Reason
from events.execution.stream_tracker import StreamRunTracker
from events.execution.tracker import registry
from events.history import read_events
from events.spans import current_span
from tests.support.spans import ended_spans

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


@pytest.fixture(autouse=True)
def tracker(monkeypatch):
    tracker = StreamRunTracker()
    monkeypatch.setattr(registry, "tracker", tracker)
    return tracker


class Adapter(QueueAdapter):
    name = "test"

    def outcome(self, error):
        if isinstance(error, OSError):
            return Retry(1.0, error)
        return Cancelled(Reason.IGNORED) if isinstance(error, KeyError) else Failed()


def message(key="k1", **fields):
    return Delivery("test", key, "abc", "work", sends_heartbeats=False, **fields)


def statuses():
    log = [event.data for event in read_events("abc")]
    return [end[1:] for end in ended_spans(log)]


def run(error=None, **options):
    def work():
        if error is not None:
            raise error
        return 1

    if error is None:
        return Adapter().run(message(), work, **options)
    with pytest.raises(type(error)):
        Adapter().run(message(), work, **options)
    return None


def test_every_end(tracker):
    run(OSError("busy"))
    run(OSError("busy"))
    run(continues=True)
    run(ValueError("boom"))
    run(KeyError("gone"))
    run()
    assert statuses() == [
        ("task_retry", "retry"), ("task_retry", "retry"), ("task_completed", "done"),
        ("task_failed", "failed"), ("task_revoked", "cancelled"), ("task_completed", "done"),
    ]  # fmt: skip


def test_stopped_task():
    adapter = Adapter()
    task = adapter.begin(message())
    assert current_span("abc") == task.span_id
    task.stopped = True
    adapter.finish(task, error=JobCancelled())
    assert current_span() is None
    assert statuses() == [("task_stopped", "cancelled")]


def test_queue_time():
    message_before = message(enqueued_at=datetime.now(UTC) - timedelta(seconds=600))
    Adapter().run(message_before, lambda: None)
    assert read_events("abc")[0].data["data"]["queue_seconds"] == pytest.approx(600, abs=60)


@pytest.mark.parametrize("how", ["mark_lost", "revoke"])
def test_dead_worker(tracker, how):
    """The process that reports it does not know which delivery it was."""
    run(OSError("busy"))
    tracker.claim(message())
    tracker.claim(message("k2"))
    if how == "mark_lost":
        tracker.mark_lost(message(), Reason.WORKER_LOST, "It died.")
        tracker.mark_lost(message("k2"), Reason.WORKER_LOST, "It died.")
        assert statuses() == [("task_retry", "retry"), *[("task_failed", "failed")] * 2]
    else:
        tracker.revoke(message(), Reason.TERMINATED)
        tracker.revoke(message("k2"), Reason.TERMINATED)
        assert statuses() == [("task_retry", "retry"), *[("task_revoked", "cancelled")] * 2]


def test_dead_worker_without_a_claim(tracker):
    tracker.mark_lost(message(), Reason.WORKER_LOST, "It died.")
    assert statuses() == []
