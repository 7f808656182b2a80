"""The browser's client of the log, as other pages use it: connections that break, and elements."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from events.publisher import SyncRedisStreamPublisher
from tests.browser.support import job_page, live_state, log_in, logged_ids, no_sockets, shown_ids
from tests.support.site import Site

pytestmark = pytest.mark.browser

NO_SUCH_SOCKETS = """
const Real = WebSocket;
globalThis.WebSocket = class extends Real {
  constructor(url) { super(String(url).replace("/ws/", "/nothing/")); }
};
"""
COUNT_TRANSPORTS = """
globalThis.opened = [];
for (const name of ["WebSocket", "EventSource"]) {
  const Real = globalThis[name];
  if (Real) globalThis[name] = class extends Real {
    constructor(url) { super(url); opened.push(name); }
  };
}
"""


def publish(publisher: SyncRedisStreamPublisher, job_id: str, count: int) -> str:
    return publisher.publish_events(job_id, [{"event_type": "s", "n": n} for n in range(count)])[-1]


def seen(page: Any, event_id: str) -> None:
    page.locator(f"#events [data-event-id='{event_id}']").wait_for()


def all_seen(page: Any, site: Site, job_id: str) -> None:
    assert shown_ids(page) == logged_ids(site, job_id)


# Connections


def test_page_is_served_by_a_socket_alone(
    page: Any, job_id: str, publisher: SyncRedisStreamPublisher, site: Site
) -> None:
    page.add_init_script(COUNT_TRANSPORTS)
    page.goto(job_page(job_id))
    live_state(page, "live")
    seen(page, publish(publisher, job_id, 5))
    assert page.evaluate("opened") == ["WebSocket"]
    all_seen(page, site, job_id)


def test_where_there_are_no_sockets_events_are_streamed(
    page: Any, job_id: str, publisher: SyncRedisStreamPublisher, site: Site
) -> None:
    """The server, or what stands before it, knows none, and does not say so to a browser."""
    page.add_init_script(COUNT_TRANSPORTS)
    page.add_init_script(NO_SUCH_SOCKETS)
    page.context.problems_expected.append("WebSocket connection to")
    page.goto(job_page(job_id))
    live_state(page, "live")
    seen(page, publish(publisher, job_id, 5))
    assert page.evaluate("opened")[-1] == "EventSource"
    all_seen(page, site, job_id)


def test_offline_and_online_again(
    page: Any, context: Any, job_id: str, publisher: SyncRedisStreamPublisher, site: Site
) -> None:
    page.goto(job_page(job_id))
    live_state(page, "live")
    context.problems_expected.append("WebSocket connection to")
    for _ in range(2):
        context.set_offline(True)
        page.evaluate("dispatchEvent(new Event('online'))")  # it has another network, which is none
        live_state(page, "reconnecting")
        last = publish(publisher, job_id, 20)
        context.set_offline(False)
        live_state(page, "live")
        seen(page, last)
    all_seen(page, site, job_id)


@pytest.mark.parametrize("by", ["sockets", "streams"])
def test_page_that_was_frozen(
    page: Any, context: Any, job_id: str, publisher: SyncRedisStreamPublisher, site: Site, by: str
) -> None:
    """Like a sleeping laptop or a background tab."""
    if by == "streams":
        no_sockets(page)
    page.goto(job_page(job_id))
    live_state(page, "live")
    devtools = context.new_cdp_session(page)
    devtools.send("Page.setWebLifecycleState", {"state": "frozen"})
    last = publish(publisher, job_id, 20)
    devtools.send("Page.setWebLifecycleState", {"state": "active"})
    seen(page, last)
    all_seen(page, site, job_id)


def test_six_tabs_of_streams_leave_room_for_more(
    context: Any, job_id: str, publisher: SyncRedisStreamPublisher, site: Site
) -> None:
    """A browser allows six connections to a server; further tabs poll."""
    context.add_init_script("delete globalThis.WebSocket")
    pages = []
    for _ in range(6):
        pages.append(context.new_page())
        pages[-1].goto(job_page(job_id))
        pages[-1].wait_for_selector("html[data-live-state=live], html[data-live-state=polling]")
    last = publish(publisher, job_id, 5)
    for page in pages:
        seen(page, last)
        all_seen(page, site, job_id)
    states = [page.evaluate("document.documentElement.dataset.liveState") for page in pages]
    assert states.count("live") == 4
    more = context.new_page()
    more.goto("/jobs/")
    more.get_by_role("heading", name="Jobs", exact=True).wait_for()
    # Closed, a tab leaves its connection to another.
    pages[0].close()
    late = context.new_page()
    late.goto(job_page(job_id))
    live_state(late, "live")


def mocked(page: Any, *runs: Any) -> list[str]:
    """Answers for the server's sockets: each run is given the next; the urls that were asked."""
    asked: list[str] = []

    def answer(socket: Any) -> None:
        run = runs[min(len(asked), len(runs) - 1)]
        asked.append(socket.url)
        run(socket) if run else socket.connect_to_server()

    page.route_web_socket("**/ws/jobs/**", answer)
    return asked


