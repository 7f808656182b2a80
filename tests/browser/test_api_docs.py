"""The API documentation page."""

from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.site import Site

pytestmark = pytest.mark.browser


def test_docs_page_uses_local_files_only(context: Any, site: Site) -> None:
    page = context.new_page()
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.goto("/jobs/")
    page.get_by_role("link", name="API", exact=True).click()
    page.get_by_text("/api/jobs/{job_id}/events/export/").wait_for()
    assert page.locator(".opblock").count() == 19

    create = page.locator("#operations-jobs-job_create")
    create.locator(".opblock-summary-control").click()
    create.get_by_role("button", name="Try it out").click()
    create.locator("textarea").fill('{"task_type": "manual", "title": "From the docs"}')
    create.get_by_role("button", name="Execute").click()
    create.locator(".live-responses-table").get_by_text("From the docs").first.wait_for()
    with site.client() as client:
        assert client.get("/api/jobs/?search=From the docs").json()["results"]
    hosts = {urlsplit(url).netloc for url in requested if url.startswith("http")}
    assert hosts == {urlsplit(site.url).netloc}
