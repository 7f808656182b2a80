"""Rows and entries for tests of the status."""

from datetime import timedelta

import pytest
from django.utils import timezone

from events.models import ArchiveCheckpoint, ArchivedEvent, EventLog, Processor
from events.types import START


@pytest.fixture
def redis_down(settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "REDIS_URL": "unix:///nonexistent/redis.sock"}


@pytest.fixture
def add_entries(redis_client):
    """Append entries to a stream; return their ids."""

    def add_entries(count, key="job_events:abc"):
        return [redis_client.xadd(key, {"data": "{}"}).decode() for _ in range(count)]

    return add_entries


def make_log(job_id="abc", position=START, error="", since=None):
    log = EventLog.objects.create(job_id=job_id)
    ArchiveCheckpoint.objects.create(log=log, position=position, error=error, failed_at=since)
    return log


def put_in_outbox(log, seconds_ago=0.0, event_id=None):
    at = timezone.now() - timedelta(seconds=seconds_ago)
    row = {"event_type": "x", "timestamp": "x", "data": "{}"}
    ArchivedEvent.objects.create(log=log, event_id=event_id, written_at=at, **row)


def make_processor(name="host:1", seconds_ago=0.0):
    at = timezone.now() - timedelta(seconds=seconds_ago)
    stats = {"rounds": 1, "events": 2, "failures": 0, "failing": False, "error": ""}
    return Processor.objects.create(
        name=name, started_at=at, heartbeat_at=at, loops={"relay": stats, "archiver": stats}
    )
