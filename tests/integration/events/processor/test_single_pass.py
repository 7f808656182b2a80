"""A single pass: all steps until none finds work, and what is left afterwards."""

import time
from dataclasses import replace
from datetime import timedelta

import pytest
from django.utils import timezone

from events.exceptions import RedisUnavailable
from events.models import ArchivedEvent, EventLog
from events.processor.single_pass import pending_work, run_single_pass

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


def put_in_outbox(seconds_ago=0.0):
    ArchivedEvent.objects.create(
        log=EventLog.objects.create(job_id="abc"),
        event_type="x",
        timestamp="x",
        data="{}",
        written_at=timezone.now() - timedelta(seconds=seconds_ago),
    )


def test_steps_run_until_none_finds_work():
    relay, archiver = [2, 1, 0, 0, 0], [0, 3, 0, 1, 0]
    steps = {"relay": lambda: relay.pop(0), "archiver": lambda: archiver.pop(0)}
    result = run_single_pass(steps, timeout=30)
    assert (result.counts, result.idle) == ({"relay": 3, "archiver": 3}, True)
    assert (relay, archiver) == ([0, 0], [1, 0])


def test_pass_ends_at_its_timeout():
    def step():
        time.sleep(0.05)
        return 1

    result = run_single_pass({"relay": step}, timeout=0.3)
    assert not result.idle
    assert 1 <= result.counts["relay"] <= 8
    assert "There is more work" in pending_work(result)


def test_pass_waits_for_events_that_were_just_committed():
    put_in_outbox(seconds_ago=0.8)

    def relay():
        """Leave recent events to the process that committed them, like the real relay."""
        old = ArchivedEvent.objects.filter(written_at__lt=timezone.now() - timedelta(seconds=1))
        return old.delete()[0]

    result = run_single_pass({"relay": relay}, timeout=30)
    assert result.counts == {"relay": 1}
    assert pending_work(result) == ""


def test_events_left_in_the_outbox_are_pending_work():
    put_in_outbox()
    result = run_single_pass({"relay": lambda: 0}, timeout=30)
    assert result.seconds > 1.5
    assert "The outbox has events" in pending_work(result)


def test_entries_that_are_not_archived_are_pending_work(redis_client):
    """The archiver skips a log whose row another transaction has locked."""
    redis_client.xadd("job_events:abc", {"data": "{}"})
    time.sleep(0.1)
    result = run_single_pass({"archiver": lambda: 0}, timeout=30)
    assert "not archived" in pending_work(result)
    assert pending_work(replace(result, seconds=10)) == ""  # appended after the start


def test_error_of_a_step_is_raised():
    def step():
        raise RedisUnavailable

    with pytest.raises(RedisUnavailable):
        run_single_pass({"relay": step}, timeout=1)
