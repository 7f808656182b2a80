"""Metrics from the database and Redis."""

from datetime import timedelta

import pytest
from django.utils import timezone

from events.database import column_time, database_now
from events.metrics import collectors, render
from events.metrics.instruments import INSTRUMENTS
from events.models import Processor
from events.outbox import publish_event
from events.processor.health import status_cache
from events.processor.problems import PROBLEM_CODES
from events.publisher import get_publisher
from jobs import services
from jobs.models import Alert, Job, MonitorCheckpoint, Sample
from jobs.monitoring import figures, metrics
from jobs.monitoring.histogram import bucket_of
from jobs.monitoring.metrics import DEFINITIONS, DURATION_BOUNDS_SECONDS, collect
from jobs.monitoring.rows import floor_time
from jobs.monitoring.sampler import CHECKPOINT
from jobs.monitoring.totals import SampleTotals
from tests.support.database import failing_database
from tests.support.metrics import samples_of, value_of

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


@pytest.fixture(autouse=True)
def _without_cache(monkeypatch):
    monkeypatch.setattr(metrics, "sample_totals", SampleTotals())
    status_cache.clear()
    yield
    status_cache.clear()


@pytest.fixture
def text():
    """Returns the exposition."""

    def text():
        status_cache.clear()
        return render("application/openmetrics-text; version=1.0.0")[0].decode()

    return text


def test_collector_is_registered():
    assert collect in collectors


def test_log(text, settings):
    get_publisher().publish_event("abc", {})
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "REDIS_URL": "unix:///nonexistent/redis.sock"}
    publish_event("def", {})
    down = text()
    assert [value_of(down, name) for name in ("database_up", "redis_up", "outbox_events")] == [
        1, 0, 1,
    ]  # fmt: skip
    assert value_of(down, "problem", code="redis-connection") == 1
    assert "job_events_streams" not in down


def test_streams(text):
    get_publisher().publish_event("abc", {})
    found = text()
    assert [value_of(found, name) for name in ("redis_up", "streams", "streams_behind")] == [1] * 3
    assert value_of(found, "redis_used_bytes") > 0
    assert {dict(labels).get("code") for _, labels in samples_of(found)} >= set(PROBLEM_CODES)
    assert value_of(found, "problem", code="processors") == 1


def test_processors(text):
    now = database_now()
    loops = {"archiver": {"events": 7, "failures": 2, "failing_seconds": 1.5, "error": "X"}}
    Processor.objects.create(name="a:1", started_at=now, heartbeat_at=now, loops=loops)
    late = now - timedelta(minutes=5)
    Processor.objects.create(name="b:2", started_at=late, heartbeat_at=late, loops={})
    found = text()
    assert value_of(found, "processors") == 1
    assert value_of(found, "heartbeat_age_seconds", processor="b:2") == pytest.approx(300, abs=60)
    assert value_of(found, "loop_events_total", processor="a:1", loop="archiver") == 7
    assert value_of(found, "loop_failures_total", loop="archiver") == 2
    assert value_of(found, "loop_failing_seconds", loop="archiver") == 1.5


def test_jobs_and_alerts(text):
    for number in range(3):
        services.job_create(job_id=f"job-{number}", task_type="write")
    services.job_start(job_id="job-0")
    services.job_complete(job_id="job-0")
    services.job_start(job_id="job-1")
    Alert.objects.create(
        rule="slow", subject="x", state="firing", summary="", pending_at=column_time(timezone.now())
    )
    found = text()
    assert value_of(found, "jobs", task_type="write", status="pending") == 1
    assert value_of(found, "jobs", task_type="write", status="running") == 1
    assert value_of(found, "jobs") == 2
    assert value_of(found, "alerts", rule="slow", state="firing") == 1
    assert value_of(found, "inputs_pending") == 0


def test_sums_and_histograms(text):
    end = floor_time(database_now(), 60)
    at = column_time(end - timedelta(minutes=7))
    values = {
        figures.EVENTS_APPENDED: 5,
        figures.ATTEMPTS_ENDED: {"write": {"failed": 2}},
        figures.FAILURES: {"worker_lost": 2},
        figures.TOKENS: {"write": {"input": 10, "output": 20}},
        figures.COST: {"write": 0.25},
        "duration": {"write": {bucket_of(0.2): 3, bucket_of(45.0): 1, bucket_of(200_000.0): 1}},
    }
    for name, value in values.items():
        Sample.objects.create(name=name, at=at, seconds=60, value=value)
    MonitorCheckpoint.objects.create(name=CHECKPOINT, at=column_time(end))
    found = text()
    assert value_of(found, "appended_events_total") == 5
    assert value_of(found, "attempts_ended_total", task_type="write", status="failed") == 2
    assert value_of(found, "failed_attempts_total", reason="worker_lost") == 2
    assert value_of(found, "tokens_total", direction="output") == 20
    assert value_of(found, "cost_total", task_type="write") == 0.25
    buckets = [
        value_of(found, "duration_seconds_bucket", task_type="write", le=le)
        for le in ("0.1", "0.25", "30.0", "60.0", "86400.0", "+Inf")
    ]
    assert buckets == [0, 3, 3, 4, 4, 5]
    assert value_of(found, "duration_seconds_count") == 5
    assert value_of(found, "duration_seconds_sum") == pytest.approx(200_045.6, rel=0.05)


def test_without_the_database(text):
    with failing_database():
        found = text()
    assert (value_of(found, "database_up"), value_of(found, "redis_up")) == (0, 1)
    assert value_of(found, "problem", code="database-connection") == 1
    assert "job_events_outbox_events" not in found
    assert "job_events_published_events_total" in found


def test_labels_are_bounded_and_name_no_job(text):
    """Many jobs and task types: the number of series does not depend on them."""
    Job.objects.bulk_create(
        [Job(job_id=f"job-{number}", task_type=f"type-{number}") for number in range(300)]
    )
    end = floor_time(database_now(), 60)
    for minute in range(6, 12):
        at = column_time(end - timedelta(minutes=minute))
        for name in ("queue_wait", "duration"):
            value = {f"type-{minute}-{number}": {"1": 1} for number in range(20)}
            Sample.objects.create(name=name, at=at, seconds=60, value=value)
    MonitorCheckpoint.objects.create(name=CHECKPOINT, at=column_time(end))
    found = samples_of(text())
    assert not any("job-" in value for _, labels in found for _, value in labels)
    labels = {label for _, labels in found for label, _ in labels}
    assert labels <= {
        *(label for each in DEFINITIONS.values() for label in each.labels),
        *(label for each in INSTRUMENTS.values() for label in each.definition.labels),
        "le",
    }
    types = {value for _, labels in found for label, value in labels if label == "task_type"}
    assert "other" in types
    per_type = len(DURATION_BOUNDS_SECONDS) + 3
    limit = figures.MAX_LABELS + 1
    histograms = [name for name, _ in found if "queue_wait" in name or "_duration_" in name]
    assert len(histograms) == 2 * limit * per_type
    assert sum(name == "job_events_jobs" for name, _ in found) <= limit


def test_each_metric_is_defined_once():
    assert not DEFINITIONS.keys() & INSTRUMENTS.keys()
