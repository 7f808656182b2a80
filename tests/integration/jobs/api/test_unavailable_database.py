"""The API while the database raises: 503 with problem details on every route."""

import pytest
from django.db import connection
from django.urls import get_resolver

from jobs.models import Job
from tests.support.database import ERRORS, failing_database

pytestmark = pytest.mark.django_db(transaction=True)

PAGES = {"api-docs"}


def api_paths():
    """Return the path of each route of the API, for the job `abc`."""
    prefix, resolver = get_resolver().namespace_dict["job_events"]
    for name, options in resolver.reverse_dict.lists():
        if isinstance(name, str) and name.startswith("api-") and name not in PAGES:
            [(pattern, arguments)] = options[0][0]
            yield f"/{prefix}{pattern % dict.fromkeys(arguments, 'abc')}"


API_ROUTES = sorted(api_paths())


@pytest.fixture
def job(user, make_job):
    return make_job(owner=user, job_id="abc")


def check(response):
    assert response.status_code == 503
    assert response["Content-Type"] == "application/problem+json"
    assert response.json()["type"] == "urn:job-events:unavailable"
    assert "internal" not in response.text


def is_write(sql):
    return sql.startswith(("INSERT", "UPDATE", "DELETE", "BEGIN"))


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_every_route(job, api, error, caplog):
    assert API_ROUTES
    with failing_database(error):
        for path in API_ROUTES:
            check(api.client.get(path))
            check(api.client.post(path, "{}", content_type="application/json"))
    causes = [record.error for record in caplog.records if record.message == "request_failed"]
    assert len(causes) == 2 * len(API_ROUTES)
    assert "db.internal" in causes[0]
    assert "Traceback" not in caplog.text


def test_browsable_api_does_not_query_the_database_for_an_error(job, api):
    html = {"headers": {"Accept": "text/html"}}
    assert api.client.get("/api/jobs/", **html)["Content-Type"].startswith("text/html")
    with failing_database():
        check(api.client.get("/api/jobs/", **html))


def test_atomic_requests(job, api, monkeypatch):
    """With ATOMIC_REQUESTS, Django begins a transaction before it calls a view."""
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    assert api.get("jobs/").status_code == 200
    with failing_database(applies=is_write):
        assert api.get("jobs/").status_code == 200
        check(api.post("jobs/", {"task_type": "manual"}))


@pytest.mark.parametrize("path", ["", "abc/cancel/"])
def test_failed_write_changes_nothing(job, api, path, log):
    before = Job.objects.values().get()
    with failing_database(applies=is_write):
        check(api.post(f"jobs/{path}", {"task_type": "manual"} if path == "" else {}))
    assert Job.objects.values().get() == before
    assert [event.event_type for event in log("abc")] == ["job_created"]
    assert api.post(f"jobs/{path}", {"task_type": "manual"} if path == "" else {})
