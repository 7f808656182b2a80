"""The API documentation page."""

from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from tests.support.site import Site

pytestmark = pytest.mark.browser


def test_docs_page_uses_local_files_only(context: Any, site: Site) -> None:
    page = context.new_page()
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.goto("/jobs/")
    page.get_by_role("link", name="API", exact=True).click()
    page.get_by_text("Export the log up to now").wait_for()
    operations = page.locator(".operation:has(.method)")
    expect(operations).to_have_count(19)

    create = page.locator("#job_create")
    create.locator("summary").first.click()
    create.get_by_label("JSON").fill('{"task_type": "manual", "title": "From the docs"}')
    create.get_by_role("button", name="Send the request").click()
    create.get_by_role("status").get_by_text("201 Created").wait_for()
    create.locator(".api-form .json").get_by_text("From the docs").wait_for()
    with site.client() as client:
        assert client.get("/api/jobs/?search=From the docs").json()["results"]
    hosts = {urlsplit(url).netloc for url in requested if url.startswith("http")}
    assert hosts == {urlsplit(site.url).netloc}


def test_parameters_filter_and_links(page: Any, job_id: str) -> None:
    page.goto("/api/docs/#event_list")
    history = page.locator("#event_list")
    history.get_by_label("job_id").fill(job_id)
    history.get_by_label("event_type").fill("job_created, status")
    history.get_by_role("button", name="Send the request").click()
    history.get_by_text("200 OK").wait_for()
    expect(history.locator(".api-form .json")).to_contain_text('"job_created"', use_inner_text=True)
    history.get_by_text("200", exact=True).click()
    history.get_by_role("link", name="HistoryPage").click()
    page.locator("#schema-HistoryPage").get_by_role("table").wait_for()
    page.get_by_role("searchbox").fill("post ticket")
    page.get_by_text("Found: 1").wait_for()
    expect(page.locator(".operation:visible")).to_have_count(1)


def test_a_live_stream_is_shown_until_it_is_stopped(page: Any, job_id: str) -> None:
    page.goto("/api/docs/#event_stream")
    stream = page.locator("#event_stream")
    stream.get_by_label("job_id").fill(job_id)
    stream.get_by_role("button", name="Send the request").click()
    stream.locator(".api-form").get_by_text("event: live").wait_for()
    stream.get_by_role("button", name="Stop").click()
    stream.get_by_role("button", name="Stop").wait_for(state="hidden")
