"""The pages, as the server makes them: who sees what, the form, the list, escaping."""

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.contrib.messages import get_messages
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from jobs import services
from jobs.models import Job
from jobs.pages.job_list import PAGE_SIZE, job_slice

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


# Who may see it


@pytest.mark.parametrize("path", [LIST, NEW, "/jobs/job/some-job/"])
@pytest.mark.parametrize("method", ["get", "post"])
def test_a_page_asks_for_a_login_and_comes_back(client: Client, path: str, method: str) -> None:
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
        ("https://sso.example.org/", "https://sso.example.org/"),
    ],
)
def test_the_projects_login_page_is_used_if_there_is_one(
    client: Client, settings: Any, configured: str, used: str
) -> None:
    settings.LOGIN_URL = configured
    assert client.get(LIST)["Location"].split("?")[0] == used


def test_the_login_page_lets_in_and_leads_to_the_list(client: Client, user: Any) -> None:
    response = client.post(LOGIN, {"username": "anna", "password": "anna"})
    assert response["Location"] == LIST


@pytest.mark.parametrize("demo", [True, False])
def test_the_login_page_tells_of_demo_only_in_the_demo(
    client: Client, settings: Any, demo: bool
) -> None:
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "DEMO": demo}
    assert ("This is a demo" in text_of(client.get(LOGIN))) is demo


def test_logging_out_needs_a_post(anna: Client) -> None:
    assert anna.get(reverse("job_events:logout")).status_code == 405
    assert anna.post(reverse("job_events:logout"))["Location"] == LOGIN
    assert anna.get(LIST).status_code == 302


def test_anothers_job_is_not_there(anna: Client, other_user: Any) -> None:
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


def test_a_job_may_be_called_new(anna: Client, user: Any) -> None:
    job = make(user, "Called new", job_id="new")
    assert "Called new" in text_of(anna.get(detail(job)))


# A new job


def upload(content: bytes, name: str = "notes.md") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, content)


def test_the_form_creates_a_job_and_goes_to_its_page(anna: Client, user: Any) -> None:
    prompt = "# Write about tea\n\nFor people who like coffee."
    response = anna.post(NEW, {"prompt": prompt})
    job = Job.objects.get()
    assert response["Location"] == detail(job)
    assert (job.owner, job.task_type, job.title) == (user, "outline_generation", "Write about tea")
    assert job.payload["task_prompt"].splitlines() == prompt.splitlines()
    assert "context_files" not in job.payload


def test_files_come_along(anna: Client) -> None:
    files = [upload("\ufeffGrün".encode()), upload(b"two", "more.TXT")]
    anna.post(NEW, {"prompt": "Tea", "context_files": files})
    assert Job.objects.get().payload["context_files"] == [
        {"name": "notes.md", "text": "Grün"},
        {"name": "more.TXT", "text": "two"},
    ]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"prompt": "  \n "}, "Say what shall be written."),
        ({"prompt": "a\0b"}, "Null characters are not allowed."),
        ({"prompt": "x" * 10_001}, "at most 10000 characters"),
        ({"context_files": upload(b"\xff\xfe\x00")}, "“notes.md” is not text in UTF-8."),
        ({"context_files": upload(b"a\0b")}, "“notes.md” contains NUL characters"),
        ({"context_files": upload(b"x", "photo.png")}, "“photo.png” is not a .txt or .md file."),
        ({"context_files": upload(b"")}, "The submitted file is empty."),
        ({"context_files": upload(b"x" * 204_801)}, "The files are too large"),
        (
            {"context_files": [upload(b"x" * 150_000), upload(b"x" * 150_000, "b.txt")]},
            "The files are too large",
        ),
    ],
)
def test_bad_input_is_told_and_creates_nothing(
    anna: Client, fields: dict[str, Any], sentence: str
) -> None:
    response = anna.post(NEW, {"prompt": "My long thought", **fields})
    assert response.status_code == 422
    assert sentence in text_of(response).replace("\N{NO-BREAK SPACE}", " ")
    assert not Job.objects.exists()
    if "prompt" not in fields:
        assert "My long thought" in text_of(response)


def test_exactly_the_limit_is_taken(anna: Client) -> None:
    assert anna.post(NEW, {"prompt": "Tea", "context_files": upload(b"x" * 204_800)}).url
    assert Job.objects.exists()


