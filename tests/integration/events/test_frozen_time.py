"""Publishing, services, archiving and reading while freezegun holds the time."""

import pytest
from freezegun import freeze_time

from events import outbox
from events.archive.archiver import Archiver
from events.history import read_events
from events.publisher import RedisStreamPublisher, get_publisher
from jobs import services

NOW = "2026-01-02T03:04:05+00:00"


@pytest.fixture
def frozen():
    with freeze_time(NOW):
        yield


@pytest.mark.django_db(transaction=True)
def test_log_of_a_job_under_frozen_time(frozen):
    services.job_create(job_id="abc", task_type="x", owner=None)
    services.job_start(job_id="abc")
    get_publisher().publish_event("abc", {"event_type": "sync"})
    outbox.publish_event("abc", {"event_type": "outbox"})
    services.job_complete(job_id="abc", result={})
    while Archiver().step():
        pass
    events = list(read_events("abc"))
    types = ["job_created", "task_started", "sync", "outbox", "task_completed"]
    assert [event.event_type for event in events] == types
    assert {event.timestamp for event in events} == {NOW}


async def test_async_publisher_under_frozen_time(frozen, async_redis):
    publisher = RedisStreamPublisher(async_redis)
    await publisher.publish_event("abc", {"event_type": "x"})
    assert await publisher.get_stream_length("abc") == 1
