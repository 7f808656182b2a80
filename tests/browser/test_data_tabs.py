"""The tabs Result and Input."""

import json
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.support import job_page, wait_for_state
from tests.support.site import Site

pytestmark = [pytest.mark.browser, pytest.mark.extended]

COMPLETE = """
from jobs import services
services.job_start(job_id={job_id!r})
services.job_complete(job_id={job_id!r}, result={result!r})
"""


def complete(site: Site, job_id: str, result: Any) -> None:
    code = COMPLETE.format(job_id=job_id, result=result)
    site.manage("shell", "--verbosity", "0", "-c", code)


def test_result_appears_when_the_job_is_completed(page: Any, site: Site, plain_job_id: str) -> None:
    page.goto(job_page(plain_job_id, tab="result"))
    panel = page.locator("#panel-result")
    panel.get_by_text("No result yet").wait_for()
    result = {"rows": 3, "text": "<b>a</b>\n  b"}
    complete(site, plain_job_id, result)
    panel.locator(".json-item", has_text="rows: 3").wait_for()
    assert panel.locator("pre").inner_text() == result["text"]
    with page.expect_download() as download:
        panel.get_by_role("button", name="Download").click()
    assert json.loads(download.value.path().read_text()) == result
    page.get_by_role("tab", name="Input").click()
    page.get_by_text("This job was created without input.").wait_for()


def test_text_is_shown_as_text(page: Any, site: Site, plain_job_id: str) -> None:
    complete(site, plain_job_id, "# Title\n\n<b>bold</b>")
    page.goto(job_page(plain_job_id, tab="result"))
    wait_for_state(page, "ended")
    panel = page.locator("#panel-result")
    panel.get_by_role("button", name="Copy").wait_for()
    assert panel.locator("pre").inner_text() == "# Title\n\n<b>bold</b>"


def test_jobs_without_a_result_say_so(page: Any, site: Site, plain_job_id: str) -> None:
    with site.client() as client:
        client.post(f"/api/jobs/{plain_job_id}/cancel/").raise_for_status()
    page.goto(job_page(plain_job_id, tab="result"))
    page.get_by_text("This job has no result.").wait_for()


def test_result_template_comes_first(page: Any, site: Site, job_id: str) -> None:
    complete(site, job_id, {"rows": 3})
    page.goto(job_page(job_id, tab="result"))
    wait_for_state(page, "ended")
    raw = page.locator(".data-raw")
    raw.get_by_text("Result as data").click()
    raw.locator(".json-item", has_text="rows: 3").wait_for()
    expect(page.locator("#job-result")).to_be_visible()