def event(event_id: str) -> str:
    event = {"id": event_id, "job_id": "x", "event_type": "s", "timestamp": "", "data": {}}
    return json.dumps({"type": "event", "event": event})


def test_repeats_broken_messages_and_long_numbers(page: Any, job_id: str) -> None:
    big = "18446744073709551615"
    ids = ["9-9", "9-9", "10-0", "9-10", "10-10", "10-9", f"{big}-1", f"{big}-0"]

    def run(socket: Any) -> None:
        for text in (
            "{broken",
            "7",
            "null",
            '{"type": "event"}',
            '{"type": "?"}',
            *map(event, ids),
        ):
            socket.send(text)
        socket.send('{"type": "end"}')

    mocked(page, run)
    page.goto(job_page(job_id))
    live_state(page, "ended")
    assert shown_ids(page) == ["9-9", "10-0", "10-10", f"{big}-1"]


def test_reset_begins_anew(page: Any, job_id: str, site: Site) -> None:
    def run(socket: Any) -> None:
        socket.send(event("9-0"))
        socket.send('{"type": "reset", "reason": "The log was cut.", "after": "0-0"}')

    asked = mocked(page, run, None)
    page.goto(job_page(job_id))
    live_state(page, "live")
    assert asked[1].endswith("?after=0")
    all_seen(page, site, job_id)


def test_server_that_restarts_is_come_back_to_when_it_says(
    page: Any, job_id: str, site: Site
) -> None:
    def run(socket: Any) -> None:
        socket.send('{"type": "restart", "retry": 700}')

    asked = mocked(page, run, None)
    page.goto(job_page(job_id))
    live_state(page, "reconnecting")
    assert len(asked) == 1
    live_state(page, "live")
    all_seen(page, site, job_id)


@pytest.mark.parametrize(("code", "comes_back"), [(4401, True), (4408, True), (4500, False)])
def test_close_codes(page: Any, job_id: str, code: int, comes_back: bool) -> None:
    def run(socket: Any) -> None:
        socket.close(code=code)

    asked = mocked(page, run, None)
    page.goto(job_page(job_id))
    live_state(page, "live" if comes_back else "ended")
    assert len(asked) == 1 + comes_back


def test_somebody_who_is_logged_out_is_told(browser: Any, site: Site, job_id: str) -> None:
    context = browser.new_context(base_url=site.url, locale="en-GB")  # not of the others' session
    page, other = context.new_page(), context.new_page()
    other.goto("/jobs/")
    log_in(other)
    page.goto(job_page(job_id))
    live_state(page, "live")
    other.get_by_role("button", name="Log out").click()
    other.get_by_label("Username").wait_for()
    live_state(page, "ended")
    page.get_by_text("No longer available").wait_for()
    context.close()


