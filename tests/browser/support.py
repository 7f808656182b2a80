"""Helpers of the browser tests."""

import json
from datetime import datetime, timedelta
from time import sleep
from typing import Any

from tests.support.site import Site

README = """# Tea

Tea is a drink made of leaves and hot water. It is drunk in most countries.

## Making it

Boil the water. Put the leaves into the pot. Pour the water on the leaves and wait three minutes.

## Kinds

Green tea is not oxidised. Black tea is. Oolong is in between.

### Black tea

Assam is strong. Darjeeling is light.
"""


def wait_for_state(page: Any, state: str, timeout: float = 60_000) -> None:
    """Wait until the live delivery of the page has the state."""
    page.wait_for_selector(f"html[data-live-state={state}]", timeout=timeout)


def wait_for_status(client: Any, job_id: str, status: str) -> None:
    """Wait until the row of a job has the status, which its log has earlier."""
    while client.get(f"/api/jobs/{job_id}/").json()["status"] != status:
        sleep(0.05)


def wait_until(page: Any, condition: str) -> None:
    """Wait for a condition in the page. Playwright's `wait_for_function` needs eval."""
    check = f"() => ({condition}) ? end() : requestAnimationFrame(check)"
    page.evaluate(f"() => new Promise((end) => {{ const check = {check}; check(); }})")


def show_tab(page: Any, name: str) -> None:
    """Open a tab of the run page."""
    page.get_by_role("tab", name=name).click()


# The list contains the rows in view only.
_COLLECT_IDS = """async () => {
    const ids = new Map();
    const frame = () => new Promise((end) => requestAnimationFrame(end));
    for (let at = 0; at <= document.documentElement.scrollHeight; at += innerHeight / 2) {
        scrollTo(0, at);
        await frame();
        await frame();
        for (const row of document.querySelectorAll(".event-row:not([data-divider])")) {
            ids.set(Number(row.getAttribute("aria-posinset")), row.dataset.key);
        }
    }
    scrollTo(0, 0);
    return [...ids].sort(([a], [b]) => a - b).map(([, id]) => id);
}"""


def shown_ids(page: Any) -> list[str]:
    """Return the ids of all events in the tab Events, in order."""
    show_tab(page, "Events")
    page.locator(".event-row").first.wait_for()
    return list(page.evaluate(_COLLECT_IDS))


def event_row(page: Any, event_id: str) -> Any:
    """Return the row of an event that is in view."""
    return page.locator(f".event-row[data-key='{event_id}']")


def logged_ids(site: Site, job_id: str) -> list[str]:
    """Return the ids of all events of the job from the API."""
    ids: list[str] = []
    after = "0"
    with site.client() as client:
        while True:
            query = {"after": after, "limit": 1000}
            page = client.get(f"/api/jobs/{job_id}/events/", params=query).json()
            ids += [event["id"] for event in page["results"]]
            after = page["cursor"]
            if not page["next"]:
                return ids


def empty_history(page: Any, times: int | None = None) -> None:
    """Let the history have no events, so that the stream delivers them."""
    body = json.dumps({"results": [], "next": None, "cursor": "0"})
    page.route(
        "**/events/?*",
        lambda route: route.fulfill(content_type="application/json", body=body),
        times=times,
    )


def job_page(job_id: str, tab: str = "events") -> str:
    return f"/jobs/job/{job_id}/?tab={tab}"


def job_id_of(page: Any) -> str:
    return str(page.url.split("?")[0].rstrip("/").rsplit("/", 1)[-1])


def disable_websockets(page: Any) -> None:
    """Remove WebSocket from the page; the client falls back to server-sent events."""
    page.add_init_script("delete globalThis.WebSocket")


def log_in(page: Any, user: str = "demo") -> None:
    """Log in on the login page."""
    page.get_by_label("Username").fill(user)
    page.get_by_label("Password").fill(user)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("heading", name="Jobs", exact=True).wait_for()


def queue_wait(site: Site, job_id: str) -> str:
    """Return the time from the creation of a job to its first start, as the pages show it."""
    with site.client() as client:
        events = client.get(f"/api/jobs/{job_id}/events/").json()["results"]
    times = [
        next(each["timestamp"] for each in events if each["event_type"] == name)
        for name in ("job_created", "task_started")
    ]
    # In JavaScript, times have whole milliseconds.
    created, started = (datetime.fromisoformat(time[:23] + time[26:]) for time in times)
    waited = (started - created) // timedelta(milliseconds=1)
    return f"{waited} ms" if waited < 1000 else f"{waited / 1000 + 1e-9:.2f} s"
