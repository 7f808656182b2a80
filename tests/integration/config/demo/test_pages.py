"""The demo's parts of the pages: form, result view and login note."""

import json
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from jobs.models import Job

pytestmark = pytest.mark.django_db

NASTY = "<script>alert(1)</script>"
NEW, LOGIN = (reverse(f"job_events:{name}") for name in ("new", "login"))


@pytest.fixture(autouse=True)
def _no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs stay pending: nothing is sent to the broker."""
    monkeypatch.setattr("jobs.services._dispatch", lambda job: None)


@pytest.fixture
def anna(client: Client, user: Any) -> Client:
    client.force_login(user)
    return client


def detail(job: Job) -> str:
    return reverse("job_events:detail", kwargs={"job_id": job.job_id})


def make(owner: Any, **fields: Any) -> Job:
    return Job.objects.create(owner=owner, task_type="outline_generation", **fields)


def text_of(response: HttpResponse) -> str:
    return response.content.decode()


def upload(content: bytes, name: str = "notes.md") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, content)


# The form


def test_form_creates_a_job(anna: Client, user: Any) -> None:
    prompt = "# Write about tea\n\nFor people who like coffee."
    response = anna.post(NEW, {"task_prompt": prompt})
    job = Job.objects.get()
    assert response["Location"] == detail(job)
    assert (job.owner, job.task_type, job.title) == (user, "outline_generation", "Write about tea")
    assert job.payload["task_prompt"].splitlines() == prompt.splitlines()
    assert "context_files" not in job.payload


def test_files_become_context_files(anna: Client) -> None:
    files = [upload("\ufeffGrün".encode()), upload(b"two", "more.TXT")]
    anna.post(NEW, {"task_prompt": "Tea", "context_files": files})
    assert Job.objects.get().payload["context_files"] == [
        {"name": "notes.md", "text": "Grün"},
        {"name": "more.TXT", "text": "two"},
    ]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"task_prompt": "  \n "}, "Say what shall be written."),
        ({"task_prompt": "a\0b"}, "Null characters are not allowed."),
        ({"task_prompt": "x" * 10_001}, "at most 10000 characters"),
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
def test_invalid_input_is_shown_and_creates_no_job(
    anna: Client, fields: dict[str, Any], message: str
) -> None:
    response = anna.post(NEW, {"task_prompt": "My long thought", **fields})
    assert response.status_code == 422
    assert message in text_of(response).replace("\N{NO-BREAK SPACE}", " ")
    assert not Job.objects.exists()
    if "task_prompt" not in fields:
        assert "My long thought" in text_of(response)


def test_files_of_exactly_the_limit_are_accepted(anna: Client) -> None:
    anna.post(NEW, {"task_prompt": "Tea", "context_files": upload(b"x" * 204_800)})
    assert Job.objects.exists()


# The result view


@pytest.mark.parametrize("model", ["", "offline:0.02", "openai:gpt-5"])
def test_pages_name_the_offline_model(anna: Client, user: Any, settings: Any, model: str) -> None:
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "CHAT_MODEL": model}
    is_offline = not model.startswith("openai")
    for path in (NEW, detail(make(user))):
        assert ("Offline model" in text_of(anna.get(path))) is is_offline


def test_job_page_contains_the_request_and_the_panels(anna: Client, user: Any) -> None:
    files = [{"name": "tea.md", "text": "Grün"}]
    payload = {"task_prompt": "Write about tea", "context_files": files}
    page = text_of(anna.get(detail(make(user, payload=payload))))
    for part in ("Write about tea", "tea.md", "5\xa0bytes", 'id="outline"', 'id="document"'):
        assert part in page
    assert 'id="result"' not in page


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"task_prompt": None, "context_files": "no list"},
        {"task_prompt": "a", "context_files": 5},
        {"task_prompt": {"a": 1}, "context_files": [1, None, {}, {"name": 5, "text": []}]},
        {"task_prompt": "lone \ud800 surrogate", "context_files": [{"name": "\udfff"}]},
    ],
)
def test_every_payload_has_a_page(anna: Client, user: Any, payload: Any) -> None:
    if "\\ud800" in json.dumps(payload) and connection.vendor == "postgresql":
        pytest.skip("PostgreSQL rejects a lone surrogate")
    assert anna.get(detail(make(user, payload=payload))).status_code == 200


def test_values_of_a_user_are_escaped(anna: Client, user: Any) -> None:
    payload = {"task_prompt": NASTY, "context_files": [{"name": NASTY, "text": NASTY}]}
    assert NASTY not in text_of(anna.get(detail(make(user, payload=payload))))
    invalid = {"task_prompt": NASTY, "context_files": upload(b"")}
    assert NASTY not in text_of(anna.post(NEW, invalid))


# The login page


@pytest.mark.parametrize("demo", [True, False])
def test_login_page_shows_the_password_in_the_demo_only(
    client: Client, settings: Any, demo: bool
) -> None:
    settings.JOB_EVENTS_DEMO = demo
    assert ("This is a demo" in text_of(client.get(LOGIN))) is demo
