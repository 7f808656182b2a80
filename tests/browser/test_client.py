"""The JavaScript client: transports and reconnects."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from events.publisher import SyncRedisStreamPublisher
from tests.browser.support import (
    disable_websockets,
    empty_history,
    event_row,
    job_page,
    log_in,
    logged_ids,
    shown_ids,
    wait_for_state,
)
from tests.support.nginx import another_web
from tests.support.site import Site

pytestmark = pytest.mark.browser

MISDIRECT_WEBSOCKETS = """
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


def wait_for_event(page: Any, event_id: str) -> None:
    event_row(page, event_id).wait_for()


def assert_complete(page: Any, site: Site, job_id: str) -> None:
    assert shown_ids(page) == logged_ids(site, job_id)


# Connections


def test_page_uses_only_a_websocket(
    page: Any, job_id: str, publisher: SyncRedisStreamPublisher, site: Site
) -> None:
    page.add_init_script(COUNT_TRANSPORTS)
    page.goto(job_page(job_id))
    wait_for_state(page, "live")
    wait_for_event(page, publish(publisher, job_id, 5))
    assert page.evaluate("opened") == ["WebSocket"]
    assert_complete(page, site, job_id)


def test_page_falls_back_to_sse_if_websockets_fail(
    page: Any, job_id: str, publisher: SyncRedisStreamPublisher, site: Site
) -> None:
    """The server or a proxy rejects WebSockets; the browser reports no reason."""
    page.add_init_script(COUNT_TRANSPORTS)
    page.add_init_script(MISDIRECT_WEBSOCKETS)
    page.context.problems_expected.append("WebSocket connection to")
    page.goto(job_page(job_id))
    wait_for_state(page, "live")
    wait_for_event(page, publish(publisher, job_id, 5))
    assert page.evaluate("opened")[-1] == "EventSource"
    assert_complete(page, site, job_id)


def test_reconnect_after_offline(
    page: Any, context: Any, job_id: str, publisher: SyncRedisStreamPublisher, site: Site
) -> None:
    page.goto(job_page(job_id))
    wait_for_state(page, "live")
    context.problems_expected.append("WebSocket connection to")
    for _ in range(2):
        context.set_offline(True)
        page.evaluate("dispatchEvent(new Event('online'))")  # the event of a changed network
        wait_for_state(page, "reconnecting")
        last = publish(publisher, job_id, 20)
        context.set_offline(False)
        wait_for_state(page, "live")
        wait_for_event(page, last)
    assert_complete(page, site, job_id)


@pytest.mark.parametrize("transport", ["websocket", "sse"])
def test_frozen_page_resumes(
    page: Any,
    context: Any,
    job_id: str,
    publisher: SyncRedisStreamPublisher,
    site: Site,
    transport: str,
) -> None:
    """Browsers freeze background tabs, and all tabs while the machine sleeps."""
    if transport == "sse":
        disable_websockets(page)
    page.goto(job_page(job_id))
    wait_for_state(page, "live")
    devtools = context.new_cdp_session(page)
    devtools.send("Page.setWebLifecycleState", {"state": "frozen"})
    last = publish(publisher, job_id, 20)
    devtools.send("Page.setWebLifecycleState", {"state": "active"})
    wait_for_event(page, last)
    assert_complete(page, site, job_id)


@pytest.fixture
def intranet(browser: Any, site: Site) -> Iterator[Any]:
    """A context of demo at plain HTTP and not localhost: an insecure context."""
    with another_web(site, DJANGO_ALLOWED_HOSTS="127.0.0.1,intranet.test") as other:
        context = browser.new_context(base_url=f"http://intranet.test:{other.port}", locale="en-GB")
        page = context.new_page()
        page.goto("/jobs/")
        assert page.evaluate("[isSecureContext, 'locks' in navigator]") == [False, False]
        log_in(page)
        page.close()
        yield context
        context.close()


@pytest.mark.extended
@pytest.mark.parametrize("fixture", ["context", "intranet"])
def test_six_sse_tabs_leave_connections_for_requests(
    request: Any, fixture: str, job_id: str, publisher: SyncRedisStreamPublisher, site: Site
) -> None:
    """A browser allows six connections to a server; further tabs poll."""
    context = request.getfixturevalue(fixture)
    context.add_init_script("delete globalThis.WebSocket")
    pages = [context.new_page() for _ in range(6)]
    for page in pages:
        page.goto(job_page(job_id), wait_until="commit")  # all at once
    for page in pages:
        page.wait_for_selector("html[data-live-state=live], html[data-live-state=polling]")
    last = publish(publisher, job_id, 5)
    for page in pages:
        wait_for_event(page, last)
        assert_complete(page, site, job_id)
    states = [page.evaluate("document.documentElement.dataset.liveState") for page in pages]
    assert states.count("live") == 4
    more = context.new_page()
    more.goto("/jobs/")
    more.get_by_role("heading", name="Jobs", exact=True).wait_for()
    # A closed tab releases its connection.
    pages[states.index("live")].close(run_before_unload=True)
    late = context.new_page()
    late.goto(job_page(job_id))
    wait_for_state(late, "live")


