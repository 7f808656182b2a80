"""Statistics: figures of the caller's jobs, or with `view_monitor` of all jobs."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone

from events.processor.health import status_cache
from jobs import inputs
from jobs.models import Alert, AlertDelivery, AlertMessage, Attempt, Job, Sample
from jobs.monitoring.rows import floor_time
from tests.integration.jobs.conftest import Api

pytestmark = [pytest.mark.django_db, pytest.mark.database]

MONITOR_ONLY = {"health", "workers", "alerts", "deliveries"}


@pytest.fixture(autouse=True)
def _fresh_status():
    status_cache.clear()


@pytest.fixture
def monitor_api(django_user_model):
    """A user with view_monitor alone."""
    user = django_user_model.objects.create_user("max", password="max")
    user.user_permissions.add(Permission.objects.get(codename="view_monitor"))
    return logged_in(user)


def logged_in(user):
    client = Client()
    client.force_login(user)
    return Api(client)


def get(api, query=None):
    response = api.get("statistics/", query)
    assert response.status_code == 200, response.content
    return response.json()


def fail(job, minutes):
    """Let the job have failed some minutes ago."""
    times = {
        name: timezone.now() - timedelta(minutes=minutes) for name in ("started_at", "finished_at")
    }
    Job.objects.filter(pk=job.pk).update(**times)
    Attempt.objects.filter(job=job).update(**times)


def test_owner_has_figures_of_own_jobs_only(api, other_api, user, make_job):
    fail(make_job("failed", owner=user, task_type="report"), minutes=5)
    own, others = get(api), get(other_api)
    assert sum(value or 0 for value in own["series"]["attempts_ended"]["failed"]) == 1
    assert own["task_types"] == ["report"]
    [row] = own["failing"]
    assert (row["task_type"], row["ended"], row["failed"], row["rate"]) == ("report", 1, 1, 1.0)
    assert row["last_error"] == "boom"
    assert row["may_retry"]
    assert row["attempt"] == 1
    assert sum(value or 0 for value in others["series"]["attempts_ended"]["failed"]) == 0
    assert others["failing"] == others["task_types"] == []
    for body in (own, others):
        assert not MONITOR_ONLY & body.keys()
        assert "processors" not in body["series"]
        assert "events_appended" not in body["series"]


def test_view_job_alone_shows_no_totals(django_user_model, user):
    viewer = django_user_model.objects.create_user("vera", password="vera", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_job"))
    body = get(logged_in(viewer))
    assert not MONITOR_ONLY & body.keys()
    assert "redis_used" not in body["series"]


def test_view_monitor_shows_totals_but_names_no_job_of_others(monitor_api, user, make_job):
    job = make_job("running", owner=user, title="Secret")
    Job.objects.filter(pk=job.pk).update(started_at=timezone.now() - timedelta(hours=1))
    step = floor_time(timezone.now() - timedelta(minutes=10), 60)
    values = {"attempts_ended": {"report": {"failed": 3, "completed": 7}}, "events_appended": 120}
    for name, value in values.items():
        Sample.objects.create(name=name, at=step, seconds=60, value=value)
    body = get(monitor_api)
    assert body.keys() > MONITOR_ONLY
    assert sum(value or 0 for value in body["series"]["events_appended"]) == 120
    [row] = body["failing"]
    assert (row["ended"], row["failed"], row["rate"]) == (10, 3, 0.3)
    assert (row["last_error"], row["job_id"], row["may_retry"]) == ("", None, False)
    assert body["stuck"] == []
    assert "Secret" not in str(body)
    assert get(monitor_api, {"task_type": "none"})["series"]["failure_rate"][-1] is None


def test_alerts_and_failed_deliveries(monitor_api):
    now = timezone.now()
    states = {Alert.State.FIRING: now, Alert.State.PENDING: None, Alert.State.RESOLVED: now}
    for minute, (state, fired_at) in enumerate(states.items()):
        since = now - timedelta(minutes=minute)
        resolved_at = now if state == Alert.State.RESOLVED else None
        Alert.objects.create(
            rule=state, state=state, pending_at=since, fired_at=fired_at, resolved_at=resolved_at
        )
    message = AlertMessage.objects.create(
        rule="x", state="firing", count=1, body={}, created_at=now
    )
    failed = {"error": "refused", "attempts": 3, "next_at": now}
    AlertDelivery.objects.create(message=message, channel="hook", **failed)
    AlertDelivery.objects.create(message=message, channel="ops", delivered_at=now, error="slow")
    AlertDelivery.objects.create(message=message, channel="chat", next_at=now)
    body = get(monitor_api)
    assert [each["state"] for each in body["alerts"]] == ["firing", "pending"]
    [delivery] = body["deliveries"]
    assert (delivery["channel"], delivery["rule"], delivery["attempts"]) == ("hook", "x", 3)


def test_waiting_jobs(api, other_api, user, make_job):
    job = make_job("running", owner=user)
    inputs.input_request(job_id=job.job_id, name="first", prompt="Really?")
    inputs.input_request(job_id=job.job_id, name="second", prompt="Really?")
    ended = make_job("running", owner=user)
    inputs.input_request(job_id=ended.job_id, name="first", prompt="Really?")
    Job.objects.filter(pk=ended.pk).update(status="failed", finished_at=timezone.now())
    [row] = get(api)["waiting"]
    assert (row["job_id"], row["state"], row["may_change"]) == (job.job_id, "waiting", True)
    assert get(other_api)["waiting"] == []


def test_response_is_conditional(api):
    etag = api.get("statistics/")["ETag"]
    assert api.client.get("/api/statistics/", headers={"If-None-Match": etag}).status_code == 304


def test_parameters_are_validated(api, anonymous_api):
    assert api.get("statistics/", {"range": "2h"}).status_code == 400
    assert api.get("statistics/", {"type": "report"}).status_code == 400
    assert api.get("statistics/", {"range": "7d", "task_type": "x"}).json()["step"] == 3600
    assert anonymous_api.get("statistics/").status_code == 403
