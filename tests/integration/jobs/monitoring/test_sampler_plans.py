"""Query plans: the queries of the monitor read no large table completely."""

from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jobs.models import Attempt, Job, MonitorCheckpoint, Sample
from jobs.monitoring import sampler
from jobs.monitoring.gauges import read_gauges
from jobs.monitoring.sampler import ArchivedEventCounter, Sampler
from jobs.monitoring.statistics import RANGES, series, user_series
from tests.integration.jobs import test_plans
from tests.integration.jobs.test_plans import (
    JOBS,
    assert_full_scans_are_detected,
    full_scans,
    large,  # noqa: F401 - a fixture
    plans,
)

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.database,
    pytest.mark.extended,
]

DAYS = 30
SAMPLES = 20_000


@pytest.fixture
def history(large, user, other_user, monkeypatch):  # noqa: F811 - the imported fixture
    """Attempts of the jobs and samples, spread over some weeks."""
    now, interval = timezone.now(), timedelta(days=DAYS) / JOBS
    keys = list(Job.objects.order_by("pk").values_list("pk", "job_id"))
    Attempt.objects.bulk_create(
        [
            Attempt(
                key=f"{job_id}.1",
                job_id=pk,
                number=1,
                created_at=now - (number + 1) * interval,
                started_at=now - (number + 1) * interval,
                finished_at=now - number * interval,
                status="completed",
            )
            for number, (pk, job_id) in enumerate(keys)
        ],
        batch_size=500,
    )
    first = min(keys)[0]
    active = Job.objects.filter(status="pending", pk__gt=first + 100)
    active.update(status="completed", started_at=now, finished_at=now)
    for number in range(0, JOBS, 100):
        jobs = Job.objects.filter(pk__range=(first + number, first + number + 99))
        jobs.update(created_at=F("created_at") - number * interval)
    Sample.objects.bulk_create(
        [
            Sample(
                name="figure",
                at=now - timedelta(minutes=number),
                seconds=60,
                value=number,
            )
            for number in range(SAMPLES)
        ],
        batch_size=500,
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE" if connection.vendor == "sqlite" else "VACUUM ANALYZE")
    tables = ("job_events_jobs_attempt", "job_events_jobs_sample")
    monkeypatch.setattr(test_plans, "LARGE", (*test_plans.LARGE, *tables))
    return now


def assert_no_full_scan(function, *arguments):
    with CaptureQueriesContext(connection) as captured:
        result = function(*arguments)
    found = list(plans(captured.captured_queries))
    assert found
    for sql, plan in found:
        assert not full_scans(plan), (arguments, sql, plan)
    return result


def test_the_monitor_reads_by_indexes(history, user, other_user, monkeypatch):
    assert_full_scans_are_detected()
    for table in ("job_events_jobs_attempt", "job_events_jobs_sample"):
        [(_, plan)] = plans([{"sql": f"SELECT * FROM {table}"}])
        assert full_scans(plan)
    assert_no_full_scan(read_gauges)
    for name in RANGES:
        assert_no_full_scan(series, name)
    # Longer ranges have a large part of these small tables.
    for jobs in (Job.objects.filter(owner=user), Job.objects.filter(owner=other_user)):
        assert_no_full_scan(user_series, jobs, "1h")
        assert_no_full_scan(user_series, jobs, "1h", "rare")
    assert_no_full_scan(user_series, Job.objects.all(), "1h")
    processor = Sampler(ArchivedEventCounter(), single_pass=True)
    assert assert_no_full_scan(processor.step) == 10  # the first of a day
    at = history.replace(second=0, microsecond=0)
    MonitorCheckpoint.objects.update(at=at)
    monkeypatch.setattr(sampler, "database_now", lambda: history + timedelta(minutes=8))
    assert assert_no_full_scan(processor.step) >= 7
    assert Sample.objects.filter(name="attempts_ended").exists()
