"""Tables of the monitor: stuck jobs, and workers."""

from datetime import timedelta

import pytest
from django.utils import timezone

from jobs import inputs
from jobs.models import Job, Task
from jobs.monitoring import tables

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture(autouse=True)
def _limits(settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "STUCK_SECONDS": 600, "WORKER_TIMEOUT": 30}


def running(make_job, user, *, event=None, heartbeat=None, worker="celery@host"):
    """A job that started an hour ago; its last event and heartbeat are some seconds old."""
    now, job = timezone.now(), make_job("running", owner=user)
    since = now - timedelta(hours=1)
    last = event and now - timedelta(seconds=event)
    Job.objects.filter(pk=job.pk).update(started_at=since, last_event_at=last)
    if heartbeat is not None:
        Task.objects.create(
            job=job, attempt_id=job.attempt_key, queue="celery", external_id=job.job_id,
            task_type="manual", state=Task.State.RUNNING, worker=worker, started_at=since,
            heartbeat_at=now - timedelta(seconds=heartbeat),
        )  # fmt: skip
    return job


def found(user):
    rows = tables.stuck_jobs(Job.objects.all(), user)
    return {row.job_id: row for row in rows}


def test_stuck_and_quiet_jobs(make_job, user):
    quiet = running(make_job, user, event=900, heartbeat=2)
    stuck = running(make_job, user, event=900, heartbeat=700)
    external = running(make_job, user)
    running(make_job, user, event=5, heartbeat=2)
    rows = found(user)
    assert [row.state for row in rows.values()] == ["stuck", "stuck", "quiet"]
    assert set(rows) == {quiet.job_id, stuck.job_id, external.job_id}
    row = rows[quiet.job_id]
    quiet.refresh_from_db()
    assert (row.worker, row.may_change) == ("celery@host", True)
    assert row.since == quiet.last_event_at
    assert rows[stuck.job_id].since == Task.objects.get(job=stuck).heartbeat_at
    assert rows[external.job_id].heartbeat_at is None


def test_job_with_an_open_question_is_not_stuck(make_job, user):
    job = running(make_job, user, event=900)
    inputs.input_request(job_id=job.job_id, name="ok", prompt="?")
    assert found(user) == {}
    [row] = tables.waiting_jobs(Job.objects.all(), user)
    assert (row.job_id, row.state) == (job.job_id, "waiting")


def test_workers(make_job, user):
    for heartbeat in (2, 20):
        running(make_job, user, heartbeat=heartbeat, worker="late")
    running(make_job, user, heartbeat=2, worker="alive")
    ended = running(make_job, user, heartbeat=500, worker="ended")
    Job.objects.filter(pk=ended.pk).update(status="cancelled", finished_at=timezone.now())
    rows = [(row.name, row.tasks, row.state) for row in tables.workers()]
    assert rows == [("late", 2, "late"), ("alive", 1, "alive")]
