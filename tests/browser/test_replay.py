"""Replay on the job page."""

from time import sleep
from typing import Any

import pytest
from playwright.sync_api import expect

from events.publisher import SyncRedisStreamPublisher
from tests.browser.support import (
    event_row,
    job_page,
    logged_ids,
    shown_ids,
    wait_for_state,
    wait_until,
)
from tests.support.site import Site

pytestmark = pytest.mark.browser

STEP_SECONDS = 0.12


@pytest.fixture
def log(job_id: str, publisher: SyncRedisStreamPublisher) -> list[str]:
    """Publish the events of a running job at intervals; return their ids."""
    ids = [publisher.publish_event(job_id, {"event_type": "task_started", "job_status": "running"})]
    for percent in (20, 40, 60, 80):
        sleep(STEP_SECONDS)
        ids.append(publisher.publish_task_progress(job_id, "by_hand", percent))
        text = f"thought at {percent} "
        ids.append(publisher.publish_event(job_id, {"event_type": "thought", "text": text}))
    return ids


def seek(page: Any, share: float) -> None:
    """Move the slider to a fraction of its length."""
    page.locator("#replay-at").evaluate(
        """(slider, share) => {
            slider.value = share * slider.max;
            slider.dispatchEvent(new Event("input", { bubbles: true }));
        }""",
        share,
    )


def open_replay(page: Any, job_id: str) -> None:
    """Open the replay and pause it at its start."""
    page.goto(job_page(job_id))
    page.locator("#replay-open:enabled").wait_for()
    page.evaluate(
        "for (const name of ['open', 'play']) document.getElementById(`replay-${name}`).click()"
    )
    page.get_by_role("button", name="Play", exact=True).wait_for()


def percent(page: Any, text: str) -> None:
    page.locator("#percent", has_text=text).wait_for()


def test_seek_shows_the_state_at_any_time(
    page: Any, site: Site, job_id: str, log: list[str], publisher: SyncRedisStreamPublisher
) -> None:
    open_replay(page, job_id)
    seek(page, 0)
    page.locator(".event-row").nth(1).wait_for(state="detached")
    created = logged_ids(site, job_id)[0]
    assert shown_ids(page) == [created]
    expect(page.locator("#job-badge")).to_have_text("Pending", use_inner_text=True)
    expect(page.locator("#fact-worker")).to_have_text("–", use_inner_text=True)
    expect(page.locator("#cancel-form")).to_be_hidden()

    seek(page, 1)
    percent(page, "80%")
    assert shown_ids(page) == [created, *log]
    everything = page.locator("#thoughts").text_content()

    page.locator(".event-tools .chip", has_text="thought").click()
    seek(page, 0.5)  # backwards
    page.locator("#percent", has_not_text="80%").wait_for()
    page.locator(".event-row").first.wait_for()
    assert set(page.locator(".event-row .event-type").all_inner_texts()) == {"thought"}
    page.locator(".event-tools .chip", has_text="thought").click()
    half = shown_ids(page)
    assert half == [created, *log][: len(half)]
    assert 1 < len(half) < len(log)
    seek(page, 1)
    percent(page, "80%")
    expect(page.locator("#thoughts")).to_have_text(everything)

    # A new event appears when the replay reaches it, or ends.
    seek(page, 0.5)
    length = page.locator("#replay-at").get_attribute("max")
    sleep(STEP_SECONDS)
    last = publisher.publish_event(job_id, {"event_type": "task_failed", "error": "No more tea"})
    wait_until(page, f"document.querySelector('#replay-at').max !== '{length}'")
    expect(event_row(page, last)).to_have_count(0)
    page.get_by_role("button", name="End the replay").click()
    event_row(page, last).wait_for()
    assert page.evaluate("document.activeElement.id") == "replay-open"
    assert shown_ids(page) == [created, *log, last]
    expect(page.locator("#replay")).to_be_hidden()


def test_replay_plays_to_the_end(page: Any, site: Site, job_id: str, log: list[str]) -> None:
    with site.client() as client:
        client.post(f"/api/jobs/{job_id}/cancel/").raise_for_status()
    page.goto(job_page(job_id))
    wait_for_state(page, "ended")
    shown = [page.locator(f"#{panel}").text_content() for panel in ("job-badge", "thoughts")]
    open_replay(page, job_id)
    page.locator(".event-row").nth(1).wait_for(state="detached")
    expect(page.locator("#job-badge")).to_have_text("Pending", use_inner_text=True)
    page.get_by_role("button", name="Play", exact=True).click()
    page.locator(".event-row").nth(1).wait_for()
    page.get_by_label("Speed").select_option("20")
    page.get_by_role("button", name="Play", exact=True).wait_for()  # the replay has ended
    assert shown_ids(page) == logged_ids(site, job_id)
    assert [
        page.locator(f"#{panel}").text_content() for panel in ("job-badge", "thoughts")
    ] == shown

    page.locator("#replay-at").focus()
    page.keyboard.press("Home")
    page.locator(".event-row").nth(1).wait_for(state="detached")
    assert len(shown_ids(page)) == 1
    page.keyboard.press("ArrowRight")
    assert page.locator("#replay-at").get_attribute("aria-valuetext").startswith("0:00 of 0:0")
    page.get_by_role("button", name="End the replay").click()
    page.locator("#job-badge", has_text="Cancelled").wait_for()
    expect(page.locator("#retry-form")).to_be_visible()