def test_leases_of_crashed_tabs_expire(
    intranet: Any, job_id: str, publisher: SyncRedisStreamPublisher
) -> None:
    """Their leases are not renewed; neither are those that a wrong clock has dated."""
    intranet.add_init_script("delete globalThis.WebSocket")
    page = intranet.new_page()
    page.goto("/jobs/")
    page.evaluate(
        """for (let n = 0; n < 4; n++) {
          localStorage.setItem(`job-events-held-0-${n}`, n % 2 ? Date.now() - 1 : Date.now() * 2);
        }"""
    )
    page.goto(job_page(job_id))
    wait_for_state(page, "live")


def test_page_without_storage_polls(intranet: Any, job_id: str) -> None:
    intranet.add_init_script(
        """delete globalThis.WebSocket;
        Storage.prototype.setItem = () => { throw new Error("no storage"); };"""
    )
    page = intranet.new_page()
    page.goto(job_page(job_id))
    wait_for_state(page, "polling")


def test_tabs_keep_their_leases_if_the_storage_is_cleared(intranet: Any, job_id: str) -> None:
    """Pages of the project may do so, for example at logout."""
    intranet.add_init_script("delete globalThis.WebSocket")
    for _ in range(4):
        page = intranet.new_page()
        page.goto(job_page(job_id))
        wait_for_state(page, "live")
    other = intranet.new_page()
    other.goto("/jobs/")
    other.evaluate("localStorage.clear()")
    other.goto(job_page(job_id))
    wait_for_state(other, "polling")


@pytest.mark.parametrize("storage", [True, False])
def test_page_that_may_not_use_locks(page: Any, job_id: str, storage: bool) -> None:
    """In a sandboxed frame without an origin, for example."""
    page.add_init_script(
        """delete globalThis.WebSocket;
        navigator.locks.request = () => Promise.reject(new DOMException("no", "SecurityError"));"""
    )
    if not storage:
        page.add_init_script("Storage.prototype.setItem = () => { throw new Error('no storage'); }")
    page.goto(job_page(job_id))
    wait_for_state(page, "live" if storage else "polling")


def mock_websockets(page: Any, *handlers: Any) -> list[str]:
    """Handle each new WebSocket with the next handler (None: the server); return their URLs."""
    urls: list[str] = []

    def route(socket: Any) -> None:
        handler = handlers[min(len(urls), len(handlers) - 1)]
        urls.append(socket.url)
        handler(socket) if handler else socket.connect_to_server()

    page.route_web_socket("**/ws/jobs/**", route)
    return urls


def event(event_id: str) -> str:
    event = {"id": event_id, "job_id": "x", "event_type": "s", "timestamp": "", "data": {}}
    return json.dumps({"type": "event", "event": event})


def test_duplicates_and_invalid_messages_are_skipped(page: Any, job_id: str) -> None:
    big = "18446744073709551615"
    ids = ["9-9", "9-9", "10-0", "9-10", "10-10", "10-9", f"{big}-1", f"{big}-0"]

    def handle(socket: Any) -> None:
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

    mock_websockets(page, handle)
    empty_history(page)
    page.goto(job_page(job_id))
    wait_for_state(page, "ended")
    assert shown_ids(page) == ["9-9", "10-0", "10-10", f"{big}-1"]


def test_reset_restarts_from_the_beginning(page: Any, job_id: str, site: Site) -> None:
    def handle(socket: Any) -> None:
        socket.send(event("9-0"))
        socket.send('{"type": "reset", "reason": "The log was cut.", "after": "0-0"}')

    urls = mock_websockets(page, handle, None)
    empty_history(page, times=1)
    page.goto(job_page(job_id))
    wait_for_state(page, "live")
    # The history was read again.
    assert urls[1].endswith(f"?after={logged_ids(site, job_id)[-1]}")
    assert_complete(page, site, job_id)


def test_reconnect_waits_for_the_delay_of_a_restart_message(
    page: Any, job_id: str, site: Site
) -> None:
    def handle(socket: Any) -> None:
        socket.send('{"type": "restart", "retry": 700}')

    urls = mock_websockets(page, handle, None)
    page.goto(job_page(job_id))
    wait_for_state(page, "reconnecting")
    assert len(urls) == 1
    wait_for_state(page, "live")
    assert_complete(page, site, job_id)


@pytest.mark.parametrize(("code", "reconnects"), [(4401, True), (4408, True), (4500, False)])
def test_close_codes(page: Any, job_id: str, code: int, reconnects: bool) -> None:
    def handle(socket: Any) -> None:
        socket.close(code=code)

    urls = mock_websockets(page, handle, None)
    page.goto(job_page(job_id))
    wait_for_state(page, "live" if reconnects else "refused")
    assert len(urls) == 1 + reconnects


def test_logged_out_user_is_notified(browser: Any, site: Site, job_id: str) -> None:
    context = browser.new_context(base_url=site.url, locale="en-GB")  # with a separate session
    page, other = context.new_page(), context.new_page()
    other.goto("/jobs/")
    log_in(other)
    page.goto(job_page(job_id))
    wait_for_state(page, "live")
    other.get_by_role("button", name="Menu").click()
    other.get_by_role("button", name="Log out").click()
    other.get_by_label("Username").wait_for()
    wait_for_state(page, "refused")
    page.get_by_text("No longer available").wait_for()
    context.close()
