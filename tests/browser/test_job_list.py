"""Live updates of the job list."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.support import log_in, wait_for_state
from tests.support.site import Site

pytestmark = pytest.mark.browser


def create(site: Site, title: str, user: str = "demo") -> str:
    with site.client(user) as client:
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
    expect(page.locator("tbody tr").first).to_have_attribute("data-job-id", job_id)
    expect(page.locator("tr[data-kept]")).to_have_count(1)
    row.get_by_role("link").focus()
    with site.client() as client:
        client.post(f"/api/jobs/{job_id}/cancel/")
    row.get_by_text("Cancelled").wait_for()
    assert page.evaluate("document.activeElement.innerText") == "Newer"


def test_rows_are_requested_only_after_a_notification(page: Any, site: Site) -> None:
    """Anna does not see the jobs of other tests, which may still change."""
    create(site, "Older", "anna")
    page.context.clear_cookies()
    page.goto("/jobs/")
    log_in(page, "anna")
    wait_for_state(page, "live")
    page.wait_for_timeout(3_000)  # the socket is connected by now
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.wait_for_timeout(3_000)
    assert [url for url in requested if "rows=1" in url] == []
    job_id = create(site, "Newer", "anna")
    page.locator(f"tr[data-job-id='{job_id}']").wait_for()


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
    page.get_by_role("heading", name="You are logged out").wait_for()
    expect(page.locator("tbody tr")).to_have_count(0)
    page.get_by_role("link", name="Log in").click()
    page.get_by_label("Username").wait_for()


def test_list_works_by_keyboard_and_search(page: Any, site: Site) -> None:
    create(site, "Green tea")
    page.goto("/jobs/")
    page.get_by_role("searchbox").fill("green")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Show all").wait_for()
    titles = page.locator(".job-link").all_inner_texts()
    assert titles
    assert set(titles) == {"Green tea"}


def rows_of(page: Any) -> list[str]:
    return list(page.locator("tbody tr").evaluate_all("rows => rows.map(row => row.dataset.jobId)"))


def test_rows_do_not_move_while_the_list_is_read(page: Any, site: Site) -> None:
    older = create(site, "Older")
    page.goto("/jobs/")
    wait_for_state(page, "live")
    page.locator(f"tr[data-job-id='{older}'] .job-link").focus()
    before = rows_of(page)
    newer = create(site, "Newer")
    page.get_by_role("button", name="New jobs: 1").wait_for()
    with site.client() as client:
        client.post(f"/api/jobs/{older}/cancel/")
    page.locator(f"tr[data-job-id='{older}']").get_by_text("Cancelled").wait_for()
    assert rows_of(page) == before
    page.get_by_role("button", name="New jobs: 1").click()
    assert rows_of(page)[:2] == [newer, older]
    assert page.evaluate("document.activeElement.innerText") == "Newer"


def test_waiting_rows_are_shown_when_the_list_is_no_longer_read(page: Any, site: Site) -> None:
    create(site, "Older")
    page.goto("/jobs/")
    wait_for_state(page, "live")
    page.locator("tbody tr").first.get_by_role("checkbox").check()
    newer = create(site, "Newer")
    page.get_by_role("button", name="New jobs: 1").wait_for()
    page.get_by_role("button", name="Deselect").click()
    page.mouse.move(0, 0)
    page.locator(f"tr[data-job-id='{newer}']").wait_for()
    assert rows_of(page)[0] == newer


def test_jobs_are_selected_and_cancelled(page: Any, site: Site) -> None:
    jobs = [create(site, f"Together {number}") for number in range(4)]
    with site.client() as client:
        client.post(f"/api/jobs/{jobs[1]}/cancel/")
    page.goto("/jobs/?q=together")
    wait_for_state(page, "live")
    page.get_by_role("checkbox", name="Select Together 3").click()
    page.get_by_role("checkbox", name="Select Together 0").click(modifiers=["Shift"])
    page.get_by_text("Selected: 4").wait_for()
    page.locator("#bulk-cancel").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("heading", name="Jobs to cancel: 3").wait_for()
    dialog.get_by_text("does not apply: 1").wait_for()
    dialog.get_by_role("button", name="Do nothing").click()
    expect(page.locator("tr .badge[data-status=pending]")).to_have_count(3)
    page.locator("#bulk-cancel").click()
    dialog.get_by_role("button", name="Cancel the jobs").click()
    page.locator("tr .badge[data-status=cancelled]").nth(3).wait_for()
    expect(page.locator("#bulk")).to_be_hidden()
    with site.client() as client:
        assert {client.get(f"/api/jobs/{job}/").json()["status"] for job in jobs} == {"cancelled"}


def test_actions_follow_the_status_of_selected_jobs(page: Any, site: Site) -> None:
    """The rows of a list with selected jobs change in place."""
    job_id = create(site, "Followed")
    page.goto("/jobs/?q=followed")
    wait_for_state(page, "live")
    page.get_by_role("checkbox", name="Select Followed").check()
    page.locator("#bulk-cancel:enabled").wait_for()
    expect(page.locator("#bulk-retry")).to_be_disabled()
    with site.client() as client:
        client.post(f"/api/jobs/{job_id}/cancel/")
    page.locator("#bulk-retry:enabled").wait_for()
    expect(page.locator("#bulk-cancel")).to_be_disabled()
    with site.client() as client:
        client.post(f"/api/jobs/{job_id}/retry/").raise_for_status()
    page.locator("#bulk-cancel:enabled").click()  # of the attempt that is shown now
    page.get_by_role("button", name="Cancel the jobs").click()
    page.locator("tr .badge[data-status=cancelled]").wait_for()


def test_refused_actions_are_listed(page: Any, site: Site) -> None:
    """The job has ended since the row was drawn."""
    job_id = create(site, "Too late")
    page.goto("/jobs/?q=too late")
    wait_for_state(page, "live")
    page.route("**/jobs/?*rows=1*", lambda route: route.abort())
    page.get_by_role("checkbox", name="Select Too late").check()
    with site.client() as client:
        client.post(f"/api/jobs/{job_id}/cancel/")
    page.locator("#bulk-cancel").click()
    page.get_by_role("button", name="Cancel the jobs").click()
    page.get_by_text("Done: 0. Refused: 1. Not tried: 0.").first.wait_for()
    expect(page.locator("#bulk-results")).to_contain_text("Too late", use_inner_text=True)
    expect(page.locator("#bulk-results")).to_contain_text(
        "cannot be cancelled", use_inner_text=True
    )
    page.get_by_role("button", name="Close").click()


def test_selected_jobs_are_exported_as_one_file(page: Any, site: Site) -> None:
    jobs = {create(site, f"Exported {number}") for number in range(2)}
    page.goto("/jobs/?q=exported")
    wait_for_state(page, "live")
    page.get_by_role("checkbox", name="Select all jobs on this page").check()
    with page.expect_download() as download:
        page.locator("#bulk-export").click()
    lines = Path(download.value.path()).read_text().splitlines()
    assert download.value.suggested_filename == "job-events.ndjson"
    assert {json.loads(line)["job_id"] for line in lines} == jobs


def test_list_is_used_by_keys(page: Any, site: Site) -> None:
    for number in range(3):
        create(site, f"By keys {number}")
    page.goto("/jobs/?q=keys")
    wait_for_state(page, "live")
    focused = "document.activeElement.innerText"
    for key, title in (("j", "By keys 2"), ("j", "By keys 1"), ("k", "By keys 2")):
        page.keyboard.press(key)
        assert page.evaluate(focused) == title
    page.keyboard.press("x")
    page.get_by_text("Selected: 1").wait_for()
    page.keyboard.press("?")
    page.get_by_role("dialog", name="Keyboard").wait_for()
    page.get_by_label("Use the keys of single characters").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") != "id_q"
    page.locator(".job-link").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/jobs/job/**")


def test_views_are_saved_in_the_browser(page: Any, site: Site) -> None:
    create(site, "For a view")
    page.goto("/jobs/?status=pending&q=view")
    page.get_by_role("button", name="Views").click()
    page.get_by_label("Name of the view").fill("My <b>view</b>")
    page.get_by_role("button", name="Save").click()
    page.goto("/jobs/")
    page.get_by_role("button", name="Views").click()
    page.get_by_role("link", name="My <b>view</b>").click()
    page.wait_for_url("**/jobs/?status=pending&q=view")
    page.get_by_role("button", name="Views").click()
    page.get_by_role("button", name="Delete the view").click()
    expect(page.get_by_role("link", name="My <b>view</b>")).to_have_count(0)
    page.evaluate("localStorage.setItem('job-events-views', '[5, {\"name\": {}}, null]')")
    page.reload()
    wait_for_state(page, "live")


def test_bars_choose_the_time_range(page: Any, site: Site) -> None:
    create(site, "In the last bar")
    page.goto("/jobs/?range=1h&q=last bar")
    bars = page.get_by_role("group", name="Jobs and failures").get_by_role("button")
    bars.last.wait_for()
    expect(bars.last).to_have_attribute("aria-label", re.compile("jobs: 1"))
    bars.first.focus()
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    page.wait_for_url("**range=own**")
    page.get_by_role("link", name="In the last bar").wait_for()
    assert page.locator("#id_since").input_value()
    page.go_back()
    bars.nth(30).wait_for()
    box = page.locator("#activity-bars").bounding_box()
    page.mouse.move(box["x"] + 5, box["y"] + 10)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 3, box["y"] + 10)
    page.mouse.up()
    page.get_by_role("heading", name="No job matches").wait_for()


def test_counts_of_facets_are_updated(page: Any, site: Site) -> None:
    page.goto("/jobs/?q=counted")
    wait_for_state(page, "live")
    count = page.locator("[data-facet=pending] .facet-count")
    expect(count).to_have_text("0", use_inner_text=True)
    create(site, "Counted")
    page.get_by_role("link", name="Counted", exact=True).wait_for()
    page.locator("[data-facet=pending] .facet-count", has_text="1").wait_for()


def test_filters_are_applied_when_chosen(page: Any, site: Site) -> None:
    create(site, "Chosen")
    page.goto("/jobs/")
    page.get_by_label("Type").select_option("by_hand")
    page.wait_for_url("**/jobs/?type=by_hand")
    page.get_by_role("link", name="Pending").click()
    page.wait_for_url("**/jobs/?type=by_hand&status=pending")
    expect(page.get_by_role("link", name="Pending")).to_have_attribute("aria-current", "true")
    page.go_back()
    page.go_back()
    page.wait_for_url("**/jobs/")
    expect(page.get_by_label("Type")).to_have_value("")


def test_list_works_without_scripts(browser: Any, site: Site, logged_in: Any) -> None:
    create(site, "Without scripts")
    context = browser.new_context(
        base_url=site.url, storage_state=logged_in, java_script_enabled=False
    )
    page = context.new_page()
    page.goto("/jobs/")
    page.get_by_role("searchbox").fill("without")
    page.get_by_label("Order").select_option("created_at")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("link", name="Pending").click()
    page.get_by_role("link", name="Without scripts").wait_for()
    expect(page).to_have_url(re.compile("sort=created_at"))
    expect(page.get_by_role("checkbox")).to_have_count(0)
    context.close()
