"""The round trip of a temporary log."""

import threading
from contextlib import contextmanager

import pytest
from django.db import connections

from events.archive.archiver import Archiver
from events.doctor import round_trip
from events.exceptions import LogDeleted
from events.history import read_events
from events.models import ArchivedEvent, EventLog
from events.publisher import get_publisher
from tests.integration.events.doctor.conftest import find
from tests.integration.events.processor.conftest import make_processor

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.database,
    pytest.mark.redis,
]


@contextmanager
def archiving():
    stop = threading.Event()

    def archive():
        archiver = Archiver()
        while not stop.wait(0.05):
            archiver.step()
        connections.close_all()

    thread = threading.Thread(target=archive)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_with_a_processor(redis_client):
    make_processor()
    with archiving():
        finding = find("round-trip")
    assert finding.state == "ok"
    assert "archived after" in finding.seen
    assert_is_erased(redis_client)


def assert_is_erased(redis_client):
    """Only tombstones remain, for two hours at most."""
    log = EventLog.objects.get()
    assert log.job_id.startswith("doctor-")
    assert log.erased_at is not None
    assert not ArchivedEvent.objects.exists()
    with pytest.raises(LogDeleted):
        read_events(log.job_id)
    with pytest.raises(LogDeleted):
        get_publisher().publish_event(log.job_id, {})
    (key,) = redis_client.keys("*doctor-*")
    assert 0 < redis_client.pttl(key) <= 3600 * 1000


def test_tombstones_expire_within_hours(monkeypatch, redis_client):
    from datetime import timedelta

    from events import erasure

    find("round-trip")
    now = erasure.database_now
    for hours, count in ((1.5, 1), (2.5, 0)):
        monkeypatch.setattr(
            erasure, "database_now", lambda hours=hours: now() + timedelta(hours=hours)
        )
        erasure.Eraser().step()
        assert EventLog.objects.count() == count


def test_without_a_processor(redis_client):
    finding = find("round-trip")
    assert finding.state == "skipped"
    assert "process_events is not running" in finding.seen
    assert_is_erased(redis_client)


def test_processor_that_does_not_archive(redis_client, monkeypatch):
    monkeypatch.setattr(round_trip, "ARCHIVE_SECONDS", 0.2)
    make_processor()
    finding = find("round-trip")
    assert finding.state == "error"
    assert "not archived within" in finding.seen
    assert_is_erased(redis_client)


def test_log_that_is_not_read(redis_client, monkeypatch):
    monkeypatch.setattr(round_trip, "read_events", lambda _job_id: [])
    assert find("round-trip").state == "error"
    assert_is_erased(redis_client)
