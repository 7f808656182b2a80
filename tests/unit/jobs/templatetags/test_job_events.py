"""The template tags that show a job in the pages of a project."""

import json
import re
from html import unescape
from html.parser import HTMLParser
from typing import Any

import pytest
from django.template import Context, Template
from django.test import RequestFactory, override_settings

from events.exceptions import InvalidJobId
from jobs.models import Job
from jobs.pages.element_strings import element_strings
from tests.support.site import ROOT


class Elements(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: dict[str, dict[str, str | None]] = {}
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found[tag] = dict(attrs)


def rendered(tag: str, **context: Any) -> dict[str, dict[str, str | None]]:
    template = Template(f"{{% load job_events %}}{{% {tag} %}}")
    return Elements(template.render(Context(context))).found


@override_settings(TIME_ZONE="Europe/Berlin")
def test_progress_of_a_job() -> None:
    found = rendered("job_progress job", job=Job(job_id="abc"))
    element, script = found["job-progress"], found["script"]
    assert (element["job-id"], element["base-url"]) == ("abc", "/api/jobs/")
    assert element["time-zone"] == "Europe/Berlin"
    assert json.loads(element["labels"] or "")["running"] == "Running"
    assert script == {"type": "module", "src": "/static/job_events/job-elements.js"}


def test_timeline_of_a_job_id_with_attributes() -> None:
    tag = "job_timeline 'abc' height='20rem' limit=9 class_=name base_url=none data_x=1"
    element = rendered(tag, name='a"b', none=None)["job-timeline"]
    assert (element["height"], element["limit"], element["class"]) == ("20rem", "9", 'a"b')
    assert element["data-x"] == "1"
    assert "base-url" not in element
    labels = json.loads(element["labels"] or "")
    assert (labels["timeline.step"], labels["json.more"]) == ("Step", "Show more: {count}")


def test_labels_are_those_of_the_language(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.pages.element_strings._", lambda text: f"<{text}>")
    element = rendered("job_progress 'abc'")["job-progress"]
    assert json.loads(element["labels"] or "")["waiting"] == "<Waiting for input>"


def test_nonce_of_the_policy() -> None:
    assert rendered("job_progress 'abc'", csp_nonce="n1")["script"]["nonce"] == "n1"
    request = RequestFactory().get("/")
    request.csp_nonce = "n2"  # type: ignore[attr-defined]
    assert rendered("job_progress 'abc'", request=request)["script"]["nonce"] == "n2"


@pytest.mark.parametrize("job_id", ['"><script>', "", 7])
def test_invalid_job_id(job_id: object) -> None:
    with pytest.raises(InvalidJobId):
        rendered("job_progress job", job=job_id)


def test_english_labels_are_those_of_the_script() -> None:
    """A page without translations shows the same texts."""
    code = (ROOT / "events/static/job_events/job-elements.js").read_text()
    block = code.split("const LABELS = {")[1].split("};")[0]
    labels = dict(re.findall(r'^ +"?([\w.]+)"?: "(.+)",$', block, re.MULTILINE))
    assert labels == {key: unescape(text) for key, text in element_strings().items()}
