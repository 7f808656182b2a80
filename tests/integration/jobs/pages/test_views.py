"""The pages as rendered by the server: access, forms, list, escaping."""

import json
import re
import sys
from base64 import b64encode
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django import forms
from django.conf.urls.i18n import i18n_patterns
from django.contrib.auth.models import Permission
from django.contrib.messages import get_messages
from django.http import HttpResponse
from django.shortcuts import resolve_url
from django.test import Client
from django.urls import include, re_path, reverse
from django.utils import timezone

from jobs import services
from jobs.models import Attempt, Job
from jobs.pages import pagination

pytestmark = pytest.mark.django_db

NASTY = "<script>alert(1)</script>"
LIST, NEW, LOGIN = (reverse(f"job_events:{name}") for name in ("list", "new", "login"))


def detail(job: Job) -> str:
    return reverse("job_events:detail", kwargs={"job_id": job.job_id})


def make(owner: Any, title: str = "A job", **fields: Any) -> Job:
    return Job.objects.create(owner=owner, title=title, task_type="outline_generation", **fields)


def failed(owner: Any, error: str = "It broke", **fields: Any) -> Job:
    now = timezone.now()
    times = {"started_at": now, "finished_at": now}
    return make(owner, status=Job.Status.FAILED, error=error, **times, **fields)


def text_of(response: HttpResponse) -> str:
    return response.content.decode()


@pytest.fixture
def anna(client: Client, user: Any) -> Client:
    client.force_login(user)
    return client


# Access


@pytest.mark.parametrize("path", [LIST, NEW, "/jobs/job/some-job/"])
@pytest.mark.parametrize("method", ["get", "post"])
def test_page_redirects_to_the_login_and_back(client: Client, path: str, method: str) -> None:
    response = getattr(client, method)(path)
    assert response.status_code == 302
    assert response["Location"] == f"{LOGIN}?next={path}"


@pytest.mark.parametrize(
    ("configured", "used"),
    [
        ("/accounts/login/", LOGIN),
        ("no-such-name", LOGIN),
        ("admin:login", "/admin/login/"),
        ("/admin/login/", "/admin/login/"),
        ("/app/login", "/app/login"),
        ("https://sso.example.org/", "https://sso.example.org/"),
    ],
)
def test_login_page_of_the_project_takes_precedence(
    client: Client, settings: Any, configured: str, used: str
) -> None:
    settings.LOGIN_URL = configured
    assert client.get(LIST)["Location"].split("?")[0] == used


@pytest.mark.parametrize("url", ["admin:login", "/login/", "https://sso.example.org/jobs/login/"])
def test_own_login_page_does_not_replace_that_of_the_project(
    client: Client, user: Any, settings: Any, url: str
) -> None:
    settings.LOGIN_URL = url
    settings.MIDDLEWARE = [
        *settings.MIDDLEWARE,
        "django.contrib.auth.middleware.LoginRequiredMiddleware",
    ]
    for response in (
        client.get(f"{LOGIN}?next=/jobs/new/"),
        client.post(LOGIN, {"username": "anna", "password": "anna", "next": NEW}),
    ):
        assert response["Location"] == f"{resolve_url(url)}?next={NEW}"
    assert client.get(LIST).status_code == 302


OWN_LOGINS = ("/jobs/login", "http://testserver/jobs/login/", "/base/jobs/login/")


@pytest.mark.parametrize("url", OWN_LOGINS)
def test_own_login_page_is_used_if_login_url_leads_to_it(
    client: Client, settings: Any, url: str
) -> None:
    settings.LOGIN_URL = url
    prefix = "/base" if url.startswith("/base") else ""
    response = client.get("/jobs/login/", SCRIPT_NAME=prefix)
    assert response.status_code == 200


def test_own_login_page_below_a_language(client: Client, settings: Any) -> None:
    settings.LOGIN_URL = "/jobs/login/"
    settings.ROOT_URLCONF = ModuleType("urls_with_language")
    settings.ROOT_URLCONF.urlpatterns = i18n_patterns(re_path("", include("jobs.urls")))
    response = client.get("/jobs/login/", follow=True)
    assert response.redirect_chain == [("/en/jobs/login/", 302)]
    assert response.status_code == 200


def test_login_page_redirects_to_the_list(client: Client, user: Any) -> None:
    response = client.post(LOGIN, {"username": "anna", "password": "anna"})
    assert response["Location"] == LIST


