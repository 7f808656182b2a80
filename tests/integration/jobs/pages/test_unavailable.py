"""The pages while the database or Redis fails: 503 with a page of the same layout."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.http import HttpResponse
from django.test import Client

from events.exceptions import RedisUnavailable
from jobs.models import Job
from jobs.pages import job_list
from tests.support.database import ERRORS, failing_database

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

PAGES = ("/jobs/", "/jobs/?rows=1", "/jobs/new/", "/jobs/job/abc/", "/jobs/login/", "/api/docs/")
FORMS = ("/jobs/new/", "/jobs/job/abc/", "/jobs/login/", "/jobs/logout/")
FORM = {"action": "cancel", "username": "anna", "password": "anna"}
INLINE_CODE = re.compile(r"<script(?![^>]*\ssrc=)|<style|\s(?:style|on\w+)=", re.IGNORECASE)


@pytest.fixture
def anna(client: Client, user: Any, make_job: Any, settings: Any) -> Client:
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "RUNNERS": {"report": lambda job_id: None}}
    make_job(owner=user, job_id="abc")
    client.force_login(user)
    return client


def check(response: HttpResponse) -> None:
    assert response.status_code == 503
    assert response["Content-Type"] == "text/html; charset=utf-8"
    assert response["Cache-Control"] == "private, no-store"
    assert "default-src 'self'" in response["Content-Security-Policy"]
    page = response.content.decode()
    assert "<h1>Temporarily unavailable</h1>" in page
    assert 'class="site-head"' in page
    assert not INLINE_CODE.search(page)
    assert "internal" not in page


def is_write(sql: str) -> bool:
    return sql.startswith(("INSERT", "UPDATE", "DELETE", "BEGIN"))


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_every_page(anna: Client, error: Exception, caplog: Any) -> None:
    with failing_database(error):
        for path in PAGES:
            check(anna.get(path))
        for path in FORMS:
            check(anna.post(path, FORM))
    causes = [record.error for record in caplog.records if record.message == "request_failed"]
    assert len(causes) == len(PAGES) + len(FORMS)
    assert "db.internal" in causes[0]
    assert "Traceback" not in caplog.text
    assert [anna.get(path).status_code for path in PAGES if "login" not in path] == [200] * 5


def test_read_only(anna: Client) -> None:
    before = Job.objects.values().get()
    with failing_database(ERRORS[2], applies=is_write):
        assert [anna.get(path).status_code for path in PAGES if "login" not in path] == [200] * 5
        for path in FORMS[1:]:
            check((Client() if "login" in path else anna).post(path, FORM))
        check(anna.post("/jobs/new/", {}))
    assert Job.objects.values().get() == before
    assert anna.get("/jobs/").status_code == 200  # not logged out


def test_atomic_requests(anna: Client, monkeypatch: Any) -> None:
    """With ATOMIC_REQUESTS, Django begins a transaction before it calls a view."""
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    with failing_database(applies=is_write):
        assert anna.get("/jobs/").status_code == 200
        check(anna.post("/jobs/job/abc/", FORM))


def test_pages_need_no_redis(anna: Client, redis_down: Callable[[], None]) -> None:
    assert [anna.get(path).status_code for path in PAGES if "login" not in path] == [200] * 5
    assert anna.post("/jobs/job/abc/", FORM).status_code == 302
    assert Job.objects.get().status == "cancelled"


def test_error_of_redis(anna: Client, monkeypatch: Any) -> None:
    """For example of a setting VISIBLE_JOBS that reads a log."""

    def fail(_user: Any) -> None:
        raise RedisUnavailable("Redis did not answer: redis.internal:6379")

    monkeypatch.setattr(job_list, "visible_jobs", fail)
    check(anna.get("/jobs/"))


def test_error_of_a_runner_is_hidden(anna: Client, settings: Any) -> None:
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "RUNNERS": {"report": "internal.paths.run"}}
    response = anna.post("/jobs/new/", {"payload": "{}"})
    assert response.status_code == 422
    page = response.content.decode()
    assert "The runner of this task_type cannot be imported." in page
    assert "internal" not in page
