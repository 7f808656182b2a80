"""Translation of the pages, and their language and text direction."""

import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.formats import date_format

from jobs.models import Job

pytestmark = pytest.mark.django_db

LIST, NEW, LOGIN, MONITOR = (
    reverse(f"job_events:{name}") for name in ("list", "new", "login", "monitor")
)


# Their names in themselves, in the menu of the demo.
LANGUAGES = ("English", "简体中文", "Deutsch")
JSON = f"{NEW}?task_type=document_generation"


def detail(job: Job) -> str:
    return reverse("job_events:detail", kwargs={"job_id": job.job_id})


def make(owner: Any, **fields: Any) -> Job:
    return Job.objects.create(owner=owner, task_type="outline_generation", **fields)


def text_of(response: HttpResponse) -> str:
    return response.content.decode()


@pytest.fixture
def anna(client: Client, user: Any) -> Client:
    client.force_login(user)
    return client


class VisibleText(HTMLParser):
    """Collects text and the attributes that screen readers announce."""

    HIDDEN = frozenset({"script", "style", "time"})
    ANNOUNCED = frozenset({"aria-label", "title", "placeholder", "alt"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.hidden = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.hidden += tag in self.HIDDEN
        self.parts += [value for name, value in attrs if name in self.ANNOUNCED and value]

    def handle_endtag(self, tag: str) -> None:
        self.hidden -= tag in self.HIDDEN

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.parts.append(data)


@pytest.fixture
def bracketed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrap every translated string in brackets."""
    real = translation._trans
    one = {"gettext": 0, "pgettext": 1}
    two = {"ngettext": (0, 1, 2), "npgettext": (1, 2, 3)}
    for name, at in one.items():
        monkeypatch.setattr(real, name, lambda *args, at=at: f"⟦{args[at]}⟧", raising=False)
    for name, (singular, plural, number) in two.items():

        def choose(*args: Any, s: int = singular, p: int = plural, n: int = number) -> str:
            return f"⟦{args[s] if args[n] == 1 else args[p]}⟧"

        monkeypatch.setattr(real, name, choose, raising=False)


# Symbols of units, the time zone and the keys of the keyboard.
SYMBOLS = ["UTC", "ms", "Enter", "C", "E", "J", "K", "X"]


def untranslated(html: str, data: list[str]) -> str:
    """Return the words that are neither in brackets nor data of a user."""
    text = "".join(VisibleText(html).parts)
    while (shorter := re.sub(r"⟦[^⟦⟧]*⟧", " ", text)) != text:
        text = shorter
    for known in sorted([*data, *SYMBOLS, *LANGUAGES], key=len, reverse=True):
        text = text.replace(known, " ")
    return " ".join(re.findall(r"[^\W\d_]+", text))


def test_every_string_of_every_page_is_translated(
    client: Client, staff: Any, settings: Any, bracketed: None
) -> None:
    settings.JOB_EVENTS_DEMO = True
    payload = {"task_prompt": "PROMPT", "context_files": [{"name": "FILE.md", "text": "x"}]}
    now = timezone.now()
    over = {"status": Job.Status.FAILED, "error": "ERROR", "finished_at": now, "started_at": now}
    job = make(staff, title="TITLE", payload=payload, attempt=2, **over)
    data = ["TITLE", "PROMPT", "FILE.md", "ERROR", "demo", "outline_generation"]
    data += ["document_generation", job.job_id, job.job_id[:8], *payload, "name", "text", "x"]
    assert untranslated(text_of(client.get(LOGIN)), data) == ""
    client.force_login(staff)
    pages = [
        client.get(path) for path in (LIST, f"{LIST}?q=cocoa", NEW, JSON, MONITOR, detail(job))
    ]
    pages.append(
        client.post(
            NEW, {"task_prompt": "", "context_files": SimpleUploadedFile("notes.md", b"\xff")}
        )
    )
    for page in pages:
        assert untranslated(text_of(page), [*data, "notes.md"]) == ""


def test_empty_list_is_translated(anna: Client, bracketed: None) -> None:
    data = ["anna", "document_generation", "outline_generation"]
    assert untranslated(text_of(anna.get(LIST)), data) == ""


def test_strings_of_the_scripts_are_translated(client: Client, staff: Any, bracketed: None) -> None:
    client.force_login(staff)
    for path in (LIST, MONITOR, detail(make(staff))):
        found = re.search(r'id="page-config"[^>]*>([^<]*)<', text_of(client.get(path)))
        assert found
        strings = json.loads(found[1])["strings"]
        assert strings
        assert all(text.startswith("⟦") for text in strings.values())


def test_page_declares_its_language_and_direction(anna: Client, settings: Any) -> None:
    settings.LANGUAGES = [("en", "English"), ("de", "German"), ("ar", "Arabic")]
    for language, direction in (("de", "ltr"), ("ar", "rtl")):
        page = text_of(anna.get(LIST, headers={"accept-language": language}))
        assert f'<html lang="{language}" dir="{direction}">' in page


def test_choice_of_the_language(anna: Client) -> None:
    page = text_of(anna.get(LIST))
    assert 'value="en" lang="en" aria-current="true">English<' in page
    answer = anna.post("/i18n/setlang/", {"language": "zh-hans"}, headers={"referer": LIST})
    assert answer["Location"] == LIST
    page = text_of(anna.get(LIST, headers={"accept-language": "de"}))
    assert '<html lang="zh-hans"' in page
    assert 'value="zh-hans" lang="zh-hans" aria-current="true">简体中文<' in page


def test_times_are_machine_readable(anna: Client, user: Any) -> None:
    job = make(user)
    page = text_of(anna.get(LIST))
    assert re.search(r'<time datetime="[^"]*\+00:00"', page)
    assert date_format(job.created_at, "Y-m-d H:i:s T") in page