def test_logging_out_needs_a_post(anna: Client) -> None:
    assert anna.get(reverse("job_events:logout")).status_code == 405
    assert anna.post(reverse("job_events:logout"))["Location"] == LOGIN
    assert anna.get(LIST).status_code == 302


def test_job_of_another_user_is_404(anna: Client, other_user: Any) -> None:
    job = make(other_user, "Bert's secret")
    assert anna.get(detail(job)).status_code == 404
    assert anna.post(detail(job), {"action": "cancel"}).status_code == 404
    assert "secret" not in text_of(anna.get(LIST))
    job.refresh_from_db()
    assert job.status == Job.Status.PENDING


def test_staff_see_all_jobs(client: Client, staff: Any, other_user: Any) -> None:
    job = make(other_user, "Bert's job")
    client.force_login(staff)
    assert client.get(detail(job)).status_code == 200
    assert "bert" in text_of(client.get(LIST))


def test_job_may_have_the_id_new(anna: Client, user: Any) -> None:
    job = make(user, "Called new", job_id="new")
    assert "Called new" in text_of(anna.get(detail(job)))


# A new job


def report(job_id: str, pages: int, author: str = "") -> None:
    """A runner that leaves the job pending."""


class ReportForm(forms.Form):
    """A form of a project."""

    description = "Pages of a report."
    pages = forms.IntegerField(min_value=1, max_value=9)

    def job_title(self) -> str:
        return f"Report of {self.cleaned_data['pages']} pages"


REPORT = {"run": report, "form": ReportForm}


@pytest.fixture
def runners(settings: Any) -> Callable[..., None]:
    """Replaces the setting RUNNERS."""

    def set_runners(**entries: Any) -> None:
        settings.JOB_EVENTS = {**settings.JOB_EVENTS, "RUNNERS": entries}

    return set_runners


def test_runner_without_a_form_takes_json(anna: Client, user: Any, runners: Any) -> None:
    runners(report=report)
    assert "A JSON object" in text_of(anna.get(NEW))
    response = anna.post(NEW, {"title": "Mine", "payload": '{"pages": 5}'})
    job = Job.objects.get()
    assert response["Location"] == detail(job)
    assert (job.owner, job.task_type, job.title) == (user, "report", "Mine")
    assert job.payload == {"pages": 5}


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ("", "missing a required argument: &#x27;pages&#x27;"),
        ('{"pages": 5, "colour": 1}', "unexpected keyword argument"),
        ("{pages: 5}", "Enter a JSON object"),
        ("[5]", "Enter a JSON object"),
        ("5", "Enter a JSON object"),
        ("null", "Enter a JSON object"),
        ("[" * 100_000, "Enter a JSON object"),
        ('{"pages": NaN}', "payload"),
        ('{"pages": "\\u0000"}', "payload"),
    ],
)
def test_invalid_payload_is_shown_and_creates_no_job(
    anna: Client, runners: Any, payload: str, message: str
) -> None:
    runners(report=report)
    response = anna.post(NEW, {"payload": payload})
    assert response.status_code == 422
    assert message in text_of(response)
    assert 'aria-invalid="true"' in text_of(response)
    assert not Job.objects.exists()


def test_form_of_a_runner_is_shown_and_its_data_is_the_payload(anna: Client, runners: Any) -> None:
    runners(report=REPORT)
    page = text_of(anna.get(NEW))
    assert "Pages of a report." in page
    assert 'name="pages"' in page
    assert anna.post(NEW, {"pages": "10"}).status_code == 422
    assert not Job.objects.exists()
    anna.post(NEW, {"pages": "5"})
    job = Job.objects.get()
    assert (job.title, job.payload) == ("Report of 5 pages", {"pages": 5})


def test_one_of_several_runners_is_chosen(anna: Client, runners: Any) -> None:
    runners(report=REPORT, other=report)
    page = text_of(anna.get(NEW))
    assert 'href="?task_type=report" aria-current="page"' in page
    assert 'name="pages"' in page
    chosen = f"{NEW}?task_type=other"
    assert "A JSON object" in text_of(anna.get(chosen))
    anna.post(chosen, {"payload": '{"pages": 1}'})
    assert Job.objects.get().task_type == "other"
    assert anna.get(f"{NEW}?task_type=nosuch").status_code == 404


