"""Completion: `end` is sent soon after the last event of a job."""

import asyncio
from contextlib import aclosing
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from events.history import read_events
from events.live import follow
from events.live.messages import End, KeepAlive, Live
from events.publisher import get_publisher
from events.types import Event
from jobs import services
from jobs.completion import job_completion
from jobs.models import Job
from tests.integration.jobs.conftest import archived

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

LONG_AGO = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def _short_intervals(settings):
    """The completion is checked after 0.2 seconds without events."""
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "REDIS_TIMEOUT": 0.4, "KEEP_ALIVE": 0.1}


async def watch(stop, job_id="abc"):
    """Return the event types and message names that a subscriber receives, up to one of these.

    Keep-alives count once the subscriber is live.
    """
    received = []
    async with (
        asyncio.timeout(20),
        aclosing(follow(job_id, completion=job_completion)) as messages,
    ):
        async for message in messages:
            if isinstance(message, Event):
                received.append(message.event_type)
            elif not isinstance(message, KeepAlive):
                received.append(type(message).__name__)
            if isinstance(message, stop) and (stop is not KeepAlive or "Live" in received):
                break
    return received


def in_thread(function):
    return sync_to_async(function)()


def finished_long_ago():
    then = timezone.now() - LONG_AGO
    Job.objects.update(started_at=then, finished_at=then)


async def test_job_completed_by_a_service(make_job):
    await in_thread(lambda: make_job("completed", job_id="abc"))
    assert await watch(End) == ["job_created", "task_started", "task_completed", "Live", "End"]


async def test_job_completed_by_a_worker(make_job):
    await in_thread(lambda: make_job(job_id="abc"))
    watching = asyncio.create_task(watch(End))

    def work():
        get_publisher().publish_task_started("abc", "report")
        get_publisher().publish_task_completed("abc", "report", 1)

    await in_thread(work)
    await asyncio.sleep(0.5)
    assert not watching.done()  # the row is not terminal yet: the archiver may ignore the event
    await in_thread(archived)
    received = await watching
    assert [word for word in received if word != "Live"] == [
        "job_created", "task_started", "task_completed", "End",
    ]  # fmt: skip


async def test_end_of_one_task_is_not_the_end(make_job):
    def work():
        make_job("running", job_id="abc")
        get_publisher().publish_task_completed("abc", "outline", 1, job_status="running")
        archived()

    await in_thread(work)
    assert await watch(KeepAlive) == ["job_created", "task_started", "task_completed", "Live"]
    await in_thread(lambda: services.job_complete(job_id="abc"))
    assert (await watch(End))[-2:] == ["Live", "End"]


async def test_pending_outbox_events_precede_the_end(redis_down, make_job):
    """Redis was unavailable when the job finished; the relay has not run since."""

    def work():
        make_job("completed", job_id="abc")
        finished_long_ago()
        redis_down()
        assert read_events("abc") == []

    await in_thread(work)
    received = await watch(End)
    assert [word for word in received if word != "Live"] == [
        "job_created", "task_started", "task_completed", "End",
    ]  # fmt: skip


def last_event(job_id="abc", **data):
    """Publish an event and return it, as the last of a log."""
    event_id = get_publisher().publish_event(job_id, data)
    return next(event for event in read_events(job_id, order="desc") if event.id == event_id)


async def is_completed(last):
    return list(await job_completion.completed({"abc": last})) == ["abc"]


@pytest.mark.parametrize(
    ("status", "data", "over"),
    [
        ("completed", {"event_type": "task_completed"}, True),
        ("completed", {"event_type": "task_completed", "attempt": 2}, True),
        ("completed", {"event_type": "x", "job_status": "completed", "attempt": 2}, True),
        ("failed", {"event_type": "task_failed"}, True),
        ("failed", {"event_type": "task_completed", "job_status": "failed"}, True),
        # These are not the last event of the job, which may still be appended.
        ("completed", {"event_type": "task_completed", "attempt": 1}, False),
        ("completed", {"event_type": "task_completed", "job_status": "running"}, False),
        ("cancelled", {"event_type": "task_completed"}, False),
        ("completed", {"event_type": "task_failed"}, False),
        ("completed", {"event_type": "task_progress"}, False),
        ("completed", {"event_type": "thought", "text": "bye"}, False),
        ("completed", {"event_type": "task_completed", "attempt": [2]}, False),
        ("completed", {"job_status": {"a": 1}}, False),
        ("running", {"event_type": "task_completed"}, False),
        ("pending", {"event_type": "task_completed"}, False),
    ],
)
async def test_last_event_completes_the_log_at_once(status, data, over):
    def make():
        finished_at = timezone.now() if status in Job.TERMINAL_STATUSES else None
        Job.objects.create(job_id="abc", status=status, attempt=2, finished_at=finished_at)
        return last_event(**data)

    assert await is_completed(await in_thread(make)) is over
    if status in Job.TERMINAL_STATUSES:
        await in_thread(finished_long_ago)
        assert await is_completed(None) is True


async def test_terminal_events_and_logs_without_a_job():
    last = await in_thread(lambda: last_event(event_type="thought"))
    assert not job_completion.is_terminal(last)
    assert await is_completed(last) is True
    assert job_completion.is_terminal(await in_thread(lambda: last_event(event_type="task_failed")))
    step_failed = {"event_type": "task_failed", "job_status": "running"}
    assert not job_completion.is_terminal(await in_thread(lambda: last_event(**step_failed)))


async def test_log_with_a_full_outbox_is_not_complete(make_job, redis_client, caplog):
    def make():
        redis_client.set("job_events:abc", "text")
        make_job("completed", job_id="abc")
        finished_long_ago()

    await in_thread(make)
    assert await is_completed(None) is False
    assert "completion_deferred" in caplog.messages
    await in_thread(lambda: redis_client.delete("job_events:abc"))
    assert await is_completed(None) is True
    events = await in_thread(lambda: read_events("abc"))
    assert [event.event_type for event in events][-1] == "task_completed"


async def test_subscriber_receives_live_events_until_the_end(make_job):
    await in_thread(lambda: make_job("running", job_id="abc"))
    assert await watch(Live) == ["job_created", "task_started", "Live"]
