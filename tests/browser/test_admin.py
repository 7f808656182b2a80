"""The admin in Chromium: accessibility, layout, and the tools of a job."""

from typing import Any

import pytest
from playwright.sync_api import expect

from events.publisher import SyncRedisStreamPublisher
from tests.browser.checks import check_accessibility
from tests.support.site import Site

pytestmark = [pytest.mark.browser, pytest.mark.extended]

JOBS = "/admin/job_events_jobs/job/"
PAGES = (
    JOBS,
    "/admin/job_events/processor/",
    "/admin/job_events/eventlog/",
    "/admin/job_events_jobs/alert/",
    "/admin/job_events_jobs/alertrule/add/",
    "/admin/job_events_jobs/silence/add/",
)
# Rule and element of Django's own search form: its label is a picture.
OF_DJANGO = ("label-title-only", ["#searchbar"])


def change_page(page: Any, job_id: str) -> str:
    """Return the path of the change page of a job."""
    page.goto(f"{JOBS}?q={job_id}")
    return str(page.locator("#result_list tbody th a").first.get_attribute("href"))


@pytest.mark.parametrize("width", [1440, 820, 390])
def test_accessibility_and_width(
    page: Any, job_id: str, publisher: SyncRedisStreamPublisher, width: int
) -> None:
    publisher.publish_event(job_id, {"event_type": "error", "message": "long" * 1000})
    page.set_viewport_size({"width": width, "height": 900})
    change = change_page(page, job_id)
    for path in (*PAGES, change, change.replace("/change/", "/cancel/")):
        page.goto(path)
        check_accessibility(page, [], OF_DJANGO)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path


def test_timeline(page: Any, job_id: str, publisher: SyncRedisStreamPublisher) -> None:
    change = change_page(page, job_id)
    publisher.publish_task_started(job_id, "by_hand")
    publisher.publish_event(job_id, {"event_type": "phase_update", "phase": "fetch_page"})
    page.goto(change)
    step = page.locator("job-timeline").get_by_text("fetch_page").last
    publisher.publish_event(job_id, {"event_type": "phase_update", "phase": "store_rows"})
    page.locator("job-timeline").get_by_text("store_rows").last.wait_for()
    step.click()
    page.locator("job-timeline .job-events-inspector").wait_for()
    check_accessibility(page, [], OF_DJANGO)
    expect(page).to_have_url(change)


def test_job_is_cancelled_by_a_tool(page: Any, site: Site, job_id: str) -> None:
    change = change_page(page, job_id)
    page.goto(change)
    page.get_by_role("link", name="Cancel", exact=True).click()
    page.get_by_role("link", name="No, take me back").click()
    page.get_by_role("link", name="Cancel", exact=True).click()
    page.get_by_role("button", name="Yes, cancel the job").click()
    page.get_by_text("The job was cancelled.").wait_for()
    page.get_by_role("link", name="Retry").wait_for()
    expect(page).to_have_url(change)
    with site.client() as client:
        assert client.get(f"/api/jobs/{job_id}/").json()["status"] == "cancelled"


def test_list_links_to_both_pages(page: Any, job_id: str) -> None:
    page.goto(f"{JOBS}?q={job_id}")
    row = page.locator("#result_list tbody tr").first
    expect(row.locator(".job-events-state")).to_have_text("Pending", use_inner_text=True)
    row.get_by_role("link", name="Live page of By hand").click()
    page.get_by_role("heading", name="By hand").first.wait_for()