def test_only_runners_that_the_user_may_start_are_offered(
    anna: Client, user: Any, runners: Any, settings: Any
) -> None:
    runners(report=REPORT)
    del settings.JOB_EVENTS["MAY_START"]
    for path in (LIST, detail(make(user))):
        assert "New job<" not in text_of(anna.get(path))
    assert "Start the first job" not in text_of(anna.get(LIST))
    assert anna.get(NEW).status_code == 404
    assert anna.post(NEW, {"pages": "5"}).status_code == 404
    user.user_permissions.add(Permission.objects.get(codename="add_job"))
    assert "New job<" in text_of(anna.get(LIST))
    assert anna.post(NEW, {"pages": "5"}).status_code == 302


def test_without_runners_no_job_can_be_started(anna: Client, runners: Any) -> None:
    runners()
    assert "New job<" not in text_of(anna.get(LIST))
    assert anna.get(NEW).status_code == 404


# A job


def test_page_shows_the_job_without_any_script(anna: Client, user: Any) -> None:
    job = failed(user, "The kettle is empty")
    page = text_of(anna.get(detail(job)))
    for shown in ("The kettle is empty", "Failed", "anna", job.job_id):
        assert shown in page


def test_page_shows_reason_place_and_attempts_without_any_script(anna: Client, user: Any) -> None:
    job = failed(user, "x" * 700, phase="boil", progress=42)
    job.attempts.all().delete()
    for number, reason in enumerate(["timed_out", "worker_lost"], start=1):
        Attempt.objects.create(
            key=f"{job.job_id}.{number}", job=job, number=number, created_at=job.created_at,
            status="failed", reason=reason,
        )  # fmt: skip
    page = text_of(anna.get(detail(job)))
    for shown in (
        "Stopped at boil, 42%",
        "The worker died, or sent no heartbeats for too long.",
        "Show all",
        'href="?attempt=1"',
    ):
        assert shown in page


@pytest.mark.parametrize(
    ("query", "status", "has_template", "opened"),
    [
        ("", "running", False, "timeline"),
        ("", "running", True, "result"),
        ("", "failed", True, "timeline"),
        ("?tab=events", "failed", True, "events"),
        ("?tab=nonsense", "running", True, "result"),
    ],
)
def test_opened_tab(
    anna: Client, user: Any, runners: Any, query: str, status: str, has_template: bool, opened: str
) -> None:
    template = {"result_template": "job_events_jobs/_brand.html"} if has_template else {}
    runners(outline_generation={"run": report, **template})
    job = failed(user) if status == "failed" else make(user, status=status)
    page = text_of(anna.get(detail(job) + query))
    assert re.search(r'aria-controls="panel-(\w+)" aria-selected="true"', page)[1] == opened


def test_open_question_is_shown_without_any_script(anna: Client, user: Any) -> None:
    job = make(user, status="running")
    job.inputs.create(attempt=job.attempt, name="sure", prompt={"text": "Really <b>?"})
    page = text_of(anna.get(detail(job)))
    assert "Waiting for input" in page
    assert "Really &lt;b&gt;?" in page


def test_values_of_a_user_are_escaped(anna: Client, user: Any, runners: Any) -> None:
    runners(report=report)
    job = failed(user, NASTY, title=NASTY)
    for path in (detail(job), LIST, f"{LIST}?q={NASTY}"):
        assert NASTY not in text_of(anna.get(path))
    assert NASTY not in text_of(anna.post(NEW, {"title": NASTY, "payload": NASTY}))


def test_result_template_is_rendered_with_the_job(
    anna: Client, user: Any, settings: Any, tmp_path: Path
) -> None:
    (tmp_path / "report.html").write_text("<p>Report {{ job.job_id }}, {{ job.result.pages }}</p>")
    engine = {**settings.TEMPLATES[0], "DIRS": [*settings.TEMPLATES[0]["DIRS"], tmp_path]}
    settings.TEMPLATES = [engine]
    entry = {"run": report, "result_template": "report.html"}
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "RUNNERS": {"report": entry}}
    job = Job.objects.create(owner=user, task_type="report", job_id="r1", result={"pages": 5})
    page = text_of(anna.get(detail(job)))
    assert '<div id="job-result"><p>Report r1, 5</p></div>' in page
    assert 'id="result-body"' not in page
    other = Job.objects.create(owner=user, task_type="manual", result={"pages": 5})
    page = text_of(anna.get(detail(other)))
    assert "job-result" not in page
    assert 'id="result-body"' in page
    assert "&quot;pages&quot;: 5" in page


