"""Query plans of the statistics: every query uses an index on large tables.

With a million jobs, on PostgreSQL:
`PLAN_MONITOR_JOBS=1000000 python -m tests.on_other_servers --timeout 3000 <this file>`.
"""

import os
import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from events.processor.health import status_cache
from jobs.models import (
    Alert,
    AlertDelivery,
    AlertMessage,
    Attempt,
    InputRequest,
    Job,
    MonitorCheckpoint,
    Sample,
    Task,
)
from jobs.monitoring import metrics
from jobs.monitoring.sampler import CHECKPOINT
from jobs.monitoring.totals import SampleTotals
from tests.integration.jobs.test_plans import plans

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.database,
    pytest.mark.extended,
]

JOBS = int(os.environ.get("PLAN_MONITOR_JOBS", "4000"))
RUNNING, BATCH = 40, 2000
TYPES = 20
# Partial indexes of what is open, and an index that is read until a limit.
BOUNDED = {
    "job_events_tasks_by_heartbeat", "job_events_inputs_open", "job_events_alerts_open",
    "job_events_deliveries_open", "job_events_stalled", "job_events_outbox",
}  # fmt: skip
# The tables that grow with the jobs and with time.
LARGE = {
    model._meta.db_table
    for model in (Job, Attempt, Task, InputRequest, Sample, Alert, AlertMessage, AlertDelivery)
}


@pytest.fixture
def large(user, django_user_model, monkeypatch):
    """Jobs of two users in the last year: most have ended, some run, some ask."""
    now, status_of = timezone.now(), Job.Status
    monkeypatch.setattr(Job._meta.get_field("created_at"), "auto_now_add", False)
    other = django_user_model.objects.create_user("other")
    step = timedelta(days=365) / JOBS
    jobs = []
    for n in range(JOBS):
        at = now - n * step
        status = status_of.RUNNING if n % (JOBS // RUNNING) == 0 else status_of.COMPLETED
        status = status_of.FAILED if n % 10 == 3 else status
        ended = status != status_of.RUNNING
        jobs.append(
            Job(
                job_id=f"job-{n}",
                created_at=at, owner=other if n % 100 else user, status=status, title="A",
                task_type=f"type-{n % TYPES}", started_at=at, last_event_at=at,
                finished_at=at if ended else None,
            )
        )  # fmt: skip
    Job.objects.bulk_create(jobs, batch_size=BATCH)
    Attempt.objects.bulk_create([Attempt.of(job) for job in jobs], batch_size=BATCH)
    fill_tasks_and_questions(jobs)
    fill_samples_and_alerts(now)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE" if connection.vendor == "sqlite" else "VACUUM ANALYZE")


def fill_tasks_and_questions(jobs):
    tasks = [
        Task(
            job=job, attempt_id=job.attempt_key, queue="celery", external_id=job.job_id,
            task_type=job.task_type, worker=f"worker-{n % 7}", heartbeat_at=job.started_at,
            state=Task.State.RUNNING if job.status == "running" else Task.State.FINISHED,
        )
        for n, job in enumerate(jobs)
    ]  # fmt: skip
    Task.objects.bulk_create(tasks, batch_size=BATCH)
    questions = [
        InputRequest(
            job=job,
            attempt=1,
            name="ok",
            prompt="?",
            answered_at=None if n % 200 == 0 else job.started_at,
        )
        for n, job in enumerate(jobs)
        if n % 2 == 0
    ]
    InputRequest.objects.bulk_create(questions, batch_size=BATCH)


def fill_samples_and_alerts(now):
    start = now - timedelta(days=2)
    Sample.objects.bulk_create(
        [
            Sample(name=name, at=start + timedelta(seconds=60 * n), seconds=60, value=n)
            for n in range(2 * 24 * 60)
            for name in ("processors", "streams")
        ],
        batch_size=BATCH,
    )
    Alert.objects.bulk_create(
        [
            Alert(
                rule="r", subject=str(n), pending_at=start + timedelta(seconds=n), fired_at=now,
                state="resolved" if n % 500 else "firing", resolved_at=now if n % 500 else None,
            )
            for n in range(5000)
        ],
        batch_size=BATCH,
    )  # fmt: skip
    messages = [
        AlertMessage(rule="r", state="firing", count=1, body={}, created_at=now)
        for _ in range(12_000)
    ]
    AlertMessage.objects.bulk_create(messages, batch_size=BATCH)
    deliveries = [
        AlertDelivery(
            message=each, channel="c", error="refused" if n % 1200 == 0 else "",
            delivered_at=None if n % 1200 == 0 else now,
        )
        for n, each in enumerate(messages)
    ]  # fmt: skip
    AlertDelivery.objects.bulk_create(deliveries, batch_size=BATCH)


def full_scans(plan):
    """Return the large tables of which a plan reads all rows, also in the order of an index."""
    if connection.vendor == "postgresql":
        return set(re.findall(r"Seq Scan on (\w+)", plan)) & LARGE
    found = re.findall(r"SCAN (\w+)(?: USING (?:COVERING )?INDEX (\w+))?", plan)
    return {(table, index) for table, index in found if table in LARGE and index not in BOUNDED}


def test_statistics_use_indexes(large, user, staff, other_user):
    """Of a user with own jobs, a user without, and one who sees all."""
    for viewer in (user, other_user, staff):
        client = Client()
        client.force_login(viewer)
        for query in ("range=1h", "range=24h", "range=7d", "range=1h&task_type=type-3"):
            status_cache.clear()
            with CaptureQueriesContext(connection) as captured:
                body = client.get(f"/api/statistics/?{query}").json()
            assert bool(body["stuck"] and body["waiting"]) == (viewer != other_user)
            for sql, plan in plans(captured.captured_queries):
                assert not full_scans(plan), (viewer, query, sql, plan)


def test_metrics_use_indexes(large, monkeypatch):
    """The first exposition of a process reads the samples since midnight.

    Here they are few, as a day is of 14: PostgreSQL reads most of a table without an index.
    """
    monkeypatch.setattr(metrics, "sample_totals", SampleTotals())
    midnight = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    MonitorCheckpoint.objects.create(name=CHECKPOINT, at=midnight + timedelta(hours=1))
    status_cache.clear()
    with CaptureQueriesContext(connection) as captured:
        metrics.collect()
    assert len(captured) < 20
    for sql, plan in plans(captured.captured_queries):
        assert not full_scans(plan), (sql, plan)
