"""Every page, and no other response, sends the policy for browsers."""

from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client
from django.urls import path

from jobs.urls import urlpatterns as routes_of_jobs
from tests.integration.jobs import access

pytestmark = pytest.mark.django_db

PAGES = ("/jobs/", "/jobs/?rows=1", "/jobs/new/", "/jobs/job/abc/", "/jobs/login/", "/api/docs/")


@pytest.fixture
def paths(settings: Any, user: Any, make_job: Any) -> tuple[str, ...]:
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "RUNNERS": {"report": lambda job_id: None}}
    make_job(job_id="abc", owner=user)
    return PAGES


def directives(response: HttpResponse) -> dict[str, str]:
    policy = response["Content-Security-Policy"]
    return dict(part.strip().partition(" ")[::2] for part in policy.split(";"))


@pytest.mark.parametrize("is_bare", [False, True], ids=["this project", "without middleware"])
def test_pages_send_the_policy(
    client: Client, user: Any, settings: Any, paths: tuple[str, ...], is_bare: bool
) -> None:
    if is_bare:
        needed = ("SessionMiddleware", "AuthenticationMiddleware")
        settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if name.endswith(needed)]
    anonymous = client.get("/jobs/login/")
    client.force_login(user)
    for response in [anonymous, *map(client.get, paths)]:
        policy = directives(response)
        assert policy["default-src"] == "'self'"
        assert policy["require-trusted-types-for"] == "'script'"
        assert policy["trusted-types"] == "'none'"
        for name in ("object-src", "base-uri", "frame-ancestors"):
            assert policy[name] == "'none'"
        assert "unsafe" not in response["Content-Security-Policy"]
        assert response["Referrer-Policy"] == "same-origin"
        assert "camera=()" in response["Permissions-Policy"]


@pytest.mark.parametrize(
    ("url", "sources"),
    [
        ("https://files.example/s/", "'self' https://files.example"),
        ("//files.example/", "'self' files.example"),
        ("/s/", "'self'"),
    ],
)
def test_files_may_come_from_the_host_of_static_url(
    client: Client, settings: Any, url: str, sources: str
) -> None:
    settings.STATIC_URL = url
    policy = directives(client.get("/jobs/login/"))
    assert (policy["default-src"], policy["img-src"]) == (sources, f"{sources} data:")


@pytest.mark.parametrize(
    ("url", "targets"),
    [("https://sso.example/in?a=1", "'self' https://sso.example"), ("admin:login", "'self'")],
)
def test_forms_may_be_redirected_to_the_login_page(
    client: Client, user: Any, settings: Any, url: str, targets: str
) -> None:
    """The session may have ended before a form is sent."""
    settings.LOGIN_URL = url
    client.force_login(user)
    assert directives(client.get("/jobs/"))["form-action"] == targets


def own_page(request: Any) -> HttpResponse:
    return HttpResponse("own")


urlpatterns = [*routes_of_jobs, path("own/", own_page)]


def test_other_pages_are_unchanged(client: Client, staff: Any, settings: Any) -> None:
    client.force_login(staff)
    admin = [client.get(path) for path in ("/admin/", "/admin/job_events_jobs/job/")]
    settings.ROOT_URLCONF = f"{access.__name__}.test_page_policy"
    for response in (*admin, client.get("/own/"), client.get("/api/jobs/")):
        assert response.status_code == 200
        assert "Content-Security-Policy" not in response
        assert "Permissions-Policy" not in response