def test_no_page_needs_inline_scripts_or_styles(anna: Client, user: Any) -> None:
    for path in (LIST, NEW, detail(failed(user))):
        page = text_of(anna.get(path))
        assert not re.search(r"\son\w+=|\sstyle=|<style|javascript:", page)
        for script in re.findall(r"<script([^>]*)>", page):
            assert "src=" in script or 'type="application/json"' in script


def test_cancel_and_retry(anna: Client, user: Any) -> None:
    job = make(user)
    assert anna.post(detail(job), {"action": "cancel"})["Location"] == detail(job)
    job.refresh_from_db()
    assert job.status == Job.Status.CANCELLED
    anna.post(detail(job), {"action": "retry"})
    job.refresh_from_db()
    assert (job.status, job.attempt) == (Job.Status.PENDING, 2)


# int() refuses more than 4,300 digits.
@pytest.mark.parametrize(("attempt", "found"), [("1", 1), ("9" * 5000, 0)])
def test_action_of_another_attempt_is_refused(
    anna: Client, user: Any, attempt: str, found: int
) -> None:
    job = failed(user)
    services.job_retry(job_id=job.job_id, dispatch=False)
    response = anna.post(detail(job), {"action": "cancel", "attempt": attempt})
    [message] = get_messages(response.wsgi_request)
    assert f"is at attempt 2, not at {found}" in str(message)
    job.refresh_from_db()
    assert job.status == Job.Status.PENDING


def test_invalid_transition_is_shown(anna: Client, user: Any) -> None:
    response = anna.post(detail(failed(user)), {"action": "cancel"})
    assert response.status_code == 302
    [message] = get_messages(response.wsgi_request)
    assert "cannot be cancelled" in str(message)


@pytest.mark.parametrize("action", ["", "delete", "__class__"])
def test_unknown_action_is_rejected(anna: Client, user: Any, action: str) -> None:
    assert anna.post(detail(make(user)), {"action": action}).status_code == 400


def test_post_needs_a_csrf_token(user: Any) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    assert client.post(detail(make(user)), {"action": "cancel"}).status_code == 403
    assert client.post(NEW, {"task_prompt": "Tea"}).status_code == 403


# The list


def titles(response: HttpResponse) -> list[str]:
    return re.findall(r'class="job-link"[^>]*>([^<]*)<', text_of(response))


def test_empty_list_links_to_the_form(anna: Client) -> None:
    assert "Start the first job" in text_of(anna.get(LIST))


def test_filter_and_search(anna: Client, user: Any) -> None:
    make(user, "Green tea", job_id="tea-1")
    failed(user, title="Black tea", job_id="tea-2")
    make(user, "Coffee")
    assert titles(anna.get(LIST)) == ["Coffee", "Black tea", "Green tea"]
    assert titles(anna.get(LIST, {"q": "TEA"})) == ["Black tea", "Green tea"]
    assert titles(anna.get(LIST, {"q": "tea-1"})) == ["Green tea"]
    assert titles(anna.get(LIST, {"q": "tea", "status": "failed"})) == ["Black tea"]
    nothing = anna.get(LIST, {"q": "cocoa"})
    assert "No job matches" in text_of(nothing)


@pytest.mark.parametrize(
    "query",
    [
        {"status": "nonsense"},
        {"q": "a\0b"},
        *({"cursor": value} for value in ("gone", "x" * 999, "a\0", "é", "cD1nb25l", "cD0tMQ==")),
    ],
)
def test_invalid_query_shows_the_list(anna: Client, user: Any, query: dict[str, str]) -> None:
    make(user, "Tea")
    assert titles(anna.get(LIST, query)) == ["Tea"]


def test_cursor_beyond_every_id_selects_all_older_jobs(anna: Client, user: Any) -> None:
    make(user, "Tea")
    cursor = b64encode(b"p=" + b"9" * 30).decode()
    assert titles(anna.get(LIST, {"cursor": cursor})) == ["Tea"]


def test_pages_have_no_gap_and_no_duplicate(anna: Client, user: Any) -> None:
    names = [f"Job {number}" for number in range(2 * pagination.PAGE_ROWS + 5)]
    for name in names:
        make(user, name)
    path, seen, links = LIST, [], []
    while path:
        page = anna.get(path)
        seen += titles(page)
        links.append(path)
        older = re.search(r'rel="next" href="([^"]*)"', text_of(page))
        path = LIST + older[1].removeprefix(LIST) if older else ""
    assert seen == names[::-1]
    assert len(links) == 3
    back = re.search(r'rel="prev" href="([^"]*)"', text_of(page))
    assert back
    assert titles(anna.get(LIST + back[1].replace("&amp;", "&"))) == titles(anna.get(links[1]))


