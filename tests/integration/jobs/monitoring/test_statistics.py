"""Statistics: series from samples, and the same from the jobs of a user."""

from datetime import timedelta

import pytest
from django.utils import timezone

from jobs.models import Job, Sample
from jobs.monitoring import statistics
from jobs.monitoring.histogram import bucket_of
from jobs.monitoring.statistics import RANGES, series, user_series
from tests.integration.jobs.monitoring.conftest import NOW, ended_job

pytestmark = [pytest.mark.django_db, pytest.mark.database]

START = NOW.replace(second=0) - timedelta(hours=1)


@pytest.fixture(autouse=True)
def _clock(clock):
    pass


def sample(minute, **values):
    at = START + timedelta(minutes=minute)
    return [Sample(name=name, at=at, seconds=60, value=each) for name, each in values.items()]


def test_the_series_of_samples():
    Sample.objects.bulk_create(
        [
            *sample(0, events_appended=9, processors=2, jobs_created={"a": 1, "b": 2}),
            *sample(1, events_appended=0),
            *sample(
                59,
                events_appended=3,
                events_archived=4,
                attempts_ended={"a": {"failed": 1, "completed": 3}, "b": {"completed": 4}},
                failures={"error": 1},
                duration={"a": {bucket_of(4): 4}, "b": {bucket_of(400): 4}},
                tokens={"a": {"input": 5}},
            ),
            *sample(-1, events_appended=1, attempts_ended={"a": {"failed": 2}}),
            *sample(60, events_appended=1),
        ]
    )
    found = series("1h")
    assert (found.range, found.start, found.step) == ("1h", START, 60)
    assert found.complete
    assert found.task_types == ["b", "a"]
    lists = found.series
    assert lists["processors"] == [2, *[None] * 59]
    assert lists["events_appended"] == [9, 0, *[None] * 57, 3]
    assert lists["events_archived"] == [0, 0, *[None] * 57, 4]
    assert lists["jobs_created"] == [3, 0, *[None] * 57, 0]
    assert lists["attempts_ended"]["completed"] == [0, 0, *[None] * 57, 7]
    assert lists["attempts_ended"]["cancelled"][-1] == 0
    assert lists["failure_rate"] == [*[None] * 59, 1 / 8]
    assert lists["failure_rate_before"] == [*[None] * 59, 1.0]
    assert lists["failures"] == {"error": [0, 0, *[None] * 57, 1]}
    assert lists["duration"]["p50"][-1] == pytest.approx(4, rel=0.05)
    assert lists["duration"]["p95"][-1] == pytest.approx(400, rel=0.05)
    assert lists["queue_wait"] == {"p50": [None] * 60, "p95": [None] * 60}
    assert lists["tokens"]["input"] == [0, 0, *[None] * 57, 5]
    assert lists["cost"] == [0, 0, *[None] * 58]


def test_the_series_of_a_task_type():
    ended = {"a": {"failed": 1, "completed": 3}, "b": {"completed": 4}}
    Sample.objects.bulk_create(
        sample(59, events_appended=3, attempts_ended=ended, jobs_created={"b": 7})
    )
    found = series("1h", "a")
    assert found.series["attempts_ended"]["completed"][-1] == 3
    assert found.series["failure_rate"][-1] == 1 / 4
    assert found.series["jobs_created"][-1] == 0
    assert "failures" not in found.series
    assert found.task_types == ["b", "a"]
    assert series("1h", "none").series["failure_rate"][-1] is None


@pytest.mark.parametrize("name", RANGES)
def test_every_range_ends_with_its_latest_complete_period(name):
    found = series(name)
    assert found.start.timestamp() % found.step == 0
    end = found.start + timedelta(seconds=found.step * len(found.series["processors"]))
    assert timedelta() <= NOW - end < timedelta(seconds=found.step + 10)
    assert user_series(Job.objects.all(), name).start == found.start


def test_samples_of_a_range_are_read_with_two_queries(django_assert_num_queries):
    with django_assert_num_queries(2):
        series("7d")


def test_the_series_of_a_user(user, other_user, settings):
    settings.JOB_EVENTS = {
        **settings.JOB_EVENTS,
        "MODEL_PRICES": {"m": {"input": 1_000_000, "output": 0}},
    }
    usage = {"m": {"calls": 1, "input_tokens": 3, "output_tokens": 1}}
    ended_job(NOW - timedelta(minutes=10), owner=user, usage=usage)
    ended_job(NOW - timedelta(minutes=10), owner=user, status="failed")
    ended_job(NOW - timedelta(minutes=70), owner=user, status="failed")
    ended_job(NOW - timedelta(minutes=130), owner=user)
    ended_job(NOW - timedelta(minutes=10), owner=other_user, task_type="secret")
    found = user_series(Job.objects.filter(owner=user), "1h")
    lists, at = found.series, 50
    assert found.complete
    assert found.task_types == ["report"]
    assert lists["jobs_created"][at - 2 : at + 1] == [0, 2, 0]
    assert lists["attempts_ended"] == {
        "completed": [int(n == at) for n in range(60)],
        "failed": [int(n == at) for n in range(60)],
        "cancelled": [0] * 60,
    }
    assert lists["failure_rate"][at] == 0.5
    assert lists["failure_rate_before"][at] == 1.0
    assert lists["failures"]["error"][at] == 1
    assert lists["queue_wait"]["p50"][at] == pytest.approx(10, rel=0.05)
    assert lists["duration"]["p95"][at] == pytest.approx(60, rel=0.05)
    assert lists["first_event"]["p95"][at] == pytest.approx(12, rel=0.05)
    assert lists["tokens"] == {
        "input": [3 * (n == at) for n in range(60)],
        "output": [int(n == at) for n in range(60)],
    }
    assert lists["cost"][at] == 3.0
    assert not {"processors", "events_appended", "streams"} & lists.keys()


def test_a_user_without_visible_jobs_sees_nothing(user):
    ended_job(NOW - timedelta(minutes=10), owner=user)
    for jobs in (Job.objects.none(), Job.objects.filter(pk__in=[])):
        assert sum(user_series(jobs, "1h").series["attempts_ended"]["completed"]) == 0
    for jobs in (Job.objects.all(), Job.objects.exclude(pk=0)):
        assert sum(user_series(jobs, "1h").series["attempts_ended"]["completed"]) == 1


def test_only_the_newest_rows_of_a_user_count(user, monkeypatch):
    monkeypatch.setattr(statistics, "MAX_ROWS", 3)
    for minutes in (10, 20, 20, 30):
        ended_job(NOW - timedelta(minutes=minutes), owner=user)
    found = user_series(Job.objects.filter(owner=user), "1h")
    assert not found.complete
    completed = found.series["attempts_ended"]["completed"]
    assert completed[30] is None
    assert completed[31] == 0
    assert (completed[40], completed[50]) == (2, 1)


def test_naive_times(user, settings):
    settings.USE_TZ = False
    settings.TIME_ZONE = "America/New_York"
    timezone.get_default_timezone.cache_clear()
    ended = timezone.make_naive(NOW, timezone.get_default_timezone()) - timedelta(minutes=10)
    try:
        ended_job(ended, owner=user)
        Sample.objects.create(
            name="events_appended", at=ended.replace(second=0), seconds=60, value=5
        )
        assert series("1h").series["events_appended"][50] == 5
        found = user_series(Job.objects.filter(owner=user), "1h")
        assert found.series["attempts_ended"]["completed"][50] == 1
    finally:
        timezone.get_default_timezone.cache_clear()