@pytest.mark.parametrize("model", ["", "openai:gpt-5"])
def test_the_offline_model_is_labelled(anna: Client, user: Any, settings: Any, model: str) -> None:
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "CHAT_MODEL": model}
    for path in (NEW, detail(make(user))):
        assert ("Offline model" in text_of(anna.get(path))) is (not model)


# A job


def test_the_page_shows_the_job_without_any_script(anna: Client, user: Any) -> None:
    job = failed(user, "The kettle is empty", payload={"task_prompt": "Write about tea"})
    page = text_of(anna.get(detail(job)))
    for shown in ("The kettle is empty", "Write about tea", "Failed", "anna", job.job_id):
        assert shown in page


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"task_prompt": None, "context_files": "no list"},
        {"task_prompt": {"a": 1}, "context_files": [1, None, {}, {"name": 5, "text": []}]},
        {"task_prompt": "lone \ud800 surrogate", "context_files": [{"name": "\udfff"}]},
    ],
)
def test_any_payload_has_a_page(anna: Client, user: Any, payload: Any) -> None:
    if "\\ud800" in json.dumps(payload) and connection.vendor == "postgresql":
        pytest.skip("PostgreSQL does not take a lone surrogate")
    job = make(user, payload=payload)
    assert anna.get(detail(job)).status_code == 200


def test_nothing_of_a_user_is_markup(anna: Client, user: Any) -> None:
    payload = {"task_prompt": NASTY, "context_files": [{"name": NASTY, "text": NASTY}]}
    job = failed(user, NASTY, title=NASTY, payload=payload)
    for path in (detail(job), LIST, f"{LIST}?q={NASTY}"):
        assert NASTY not in text_of(anna.get(path))
    assert NASTY not in text_of(anna.post(NEW, {"prompt": NASTY, "context_files": upload(b"")}))


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


def test_what_cannot_be_done_is_told(anna: Client, user: Any) -> None:
    response = anna.post(detail(failed(user)), {"action": "cancel"})
    assert response.status_code == 302
    [message] = get_messages(response.wsgi_request)
    assert "cannot be cancelled" in str(message)


@pytest.mark.parametrize("action", ["", "delete", "__class__"])
def test_an_unknown_action_is_refused(anna: Client, user: Any, action: str) -> None:
    assert anna.post(detail(make(user)), {"action": action}).status_code == 400


def test_a_post_needs_a_csrf_token(user: Any) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    assert client.post(detail(make(user)), {"action": "cancel"}).status_code == 403
    assert client.post(NEW, {"prompt": "Tea"}).status_code == 403


# The list


def titles(response: HttpResponse) -> list[str]:
    return re.findall(r'class="job-link"[^>]*>([^<]*)<', text_of(response))


def test_an_empty_list_says_what_to_do(anna: Client) -> None:
    assert "Start the first job" in text_of(anna.get(LIST))


def test_filter_and_search(anna: Client, user: Any) -> None:
    make(user, "Green tea", job_id="tea-1")
    failed(user, title="Black tea")
    make(user, "Coffee")
    assert titles(anna.get(LIST)) == ["Coffee", "Black tea", "Green tea"]
    assert titles(anna.get(LIST, {"q": "TEA"})) == ["Black tea", "Green tea"]
    assert titles(anna.get(LIST, {"q": "tea-1"})) == ["Green tea"]
    assert titles(anna.get(LIST, {"q": "tea", "status": "failed"})) == ["Black tea"]
    nothing = anna.get(LIST, {"q": "cocoa"})
    assert "No job matches" in text_of(nothing)


@pytest.mark.parametrize(
    "query", [{"status": "nonsense"}, {"q": "a\0b"}, {"before": "gone"}, {"after": "x" * 999}]
)
def test_a_bad_query_shows_the_list(anna: Client, user: Any, query: dict[str, str]) -> None:
    make(user, "Tea")
    assert titles(anna.get(LIST, query)) == ["Tea"]


def test_pages_meet_without_a_gap_or_a_repeat(anna: Client, user: Any) -> None:
    names = [f"Job {number}" for number in range(2 * PAGE_SIZE + 5)]
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
    assert titles(anna.get(back[1])) == titles(anna.get(links[1]))


