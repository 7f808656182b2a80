"""The process that runs the loops: heartbeat, health log, shutdown."""

import logging
import threading
import time
from datetime import timedelta

import pytest
from django.utils import timezone

from events.models import Processor
from events.processor import is_running
from events.processor.processor import EventProcessor

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

TIMEOUT = 15.0


@pytest.fixture
def run():
    """Run a processor of the given steps until a condition holds."""

    def run(until, timeout=5.0, **steps):
        processor = EventProcessor(steps or {"relay": lambda: 0})
        deadline = time.monotonic() + TIMEOUT
        unfinished = processor.run(lambda: until() or time.monotonic() > deadline, timeout=timeout)
        assert time.monotonic() <= deadline, "the condition did not hold in time"
        return unfinished

    return run


def messages(caplog, name):
    return [record for record in caplog.records if record.message == name]


def test_running_processor_sends_heartbeats(run):
    rows = []

    def until():
        rows.extend(Processor.objects.all())
        return rows

    assert run(until, relay=lambda: 0, archiver=lambda: 0) == []
    (processor,) = rows
    assert processor.name.count(":") == 1
    assert processor.started_at <= processor.heartbeat_at
    assert set(processor.loops) == {"relay", "archiver", "heartbeat", "health", "redis"}
    assert set(processor.loops["relay"]) == {
        "rounds", "events", "failures", "failing", "failing_seconds", "error", "succeeded_at",
    }  # fmt: skip
    assert not Processor.objects.exists()
    assert not is_running()


def test_rows_of_processors_dead_for_an_hour_are_deleted(run):
    now = timezone.now()
    for name, minutes in (("old:1", 61), ("dead:1", 30)):
        at = now - timedelta(minutes=minutes)
        Processor.objects.create(name=name, started_at=at, heartbeat_at=at)
    run(lambda: not Processor.objects.filter(name="old:1").exists())
    assert [processor.name for processor in Processor.objects.all()] == ["dead:1"]


def test_health_is_logged_at_start_and_at_stop(run, caplog):
    caplog.set_level(logging.INFO)
    run(lambda: messages(caplog, "process_events_status"), relay=lambda: 0)
    first, last = (record.__dict__ for record in messages(caplog, "process_events_status"))
    assert (first["state"], last["state"]) == ("running", "stopped")
    assert (first["outbox"], first["streams_behind"], first["stalled"]) == (0, 0, 0)
    assert first["redis"] == "ok"
    assert last["relay_events"] >= 0


def test_health_is_logged_without_redis(run, caplog, settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "REDIS_URL": "unix:///nonexistent/redis.sock"}
    caplog.set_level(logging.INFO)
    run(lambda: messages(caplog, "process_events_status"))
    first = messages(caplog, "process_events_status")[0].__dict__
    assert (first["streams_behind"], first["redis"]) == (None, "Redis did not answer.")


def test_loop_that_hangs_is_logged_at_stop(run, caplog):
    caplog.set_level(logging.INFO)
    released = threading.Event()
    started = threading.Event()

    def hang():
        started.set()
        released.wait(TIMEOUT)
        return 0

    try:
        assert run(started.is_set, timeout=0.5, relay=hang) == ["relay"]
    finally:
        released.set()
    last = messages(caplog, "process_events_status")[-1].__dict__
    assert last["unfinished"] == ["relay"]
    assert not Processor.objects.exists()
