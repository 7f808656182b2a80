"""The tab Events: filters, search, selection and live events."""

import json
import re
from typing import Any

import pytest
from playwright.sync_api import expect

from events.publisher import SyncRedisStreamPublisher
from tests.browser.checks import check_accessibility
from tests.browser.support import logged_ids, wait_for_state
from tests.support.site import Site

pytestmark = pytest.mark.browser

LEVELS = ("debug", "info", "warning", "error", "critical")
MARKUP = "<img src=x onerror=\"document.title='owned'\">"


def log_event(n: int) -> dict[str, Any]:
    level = LEVELS[n % 5]
    return {"event_type": "log", "level": level, "message": f"Line {n} needle{n}", "n": n}


@pytest.fixture
def log(plain_job_id: str, publisher: SyncRedisStreamPublisher) -> list[str]:
    """100 log events of five levels, and one event of another type."""
    events = [log_event(n) for n in range(100)]
    events.append({"event_type": "request", "level": 20, "text": f"\x1b[31mred\x1b[0m {MARKUP}"})
    return publisher.publish_events(plain_job_id, events)


def open_tab(page: Any, job_id: str, query: str = "") -> None:
    page.goto(f"/jobs/job/{job_id}/?tab=events{query}")
    wait_for_state(page, "live")
    page.locator(".event-row").first.wait_for()


def rows(page: Any) -> Any:
    return page.locator(".event-row:not([data-divider])")


def test_all_events_are_listed_and_only_visible_ones_drawn(
    page: Any, site: Site, plain_job_id: str, log: list[str]
) -> None:
    open_tab(page, plain_job_id)
    count = len(logged_ids(site, plain_job_id))
    expect(rows(page).first).to_have_attribute("aria-setsize", str(count))
    assert rows(page).count() < count
    page.get_by_role("button", name="Jump to the latest").click()
    page.locator(f"[data-key='{log[-1]}']").wait_for()
    expect(page.locator(".event-rows img")).to_have_count(0)
    assert page.title() != "owned"
    red = page.locator(f"[data-key='{log[-1]}'] .ansi-red-fg")
    red.wait_for()
    expect(red).to_have_text("red", use_inner_text=True)


def test_filters_are_in_the_url(page: Any, plain_job_id: str, log: list[str]) -> None:
    open_tab(page, plain_job_id)
    page.get_by_role("button", name="log 100").click()
    page.get_by_label("Level").select_option("critical")
    expect(rows(page).first).to_have_attribute("aria-setsize", "20")
    assert {text.split()[-1] for text in page.locator(".event-level").all_inner_texts()} == {
        "CRITICAL"
    }
    page.get_by_label("Level").select_option("")
    page.get_by_role("button", name="Errors: 40").click()
    expect(page).to_have_url(re.compile("type=log&errors=1"))
    page.reload()
    rows(page).first.wait_for()
    expect(rows(page).first).to_have_attribute("aria-setsize", "40")
    with page.expect_download() as download:
        page.get_by_role("link", name="Export the displayed events: 40").click()
    lines = download.value.path().read_text().splitlines()
    assert {json.loads(line)["data"]["level"] for line in lines} == {"error", "critical"}


def test_export_by_type_is_that_of_the_api(page: Any, plain_job_id: str, log: list[str]) -> None:
    open_tab(page, plain_job_id, "&type=request")
    expect(rows(page)).to_have_count(1)
    with page.expect_download() as download:
        page.get_by_role("link", name="Export these events").click()
    (line,) = download.value.path().read_text().splitlines()
    assert json.loads(line)["id"] == log[-1]


def test_search_covers_the_log_and_later_events(
    page: Any, plain_job_id: str, log: list[str], publisher: SyncRedisStreamPublisher
) -> None:
    open_tab(page, plain_job_id)
    page.keyboard.press("/")
    page.keyboard.type("needle1*")
    page.get_by_text("Matching events in the whole log: 11").wait_for()
    expect(rows(page)).to_have_count(11)
    expect(page).to_have_url(re.compile("q=needle1"))
    later = publisher.publish_event(plain_job_id, log_event(100))
    page.locator(f"[data-key='{later}']").wait_for()
    page.get_by_label("Search in this job").fill("nothing")
    page.get_by_text("No event contains all of these words.").wait_for()


def test_search_shows_matches_page_by_page(
    page: Any, plain_job_id: str, publisher: SyncRedisStreamPublisher
) -> None:
    events = [{"event_type": "log", "message": f"word {n}"} for n in range(450)]
    publisher.publish_events(plain_job_id, events)
    open_tab(page, plain_job_id, "&q=word")
    for count in ("200", "400"):
        page.get_by_text(f"Matching events so far: {count}").wait_for()
        page.get_by_role("button", name="Load more").click()
    page.get_by_text("Matching events in the whole log: 450").wait_for()


def test_selected_event_has_an_address(page: Any, plain_job_id: str, log: list[str]) -> None:
    open_tab(page, plain_job_id, f"&event={log[60]}")
    details = page.get_by_role("complementary", name="Selected event")
    details.get_by_text("needle60", exact=False).first.wait_for()
    page.locator(f"[data-key='{log[60]}'] a[aria-current]").wait_for()  # scrolled to
    page.keyboard.press("j")
    details.get_by_text("Line 61 needle61").first.wait_for()
    check_accessibility(page)
    expect(page).to_have_url(re.compile(f"event={log[61]}"))
    page.keyboard.press("e")
    details.get_by_text("Line 63 needle63").first.wait_for()
    details.get_by_role("button", name="Close").click()
    expect(details).to_be_hidden()
    expect(page).not_to_have_url(re.compile("event="))


def test_keys_reveal_rows_below_the_bars(page: Any, plain_job_id: str, log: list[str]) -> None:
    open_tab(page, plain_job_id, f"&event={log[70]}")
    page.locator(f"[data-key='{log[70]}'] a[aria-current]").wait_for()
    for n in range(69, 29, -1):
        page.keyboard.press("k")
        selected = page.locator(f"[data-key='{log[n]}'] a[aria-current]")
        selected.wait_for()
        bars = page.locator(".event-tools").bounding_box()
        assert selected.bounding_box()["y"] >= bars["y"] + bars["height"] - 1, n


def test_pause_counts_new_events(
    page: Any, plain_job_id: str, log: list[str], publisher: SyncRedisStreamPublisher
) -> None:
    open_tab(page, plain_job_id)
    before = rows(page).first.get_attribute("aria-setsize")
    page.get_by_role("button", name="Pause").click()
    publisher.publish_events(plain_job_id, [log_event(n) for n in range(12)])
    more = page.get_by_role("button", name="Continue (new: 12)")
    more.wait_for()
    expect(rows(page).first).to_have_attribute("aria-setsize", before)
    more.click()
    expect(rows(page).first).to_have_attribute("aria-setsize", str(int(before) + 12))


def test_attempts_are_divided(page: Any, site: Site, plain_job_id: str) -> None:
    with site.client() as client:
        for action in ("cancel", "retry"):
            client.post(f"/api/jobs/{plain_job_id}/{action}/").raise_for_status()
    open_tab(page, plain_job_id)
    expect(page.locator(".event-divider:visible")).to_have_text(["Attempt 2"], use_inner_text=True)