# Elements

ELEMENTS = """<!doctype html><html lang="en"><title>A project's own page</title>
<h1>Your document</h1>
<job-progress job-id="JOB"></job-progress>
<job-progress job-id="JOB" labels='{"pending": "Wartet", "completed": "Fertig"}'></job-progress>
<job-timeline job-id="JOB" limit="5"></job-timeline>
<job-progress job-id="missing"></job-progress>
<job-progress></job-progress>
<script type="module" src="/static/job_events/job-elements.js"></script>
<script>
  globalThis.heard = [];
  for (const name of ["job-event", "job-live", "job-end"])
    addEventListener(name, ({ target, detail }) =>
      heard.push([target.localName, name, detail?.event_type]));
</script></html>"""


@pytest.fixture
def elements(page: Any, job_id: str) -> Iterator[Any]:
    """A page of a project that has nothing but two elements."""
    page.add_init_script(COUNT_TRANSPORTS)
    page.context.problems_expected.append("WebSocket connection to")
    page.route("**/own/", lambda route: route.fulfill(
        content_type="text/html", body=ELEMENTS.replace("JOB", job_id),
        headers={"Content-Security-Policy": "script-src 'self' 'unsafe-inline'; style-src 'none'"},
    ))  # fmt: skip
    page.goto("/own/")
    page.locator("job-timeline[data-live=true]").wait_for()
    return page


def test_elements_show_a_job_to_its_end(
    elements: Any, job_id: str, publisher: SyncRedisStreamPublisher, site: Site
) -> None:
    first, second, missing, empty = elements.locator("job-progress").all()
    first.get_by_text("Pending").wait_for()
    second.get_by_text("Wartet").wait_for()
    missing.get_by_text("Not available").wait_for()
    assert empty.get_by_role("status").inner_text() == ""
    publisher.publish_task_started(job_id, "by_hand")
    publisher.publish_task_progress(job_id, "by_hand", 40, message="<b>Reading</b>")
    first.get_by_text("40 %").wait_for()
    first.get_by_text("<b>Reading</b>").wait_for()
    assert first.locator("progress").evaluate("bar => bar.value") == 40
    publish(publisher, job_id, 20)
    with site.client() as client:
        client.post(f"/api/jobs/{job_id}/cancel/").raise_for_status()
    elements.locator("job-progress[data-status=cancelled]").first.wait_for()
    rows = elements.locator("job-timeline li")
    assert rows.count() == 5
    ids = rows.evaluate_all("rows => rows.map(row => row.dataset.eventId)")
    assert ids == logged_ids(site, job_id)[-5:]
    heard = elements.evaluate("heard")
    assert ["job-timeline", "job-event", "task_progress"] in heard
    assert ["job-progress", "job-end", None] in heard


def test_elements_of_one_job_share_a_connection(elements: Any) -> None:
    assert elements.evaluate("opened.filter((each) => each === 'WebSocket').length") <= 2


def test_element_that_is_given_another_job_or_taken_away(
    elements: Any, job_id: str, publisher: SyncRedisStreamPublisher, site: Site
) -> None:
    with site.client() as client:
        other = client.post("/api/jobs/", json={"task_type": "by_hand"}).json()["job_id"]
    elements.evaluate(
        "id => document.querySelector('job-timeline').setAttribute('job-id', id)", other
    )
    event_id = publish(publisher, other, 1)
    elements.locator(f"job-timeline li[data-event-id='{event_id}']").wait_for()
    rows = elements.locator("job-timeline li")
    ids = rows.evaluate_all("rows => rows.map(row => row.dataset.eventId)")
    assert ids == logged_ids(site, other)
    elements.evaluate(
        "document.querySelectorAll('job-progress, job-timeline').forEach((e) => e.remove())"
    )
    publish(publisher, job_id, 3)
    before = elements.evaluate("heard.length")
    elements.wait_for_timeout(300)
    assert elements.evaluate("heard.length") == before
