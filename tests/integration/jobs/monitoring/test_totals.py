"""Sums of samples that never decrease within a day."""

from datetime import UTC, datetime, timedelta

import pytest

from events.database import column_time
from jobs.models import MonitorCheckpoint, Sample
from jobs.monitoring import figures
from jobs.monitoring.sampler import CHECKPOINT, LATE
from jobs.monitoring.totals import SampleTotals

pytestmark = [pytest.mark.django_db, pytest.mark.database]

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def sampled(until):
    """Samples are written until a time, and final until LATE before it."""
    MonitorCheckpoint.objects.update_or_create(name=CHECKPOINT, defaults={"at": column_time(until)})


def final(until):
    sampled(until + LATE)


def sample(at, name, value, seconds=60):
    Sample.objects.create(at=column_time(at), name=name, value=value, seconds=seconds)


def test_no_samples():
    assert SampleTotals().read() == {}


def test_minutes_are_added():
    totals = SampleTotals()
    sample(NOON, figures.EVENTS_APPENDED, 3)
    sample(NOON, figures.ATTEMPTS_ENDED, {"a": {"failed": 1}})
    final(NOON + MINUTE)
    assert totals.read()[figures.EVENTS_APPENDED] == 3
    sample(NOON + MINUTE, figures.EVENTS_APPENDED, 4)
    sample(NOON + MINUTE, figures.ATTEMPTS_ENDED, {"a": {"failed": 1, "completed": 2}, "b": {}})
    final(NOON + 2 * MINUTE)
    found = totals.read()
    assert found[figures.EVENTS_APPENDED] == 7
    assert found[figures.ATTEMPTS_ENDED] == {
        "a": {"completed": 2, "failed": 2, "cancelled": 0},
        "b": {"completed": 0, "failed": 0, "cancelled": 0},
    }


def test_minutes_that_may_change_are_not_added():
    """The sampler computes them again: with less, if a job was deleted."""
    sample(NOON, figures.JOBS_CREATED, {"a": 2})
    sample(NOON + MINUTE, figures.JOBS_CREATED, {"a": 1})
    sampled(NOON + 2 * MINUTE)
    assert SampleTotals().read()[figures.JOBS_CREATED] == {}
    sampled(NOON + MINUTE + LATE)
    assert SampleTotals().read()[figures.JOBS_CREATED] == {"a": 2}


def test_last_minute_of_a_day_counts_before_the_sums_restart():
    totals = SampleTotals()
    midnight = NOON.replace(hour=0) + timedelta(days=1)
    sample(NOON, figures.EVENTS_APPENDED, 1)
    sample(midnight - MINUTE, figures.EVENTS_APPENDED, 2)
    sample(midnight, figures.EVENTS_APPENDED, 4)
    read = []
    for until in (midnight - MINUTE, midnight, midnight + MINUTE):
        final(until)
        read.append(totals.read()[figures.EVENTS_APPENDED])
    assert read == [1, 3, 4]


def test_labels_of_the_week_before_begin_with_0():
    yesterday = NOON - timedelta(days=1)
    sample(yesterday, figures.ATTEMPTS_ENDED, {"a": {"completed": 9}}, seconds=3600)
    sample(yesterday, figures.FAILURES, {"worker_lost": 3}, seconds=3600)
    sample(NOON - timedelta(days=9), figures.FAILURES, {"expired": 3}, seconds=3600)
    final(NOON)
    found = SampleTotals().read()
    assert found[figures.ATTEMPTS_ENDED] == {"a": {"completed": 0, "failed": 0, "cancelled": 0}}
    assert found[figures.FAILURES] == {"error": 0, "worker_lost": 0}


def test_labels_of_a_day_are_bounded():
    for minute in range(4):
        value = {f"type-{minute}-{number}": 1 for number in range(20)}
        sample(NOON + minute * MINUTE, figures.JOBS_CREATED, value)
    final(NOON + 4 * MINUTE)
    found = SampleTotals().read()[figures.JOBS_CREATED]
    assert len(found) == figures.MAX_LABELS + 1
    assert (found["other"], sum(found.values())) == (30, 80)


def test_sums_of_two_processes_are_equal():
    """Prometheus takes a smaller number for a restart, and adds it to what it has."""
    first = SampleTotals()
    for minute in range(30):
        at = NOON + minute * MINUTE
        sample(at, figures.COST, {f"type-{(minute * 7) % 60}": 0.1, "b": 0.7, "a": 0.3 * minute})
        final(at + MINUTE)
        if minute % 3 == 0:
            first.read()
    assert first.read() == SampleTotals().read()


def test_earlier_result_is_not_changed():
    totals = SampleTotals()
    sample(NOON, figures.JOBS_CREATED, {"a": 2})
    final(NOON + MINUTE)
    found = totals.read()
    sample(NOON + MINUTE, figures.JOBS_CREATED, {"a": 2})
    final(NOON + 2 * MINUTE)
    assert (totals.read()[figures.JOBS_CREATED], found[figures.JOBS_CREATED]) == (
        {"a": 4},
        {"a": 2},
    )
