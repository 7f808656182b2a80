"""`DELETE /api/jobs/{job_id}/`: permissions, responses and what follows."""

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from events.exceptions import LogDeleted
from events.history import read_events
from events.models import EventLog
from jobs.models import Job
from tests.integration.jobs.conftest import Api

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


@pytest.fixture
def job(user, make_job):
    return make_job("running", owner=user, job_id="abc")


def delete(api, path="jobs/abc/"):
    return api.client.delete(f"/api/{path}")


def api_of(user, *permissions):
    user.user_permissions.add(*Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return Api(client)


def test_owner_deletes_the_job(api, job):
    response = delete(api)
    assert (response.status_code, response.content) == (204, b"")
    assert not Job.objects.exists()
    with pytest.raises(LogDeleted):
        read_events("abc")
    for path in ("", "events/", "events/export/", "events/poll/", "stream/", "inputs/"):
        assert api.get(f"jobs/abc/{path}").status_code == 404
    assert delete(api).status_code == 404
    assert api.get("jobs/").json()["results"] == []
    assert api.get("events/?search=running").json()["results"] == []


def test_job_of_another_user(other_api, job):
    assert delete(other_api).status_code == 404
    assert Job.objects.exists()


@pytest.mark.parametrize(
    ("permissions", "status"),
    [
        (["delete_job"], 404),
        (["view_job"], 403),
        (["view_job", "change_job"], 403),
        (["view_job", "delete_job"], 204),
    ],
)
def test_permission_of_staff(django_user_model, job, permissions, status):
    clerk = django_user_model.objects.create_user("clerk", is_staff=True)
    assert delete(api_of(clerk, *permissions)).status_code == status
    assert Job.objects.exists() == (status != 204)


def test_anonymous_users_and_requests_without_a_token(anonymous_api, user, job):
    assert delete(anonymous_api).status_code in (401, 403)
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    assert delete(Api(client)).status_code == 403
    assert Job.objects.exists()


def test_unknown_parameters_are_refused(api, job):
    assert delete(api, "jobs/abc/?force=1").status_code == 400
    assert Job.objects.exists()


@pytest.mark.parametrize("caller", ["api", "other_api", "staff_api"])
def test_job_id_of_a_deleted_job_is_not_available(request, api, job, caller):
    delete(api)
    body = {"task_type": "manual", "job_id": "abc"}
    response = request.getfixturevalue(caller).post("jobs/", body)
    assert response.status_code in (403, 409)
    assert not Job.objects.exists()
    assert EventLog.objects.get().erased_at is not None


def test_without_redis(api, job, redis_down):
    assert delete(api).status_code == 204
    assert not Job.objects.exists()
