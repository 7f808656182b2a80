"""Caching: every response that may change says so, and Django's per-site cache stores none."""

import pytest
from django.conf import settings
from django.test import override_settings
from django.urls import reverse

from events.publisher import get_publisher
from jobs import services

pytestmark = pytest.mark.django_db(transaction=True)

SITE_CACHE = [
    "django.middleware.cache.UpdateCacheMiddleware",
    *settings.MIDDLEWARE,
    "django.middleware.cache.FetchFromCacheMiddleware",
]
NOT_STORED = ("events/poll/", "events/stream/", "events/export/")
OF_JOB = ("", "inputs/", "stream/", "events/", *NOT_STORED)


@pytest.fixture
def site_cache(settings):
    memory = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    with override_settings(MIDDLEWARE=SITE_CACHE, CACHES={"default": memory}):
        yield


@pytest.fixture
def job(staff):
    return services.job_create(job_id="abc", task_type="x", owner=staff)


@pytest.fixture
def client(client, staff):
    client.force_login(staff)
    return client


@pytest.mark.parametrize("path", OF_JOB)
@pytest.mark.parametrize("job_id", ["abc", "none"])
@pytest.mark.parametrize("query", ["", "?unknown=1"])
def test_responses_about_a_job(client, site_cache, job, path, job_id, query):
    caching = "private, no-store" if path in NOT_STORED else "private, no-cache"
    for _ in range(2):
        response = client.get(f"/api/jobs/{job_id}/{path}{query}")
        assert response.headers["Cache-Control"].startswith(caching)
        assert {"Authorization", "Cookie"} <= set(response.headers["Vary"].split(", "))


@pytest.mark.parametrize("path", ["jobs/", "job-counts/", "events/", "schema/", "docs/"])
def test_other_responses(client, site_cache, job, path):
    for response in (client.get(f"/api/{path}"), client.get(f"/api/{path}?limit=-1")):
        assert response.headers["Cache-Control"] == "private, no-cache"
        assert "Cookie" in response.headers["Vary"]


@pytest.mark.parametrize("name", ["list", "new", "login", "detail"])
def test_pages(client, site_cache, job, name):
    kwargs = {"job_id": "abc"} if name == "detail" else {}
    response = client.get(reverse(f"job_events:{name}", kwargs=kwargs))
    assert "private" in response.headers["Cache-Control"]
    assert "Cookie" in response.headers["Vary"]


def test_anonymous_requests(client, site_cache, job):
    client.logout()
    for path in OF_JOB:
        response = client.get(f"/api/jobs/abc/{path}")
        assert response.status_code in (401, 403)
        assert "private" in response.headers["Cache-Control"]


def test_repeated_requests_return_the_current_state(client, site_cache, job):
    cursor = client.get("/api/jobs/abc/events/").json()["cursor"]
    poll = f"/api/jobs/abc/events/poll/?after={cursor}"
    assert client.get(poll).json()["results"] == []
    assert client.get("/api/jobs/abc/").json()["status"] == "pending"
    assert client.get("/api/job-counts/").json()["pending"] == 1
    get_publisher().publish_event("abc", {"event_type": "x"})
    services.job_start(job_id="abc")
    assert [event["event_type"] for event in client.get(poll).json()["results"]] == [
        "x",
        "task_started",
    ]
    assert client.get("/api/jobs/abc/").json()["status"] == "running"
    assert client.get("/api/job-counts/").json()["running"] == 1
    etag = client.get("/api/jobs/abc/").headers["ETag"]
    unchanged = client.get("/api/jobs/abc/", headers={"If-None-Match": etag})
    assert unchanged.status_code == 304
    assert unchanged.headers["Cache-Control"] == "private, no-cache"