def test_filter_stays_while_paging(anna: Client, user: Any) -> None:
    for number in range(pagination.PAGE_ROWS + 1):
        make(user, f"Tea {number}")
    page = text_of(anna.get(LIST, {"q": "tea & more", "rows": "1"}))
    assert "rel=" not in page
    page = text_of(anna.get(LIST, {"q": "tea", "rows": "1"}))
    assert re.search(r'rel="next" href="[^"]*[^"]*"', page)
    assert re.search(r'rel="next" href="[^"]*q=tea', page)
    assert "rows=1" not in page


def test_refresh_returns_changed_rows_only(anna: Client, user: Any) -> None:
    job = make(user, "Tea")
    fresh = anna.get(LIST, {"rows": "1"})
    assert "<html" not in text_of(fresh)
    again = anna.get(LIST, {"rows": "1"}, headers={"if-none-match": fresh["ETag"]})
    assert again.status_code == 304
    services.job_cancel(job_id=job.job_id)
    changed = anna.get(LIST, {"rows": "1"}, headers={"if-none-match": fresh["ETag"]})
    hashes = [re.search(r'data-row-hash="(\w+)"', text_of(page))[1] for page in (fresh, changed)]
    assert hashes[0] != hashes[1]


def test_list_has_a_constant_number_of_queries(
    anna: Client, user: Any, django_assert_num_queries: Any
) -> None:
    """Two are those of the permissions, for the navigation, one counts facets, one finds types."""
    make(user)
    with django_assert_num_queries(7):
        anna.get(LIST)
    for _ in range(10):
        make(user)
    with django_assert_num_queries(7):
        anna.get(LIST)
    with django_assert_num_queries(3):
        anna.get(LIST, {"rows": "1"})


def test_duration_and_queue_wait_are_texts(anna: Client, user: Any) -> None:
    """The wait is that of the current attempt, not of the job."""
    now = timezone.now()
    times = {"started_at": now - timedelta(hours=1, minutes=2, seconds=3), "finished_at": now}
    job = make(user, status=Job.Status.COMPLETED, **times)
    Attempt.of(job, times["started_at"] - timedelta(seconds=1.5)).save()
    page = text_of(anna.get(LIST))
    assert ">1 h 2 min<" in page
    assert ">1.50 s<" in page


def test_jobs_with_equal_times_are_on_one_page_each(
    anna: Client, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pagination, "PAGE_ROWS", 2)
    for number in range(5):
        make(user, f"Job {number}")
    Job.objects.update(created_at=timezone.now())
    pages = [text_of(anna.get(LIST))]
    while link := re.search(r'rel="next" href="([^"]*)"', pages[-1]):
        pages.append(text_of(anna.get(LIST + link[1].replace("&amp;", "&"))))
    seen = [re.findall(r'class="job-link"[^>]*>([^<]*)<', page) for page in pages]
    assert seen == [["Job 4", "Job 3"], ["Job 2", "Job 1"], ["Job 0"]]
    back = re.search(r'rel="prev" href="([^"]*)"', pages[-1])
    assert titles(anna.get(LIST + back[1].replace("&amp;", "&"))) == ["Job 2", "Job 1"]


def test_page_stays_when_the_job_before_it_leaves_the_filter(anna: Client, user: Any) -> None:
    jobs = [make(user, f"Job {number}") for number in range(pagination.PAGE_ROWS + 2)]
    page = text_of(anna.get(LIST, {"status": "pending"}))
    link = re.search(r'rel="next" href="([^"]*)"', page)
    services.job_cancel(job_id=jobs[2].job_id)
    assert titles(anna.get(LIST + link[1].replace("&amp;", "&"))) == ["Job 1", "Job 0"]


@pytest.mark.parametrize("has_sockets", [True, False])
def test_pages_use_sockets_if_the_server_has_them(client, user, make_job, monkeypatch, has_sockets):
    """A server without socket routes logs a traceback for each connection attempt."""
    if has_sockets:
        monkeypatch.setitem(sys.modules, "jobs.routing", object())
    else:
        monkeypatch.delitem(sys.modules, "jobs.routing", raising=False)
    make_job(owner=user, job_id="abc")
    client.force_login(user)
    for path, url in (("/jobs/job/abc/", "/ws/jobs/"), ("/jobs/", "/ws/events/")):
        page = client.get(path).content.decode()
        assert f'"socketUrl": {json.dumps(url if has_sockets else None)}' in page
