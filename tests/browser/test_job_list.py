"""Live updates of the job list."""

from typing import Any

import pytest

from tests.browser.support import wait_for_state
from tests.support.site import Site

pytestmark = pytest.mark.browser


def create(site: Site, title: str) -> str:
    with site.client() as client:
        response = client.post("/api/jobs/", json={"task_type": "by_hand", "title": title})
    return str(response.json()["job_id"])


def test_new_job_is_inserted_on_top_and_updated_in_place(page: Any, site: Site) -> None:
    create(site, "Older")
    page.goto("/jobs/")
    wait_for_state(page, "live")
    page.locator("tbody").evaluate("body => { body.rows[0].dataset.kept = 'yes' }")
    job_id = create(site, "Newer")
    row = page.locator(f"tr[data-job-id='{job_id}']")
    row.wait_for()
    assert page.locator("tbody tr").first.get_attribute("data-job-id") == job_id
    assert page.locator("tr[data-kept]").count() == 1
    row.get_by_role("link").focus()
    with site.client() as client:
        client.post(f"/api/jobs/{job_id}/cancel/")
    row.get_by_text("Cancelled").wait_for()
    assert page.evaluate("document.activeElement.innerText") == "Newer"


def test_rows_are_requested_only_after_a_notification(page: Any, site: Site) -> None:
    create(site, "Older")
    page.goto("/jobs/")
    wait_for_state(page, "live")
    page.wait_for_timeout(3_000)  # the socket is connected by now
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.wait_for_timeout(3_000)
    assert [url for url in requested if "rows=1" in url] == []
    job_id = create(site, "Newer")
    page.locator(f"tr[data-job-id='{job_id}']").wait_for(timeout=5_000)


def test_first_job_replaces_the_empty_list(page: Any, site: Site) -> None:
    page.goto("/jobs/?q=the-only-one")
    page.get_by_text("No job matches").wait_for()
    create(site, "the-only-one")
    page.get_by_role("link", name="the-only-one").wait_for()


def test_offline_state_while_the_server_is_unavailable(page: Any, site: Site) -> None:
    outage = {"on": True}
    page.goto("/jobs/")
    wait_for_state(page, "live")
    page.route(
        "**/jobs/?rows=1", lambda route: route.abort() if outage["on"] else route.continue_()
    )
    create(site, "Causes a request")
    wait_for_state(page, "offline")
    outage["on"] = False
    wait_for_state(page, "live")


def test_logged_out_user_is_notified(page: Any, context: Any) -> None:
    page.goto("/jobs/")
    wait_for_state(page, "live")
    context.clear_cookies()
    wait_for_state(page, "refused")
    page.get_by_text("Logged out").wait_for()


def test_list_works_by_keyboard_and_search(page: Any, site: Site) -> None:
    create(site, "Green tea")
    page.goto("/jobs/")
    page.get_by_role("searchbox").fill("green")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Show all").wait_for()
    titles = page.locator(".job-link").all_inner_texts()
    assert titles
    assert set(titles) == {"Green tea"}