def test_the_filter_stays_while_paging(anna: Client, user: Any) -> None:
    for number in range(PAGE_SIZE + 1):
        make(user, f"Tea {number}")
    page = text_of(anna.get(LIST, {"q": "tea & more", "rows": "1"}))
    assert "rel=" not in page
    page = text_of(anna.get(LIST, {"q": "tea", "rows": "1"}))
    assert re.search(r'rel="next" href="[^"]*q=tea&amp;before=', page)
    assert "rows=1" not in page


def test_jobs_of_the_same_moment_are_cut_cleanly(user: Any) -> None:
    for number in range(5):
        make(user, f"Job {number}")
    Job.objects.update(created_at=timezone.now())
    everything = Job.objects.all()
    first = job_slice(everything, everything, size=2)
    second = job_slice(everything, everything, before=first.older, size=2)
    last = job_slice(everything, everything, before=second.older, size=2)
    pages = [first, second, last]
    seen = [job.title for page in pages for job in page.jobs]
    assert seen == ["Job 4", "Job 3", "Job 2", "Job 1", "Job 0"]
    assert job_slice(everything, everything, after=last.newer, size=2).jobs == second.jobs
    assert job_slice(everything, everything, after=second.newer, size=2).jobs == first.jobs


def test_the_refresh_gets_the_rows_alone_and_only_when_they_changed(
    anna: Client, user: Any
) -> None:
    job = make(user, "Tea")
    fresh = anna.get(LIST, {"rows": "1"})
    assert "<html" not in text_of(fresh)
    again = anna.get(LIST, {"rows": "1"}, headers={"if-none-match": fresh["ETag"]})
    assert again.status_code == 304
    services.job_cancel(job_id=job.job_id)
    changed = anna.get(LIST, {"rows": "1"}, headers={"if-none-match": fresh["ETag"]})
    hashes = [re.search(r'data-row-hash="(\w+)"', text_of(page))[1] for page in (fresh, changed)]
    assert hashes[0] != hashes[1]


def test_the_list_takes_the_same_queries_for_any_number_of_jobs(
    anna: Client, user: Any, django_assert_num_queries: Any
) -> None:
    make(user)
    with django_assert_num_queries(3):
        anna.get(LIST)
    for _ in range(10):
        make(user)
    with django_assert_num_queries(3):
        anna.get(LIST)


def test_a_duration_is_a_clock(anna: Client, user: Any) -> None:
    now = timezone.now()
    times = {"started_at": now - timedelta(hours=1, minutes=2, seconds=3), "finished_at": now}
    make(user, status=Job.Status.COMPLETED, **times)
    assert "1:02:03" in text_of(anna.get(LIST))


@pytest.mark.database
@pytest.mark.parametrize("anchor", ["%00", "a%00", "%ED%A0%80", "x" * 70, "a/b", "nosuch"])
@pytest.mark.parametrize("name", ["before", "after"])
def test_an_anchor_that_is_no_job_gives_the_first_page(client, user, anchor, name):
    services.job_create(task_type="x", title="Mine", owner=user)
    client.force_login(user)
    answer = client.get(f"{reverse('job_events:list')}?{name}={anchor}")
    assert answer.status_code == 200
    assert "Mine" in answer.text


def test_a_page_stays_when_the_job_before_it_leaves_the_filter(client, user):
    older = services.job_create(task_type="x", title="Older", owner=user)
    anchor = services.job_create(task_type="x", title="Anchor", owner=user)
    services.job_create(task_type="x", title="Youngest", owner=user)
    services.job_cancel(job_id=anchor.job_id)
    client.force_login(user)
    query = f"?status=pending&before={anchor.job_id}"
    page = client.get(reverse("job_events:list") + query).text
    assert older.title in page
    assert "Youngest" not in page


@pytest.mark.parametrize("has_sockets", [True, False])
def test_pages_ask_for_sockets_where_there_are_some(
    client, user, make_job, monkeypatch, has_sockets
):
    """A server without them would log a traceback for each page that is opened."""
    monkeypatch.setattr(apps.get_app_config("job_events_jobs"), "has_sockets", has_sockets)
    make_job(owner=user, job_id="abc")
    client.force_login(user)
    for path, url in (("/jobs/job/abc/", "/ws/jobs/"), ("/jobs/", "/ws/events/")):
        page = client.get(path).content.decode()
        assert f'"socketUrl": {json.dumps(url if has_sockets else None)}' in page
