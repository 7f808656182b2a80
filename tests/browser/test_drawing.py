"""Drawing of the run page: events that wait for a frame, earlier events, a hidden page."""

import re
from typing import Any

import pytest
from playwright.sync_api import expect

from events.publisher import SyncRedisStreamPublisher
from tests.browser.support import (
    job_page,
    logged_ids,
    show_tab,
    shown_ids,
    wait_for_state,
    wait_until,
)
from tests.browser.test_client import publish
from tests.support.site import Site

pytestmark = [pytest.mark.browser, pytest.mark.extended]

# Frames run while `areFramesOn`; the test hides the page.
FRAMES = """
  const frame = requestAnimationFrame;
  const cancel = cancelAnimationFrame;
  const held = new Map();
  globalThis.areFramesOn = true;
  globalThis.requestAnimationFrame = (call) => {
    const id = frame((time) => {
      if (areFramesOn) call(time);
      else held.set(id, call);
    });
    return id;
  };
  globalThis.cancelAnimationFrame = (id) => held.delete(id) || cancel(id);
  globalThis.setFrames = (areOn) => {
    areFramesOn = areOn;
    const calls = [...held.values()];
    held.clear();
    if (areOn) calls.forEach((call) => call(performance.now()));
  };
  globalThis.hide = () => {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => true });
    document.dispatchEvent(new Event("visibilitychange"));
  };
"""
LIVE_MS = 1_000


@pytest.fixture
def framed(page: Any) -> Any:
    page.add_init_script(FRAMES)
    return page


def limit_window(page: Any) -> None:
    """Let the log hold 100 events and drop 20 at a time."""

    def answer(route: Any) -> None:
        response = route.fetch()
        sizes = {"CAPACITY": 100, "TRIM_EVENTS": 20, "PAGE_LIMIT": 50}
        text = response.text()
        for name, size in sizes.items():
            text = re.sub(rf"const {name} = [\d_]+", f"const {name} = {size}", text)
        route.fulfill(response=response, body=text)

    page.route("**/job_events/job-log*.js", answer)


def load_earlier(page: Any) -> None:
    button = page.get_by_role("button", name="Load earlier events")
    with page.expect_response(lambda response: "before=" in response.url):
        button.click()
    page.locator(".event-list > button:enabled", has_text="Load earlier events").first.wait_for()


def test_earlier_events_are_listed_once_while_events_wait(
    framed: Any, site: Site, plain_job_id: str, publisher: SyncRedisStreamPublisher
) -> None:
    limit_window(framed)
    publish(publisher, plain_job_id, 139)
    framed.goto(job_page(plain_job_id))
    wait_for_state(framed, "live")
    framed.locator(".event-row").first.wait_for()
    framed.evaluate("setFrames(false)")
    publish(publisher, plain_job_id, 3)
    framed.wait_for_timeout(LIVE_MS)
    load_earlier(framed)
    framed.evaluate("setFrames(true)")
    count = framed.locator("#event-count", has_text=re.compile(r"^≥ 1[0-9]{2}$"))
    count.wait_for()
    logged = logged_ids(site, plain_job_id)
    while (shown := shown_ids(framed))[-1] != logged[-1]:
        framed.wait_for_timeout(100)
    assert len(shown) > 100
    size = framed.locator(".event-row").first.get_attribute("aria-setsize")
    assert size == str(len(shown))
    assert shown == logged[-len(shown) :]


def test_timeline_has_the_steps_of_earlier_events(
    framed: Any, plain_job_id: str, publisher: SyncRedisStreamPublisher
) -> None:
    limit_window(framed)
    with publisher.span(plain_job_id, "first step"):
        pass
    publish(publisher, plain_job_id, 110)
    with publisher.span(plain_job_id, "last step"):
        pass
    framed.goto(job_page(plain_job_id))
    wait_for_state(framed, "live")
    framed.locator(".event-row").first.wait_for()
    framed.get_by_role("button", name="Load earlier events").click()
    framed.locator("#event-count", has_text=re.compile(r"^115$")).wait_for()
    show_tab(framed, "Timeline")
    framed.locator(".row .label", has_text="last step").wait_for()
    framed.locator(".row .label", has_text="first step").wait_for()


def test_page_hidden_with_a_pending_frame_is_drawn(
    framed: Any, plain_job_id: str, publisher: SyncRedisStreamPublisher
) -> None:
    publish(publisher, plain_job_id, 5)
    framed.goto(job_page(plain_job_id))
    wait_for_state(framed, "live")
    framed.locator("#event-count", has_text=re.compile(r"^6$")).wait_for()
    framed.evaluate("setFrames(false)")
    publish(publisher, plain_job_id, 1)
    framed.wait_for_timeout(LIVE_MS)
    framed.evaluate("hide()")
    framed.locator("#event-count", has_text=re.compile(r"^7$")).wait_for()
    publish(publisher, plain_job_id, 1)
    framed.locator("#event-count", has_text=re.compile(r"^8$")).wait_for()


def test_selection_of_a_hidden_step_clears_the_filter(
    page: Any, plain_job_id: str, publisher: SyncRedisStreamPublisher
) -> None:
    with publisher.span(plain_job_id, "kettle") as span_id:
        pass
    page.goto(f"/jobs/job/{plain_job_id}/?tab=timeline&q=nothing&span={span_id}")
    page.locator(".row .label", has_text="kettle").wait_for()
    wait_until(page, "!location.search.includes('q=')")
    expect(page.locator(".row .label", has_text="kettle")).to_be_visible()
