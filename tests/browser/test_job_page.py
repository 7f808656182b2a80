"""The job page: complete events without duplicates, and untrusted values as text."""

import json
import re
from typing import Any

import pytest
import redis
from playwright.sync_api import expect

from events.publisher import SyncRedisStreamPublisher
from tests.browser.support import (
    README,
    disable_websockets,
    empty_history,
    event_row,
    job_id_of,
    job_page,
    logged_ids,
    show_tab,
    shown_ids,
    wait_for_state,
    wait_for_status,
    wait_until,
)
from tests.support.site import Site

pytestmark = pytest.mark.browser

KINDS = (
    "job_created task_started task_progress task_completed task_failed job_retried phase_update"
    " thought tool_call tool_result error done outline_generated document_section"
    " document_generated unknown constructor"
)
KEYS = (
    "attempt progress progress_percent message phase text node run_id tool input output error"
    " error_type outline section document result job_status raw"
)
HTML_INJECTION = (
    "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
)


def start_job(page: Any, prompt: str = "An outline of how tea is made") -> str:
    page.goto("/jobs/new/")
    page.get_by_label("What shall be written?").fill(prompt)
    file = {"name": "tea.md", "mimeType": "text/markdown", "buffer": README.encode()}
    page.get_by_label("Text files as context").set_input_files([file])
    page.get_by_role("button", name="Start the job").click()
    page.wait_for_selector("#job")
    return job_id_of(page)


def open_live(page: Any, job_id: str, tab: str = "events") -> None:
    page.goto(job_page(job_id, tab))
    wait_for_state(page, "live")


def cancel_by_api(site: Site, job_id: str) -> None:
    with site.client() as client:
        client.post(f"/api/jobs/{job_id}/cancel/").raise_for_status()


def test_line_of_an_event_has_its_own_keys_and_those_of_its_span(
    page: Any, job_id: str, publisher: SyncRedisStreamPublisher
) -> None:
    open_live(page, job_id)
    data = {"run_id": "k1.1", "parent_run_id": None, "status": "failed", "seconds": 2}
    publisher.publish_event(job_id, {"event_type": "one", "error": "boom", "data": data})
    publisher.publish_event(job_id, {"event_type": "two", "data": [1, 2]})
    for event_type, expected in (
        ("one", "error: boom · status: failed · seconds: 2"),
        ("two", "data: [2]"),
    ):
        row = page.locator(".event-row", has=page.get_by_text(event_type, exact=True))
        row.wait_for()
        expect(row.locator(".event-gist")).to_have_text(expected)


def test_job_is_started_and_followed_to_its_end(page: Any, site: Site) -> None:
    job_id = start_job(page)
    wait_for_state(page, "ended")
    page.locator("#job-badge", has_text="Completed").wait_for()
    assert page.locator("#progress").evaluate("bar => bar.value") == 100
    assert page.locator("#thoughts .thought").count() > 0
    assert page.locator("#outline li").count() > 0
    assert page.locator("#document .document-section").count() > 0
    assert shown_ids(page) == logged_ids(site, job_id)


def test_reloads_lose_and_duplicate_no_event(page: Any, site: Site) -> None:
    job_id = start_job(page)
    page.goto(job_page(job_id))
    page.locator(".event-row").nth(5).wait_for()
    for _ in range(3):
        page.reload()
        page.locator(".event-row").nth(5).wait_for()
    wait_for_state(page, "ended")
    shown = shown_ids(page)
    assert shown == logged_ids(site, job_id)
    show_tab(page, "Result")
    document = page.locator("#document").inner_text()
    page.goto(job_page(job_id))
    wait_for_state(page, "ended")
    assert shown_ids(page) == shown
    show_tab(page, "Result")
    expect(page.locator("#document")).to_have_text(document, use_inner_text=True)


@pytest.mark.extended
def test_two_pages_show_the_same_events(context: Any, site: Site) -> None:
    first, second = context.new_page(), context.new_page()
    job_id = start_job(first)
    second.goto(job_page(job_id))
    for page in (first, second):
        wait_for_state(page, "ended")
    assert shown_ids(first) == shown_ids(second)
    for page in (first, second):
        show_tab(page, "Result")
    for panel in ("#outline", "#document", "#thoughts"):
        texts = [page.locator(panel) for page in (first, second)]
        for _ in range(100):  # a hidden page is rendered some time after it receives the events
            if texts[0].inner_text() == texts[1].inner_text() != "":
                break
            second.wait_for_timeout(100)
        assert texts[0].inner_text() == texts[1].inner_text() != ""


def test_event_is_shown_when_it_is_published(
    page: Any, job_id: str, publisher: SyncRedisStreamPublisher
) -> None:
    open_live(page, job_id)
    event_id = publisher.publish_task_progress(job_id, "by_hand", 42, message="half way, nearly")
    event_row(page, event_id).wait_for()
    expect(page.locator("#percent")).to_have_text("42%", use_inner_text=True)
    expect(page.locator("#phase-note")).to_have_text("half way, nearly", use_inner_text=True)


def test_job_without_a_result_template_shows_its_result(
    page: Any, plain_job_id: str, publisher: SyncRedisStreamPublisher
) -> None:
    open_live(page, plain_job_id, "result")
    expect(page.locator("#job-result, #outline, #document, #thoughts")).to_have_count(0)
    result = {"pages": 5}
    ended = {"event_type": "task_completed", "job_status": "completed", "result": result}
    publisher.publish_event(plain_job_id, ended)
    page.locator("#panel-result .json-tree", has_text="pages").get_by_text(
        "5", exact=True
    ).wait_for()


def test_fatal_error_is_that_of_the_tool_that_raised_it(
    page: Any, plain_job_id: str, publisher: SyncRedisStreamPublisher
) -> None:
    """Not the one that the graph reports, with the note that LangGraph adds."""
    open_live(page, plain_job_id)
    noted = "no such city (during task 'send')"
    error = {"message": "no such city", "error_type": "ValueError", "error_run_id": "2"}
    for event_type, data in (
        ("tool_call", {"tool": "look_up", "run_id": "1"}),
        ("tool_result", {"tool": "look_up", "run_id": "1", "output": "no", "status": "error"}),
        ("tool_call", {"tool": "send", "run_id": "2"}),
        ("error", {**error, "tool": "send", "run_id": "2", "fatal": False}),
        ("error", {**error, "phase": "graph", "run_id": "3", "fatal": True, "message": noted}),
        ("task_failed", {"error": noted, "job_status": "failed", "error_run_id": "3"}),
    ):
        publisher.publish_event(plain_job_id, {"event_type": event_type, "data": data})
    problem = page.locator("#problem", has_text="no such city")
    problem.wait_for()
    expect(problem).to_contain_text("ValueError", use_inner_text=True)
    assert problem.inner_text().count("no such city") == 1


def test_events_are_sent_to_the_result_view(
    page: Any, job_id: str, publisher: SyncRedisStreamPublisher, site: Site
) -> None:
    """The script of a result template rebuilds its state from the "job-events" of the document."""
    page.add_init_script("""
        globalThis.received = [];
        document.addEventListener("job-events", ({ detail }) => received.push(detail));
    """)
    publisher.publish_event(job_id, {"event_type": "sample", "n": 1})
    open_live(page, job_id)
    wait_until(page, "received.flatMap(({ events }) => events).length === 2")
    last = publisher.publish_event(job_id, {"event_type": "sample", "n": 2})
    event_row(page, last).wait_for()
    restarts = page.evaluate("received.map(({ restart }) => restart)")
    assert restarts == [True] + [False] * (len(restarts) - 1)
    assert page.evaluate("received.at(-1).live") is True
    ids = page.evaluate("received.flatMap(({ events }) => events.map(({ id }) => id))")
    assert ids == logged_ids(site, job_id)
    page.get_by_role("button", name="Play back").click()
    wait_until(page, "received.at(-1).restart || received.at(-2).restart")


def test_event_opens_to_its_json(
    page: Any, job_id: str, publisher: SyncRedisStreamPublisher
) -> None:
    event_id = publisher.publish_event(job_id, {"event_type": "sample", "rows": [1, 2]})
    open_live(page, job_id)
    event_row(page, event_id).locator("a").click()
    details = page.locator(".event-details, [class*=details]", has_text="rows").first
    details.wait_for()
    expect(page).to_have_url(re.compile(f"event={event_id}"))


@pytest.mark.parametrize(
    "value", [None, 7, HTML_INJECTION, [], {"a": {"b": [None]}}, "\u202e x", ""]
)
def test_unexpected_values_do_not_break_the_page(
    page: Any, job_id: str, publisher: SyncRedisStreamPublisher, value: Any
) -> None:
    events: list[dict[str, Any]] = []
    for kind in KINDS.split():
        flat = dict.fromkeys(KEYS.split(), value)
        events += [{"event_type": kind}, {"event_type": kind, **flat}]
        events += [{"event_type": kind, "data": flat}, {"event_type": kind, "data": value}]
    inner = {"id": value, "heading": value, "text": value, "level": value, "sections": [value]}
    text = {"title": value, "sections": [inner, value]}
    events += [
        {"event_type": "outline_generated", "outline": text},
        {"event_type": "document_section", "section": inner},
        {"event_type": "document_generated", "document": text},
        {"event_type": "document_generated", "document": {"markdown": value}},
    ]
    publisher.publish_events(job_id, events)
    last = publisher.publish_task_progress(job_id, "by_hand", "64 %")
    open_live(page, job_id)
    page.get_by_role("button", name="Jump to the latest").click()
    event_row(page, last).wait_for()
    page.locator("#percent", has_text="64%").wait_for()
    for name in ("Timeline", "Conversation", "Result", "Input"):
        show_tab(page, name)
    assert page.title().startswith("Running · By hand")
    expect(page.locator("#job img, #job script:not([src])")).to_have_count(0)


def test_entries_of_other_producers_are_shown(
    page: Any, job_id: str, publisher: SyncRedisStreamPublisher, site: Site
) -> None:
    with redis.Redis.from_url(site.redis.url) as client:
        client.xadd(f"job_events:{job_id}", {"data": "{broken"})
        client.xadd(f"job_events:{job_id}", {"data": '{"event_type": "mine", "n": 1}'})
    open_live(page, job_id)
    page.locator(".event-row", has_text="mine").wait_for()
    expect(page.locator(".event-row", has_text="unknown")).to_contain_text(
        "{broken", use_inner_text=True
    )
    assert shown_ids(page) == logged_ids(site, job_id)


def test_new_attempt_replaces_the_error_and_keeps_the_events(
    page: Any, job_id: str, publisher: SyncRedisStreamPublisher, site: Site
) -> None:
    publisher.publish_event(job_id, {"event_type": "thought", "text": "first try", "run_id": "1"})
    failed = {"event_type": "task_failed", "error": "It broke", "job_status": "failed"}
    publisher.publish_event(job_id, failed)
    page.goto(job_page(job_id))
    page.locator("#problem", has_text="It broke").wait_for()
    with site.client() as client:
        wait_for_status(client, job_id, "failed")
        client.post(f"/api/jobs/{job_id}/retry/").raise_for_status()
    publisher.publish_event(job_id, {"event_type": "thought", "text": "second", "run_id": "1"})
    page.reload()
    page.locator("#fact-attempt", has_text="2").wait_for()
    expect(page.locator("#problem")).to_be_hidden()
    page.locator(".event-row", has_text="second").wait_for()
    expect(page.locator(".event-row", has_text="first try")).to_be_visible()
    show_tab(page, "Result")
    page.locator("#thoughts", has_text="second").wait_for()
    expect(page.locator("#thoughts")).not_to_contain_text("first try", use_inner_text=True)


def test_cancel_and_retry(page: Any, job_id: str) -> None:
    open_live(page, job_id)
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_role("button", name="Cancel the job").click()
    page.locator("#job-badge", has_text="Cancelled").wait_for()
    wait_for_state(page, "ended")
    page.get_by_role("button", name="Run again").click()
    page.locator("#fact-attempt", has_text="2").wait_for()
    page.locator("#job-badge", has_text="Pending").wait_for()


def test_page_polls_if_the_server_cannot_stream(
    page: Any, job_id: str, publisher: SyncRedisStreamPublisher, site: Site
) -> None:
    disable_websockets(page)
    page.route("**/events/stream/**", lambda route: route.fulfill(status=501))
    page.goto(job_page(job_id))
    wait_for_state(page, "polling")
    event_id = publisher.publish_event(job_id, {"event_type": "sample"})
    event_row(page, event_id).wait_for()
    cancel_by_api(site, job_id)
    wait_for_state(page, "ended")
    assert shown_ids(page) == logged_ids(site, job_id)


def test_lost_connection_resumes_at_its_cursor(
    page: Any, context: Any, job_id: str, publisher: SyncRedisStreamPublisher, site: Site
) -> None:
    disable_websockets(page)
    open_live(page, job_id)
    outage = {"on": True}
    pattern = "**/events/stream/**"
    page.route(pattern, lambda route: route.abort() if outage["on"] else route.continue_())
    page.evaluate("dispatchEvent(new Event('online'))")
    wait_for_state(page, "reconnecting")
    publisher.publish_events(job_id, [{"event_type": "sample", "n": n} for n in range(20)])
    outage["on"] = False
    wait_for_state(page, "live")
    cancel_by_api(site, job_id)
    wait_for_state(page, "ended")
    assert shown_ids(page) == logged_ids(site, job_id)


def stream_of(*messages: str) -> dict[str, str]:
    return {"content_type": "text/event-stream", "body": "".join(f"{m}\n\n" for m in messages)}


def sse_event(event_id: str, **data: Any) -> str:
    event = {"id": event_id, "job_id": "x", "event_type": "sample", "timestamp": "", "data": data}
    return f"id: {event_id}\ndata: {json.dumps(event)}"


def test_duplicates_are_dropped_and_ids_compared_as_numbers(page: Any, job_id: str) -> None:
    disable_websockets(page)
    big = "18446744073709551615"
    ids = ["9-9", "9-9", "10-0", "9-10", "10-2", "10-10", "10-9", f"{big}-1", f"{big}-0", "10-11"]
    empty_history(page)
    sent = stream_of(*map(sse_event, ids), "event: end\ndata: {}")
    page.route("**/events/stream/**", lambda route: route.fulfill(**sent))
    page.goto(job_page(job_id))
    wait_for_state(page, "ended")
    assert shown_ids(page) == ["9-9", "10-0", "10-2", "10-10", f"{big}-1"]


def test_reset_restarts_from_the_beginning(page: Any, job_id: str, site: Site) -> None:
    disable_websockets(page)
    requested: list[str] = []

    def respond(route: Any) -> None:
        requested.append(route.request.url)
        if len(requested) > 1:
            return route.continue_()
        reset = 'event: reset\ndata: {"reason": "the log was rolled back"}'
        return route.fulfill(**stream_of(sse_event("9-0", note="gone"), reset))

    page.route("**/events/stream/**", respond)
    empty_history(page, times=1)
    page.goto(job_page(job_id))
    wait_for_state(page, "live")
    logged = logged_ids(site, job_id)
    assert requested[1].endswith(f"after={logged[-1]}")  # the history was read again
    assert shown_ids(page) == logged


@pytest.mark.parametrize("broken", ["data: {broken", "data: 7", "data: null", "id: 1\ndata: {}"])
def test_invalid_message_is_skipped(page: Any, job_id: str, broken: str) -> None:
    disable_websockets(page)
    empty_history(page)
    sent = stream_of(broken, sse_event("1-0"), "event: end\ndata: {broken")
    page.route("**/events/stream/**", lambda route: route.fulfill(**sent))
    page.goto(job_page(job_id))
    wait_for_state(page, "ended")
    assert shown_ids(page) == ["1-0"]


def test_markdown_becomes_elements(
    page: Any, job_id: str, publisher: SyncRedisStreamPublisher
) -> None:
    source = (
        "# One\n\nA **bold** `code` [link](https://example.org) [bad](javascript:alert(1))\n\n"
        "- a\n- b\n\n1. c\n\n> quoted\n\n```\n<b>verbatim</b>\n```\n\n"
        "| k | v |\n|---|---|\n| `a|b` | 2 |\n| | 3 |\n"
    )
    publisher.publish_event(
        job_id, {"event_type": "document_generated", "document": {"markdown": source}}
    )
    open_live(page, job_id, "result")
    text = page.locator("#document")
    text.locator("strong").wait_for()
    found = {name: text.locator(name).count() for name in ("ul li", "ol li", "blockquote", "pre")}
    assert found == {"ul li": 2, "ol li": 1, "blockquote": 1, "pre": 1}
    assert text.locator("a").evaluate_all("all => all.map(a => a.href)") == ["https://example.org/"]
    cells = text.locator("tr").evaluate_all(
        "rows => rows.map(r => [...r.cells].map(c => c.innerText))"
    )
    assert cells == [["k", "v"], ["a|b", "2"], ["", "3"]]
    assert text.locator("pre").inner_text() == "<b>verbatim</b>"


def test_existing_document_is_shown_from_its_start(
    page: Any, job_id: str, publisher: SyncRedisStreamPublisher
) -> None:
    for n in range(40):
        section = {"id": f"{n}", "level": 1, "heading": f"Section {n}", "text": "Text. " * 40}
        publisher.publish_event(job_id, {"event_type": "document_section", "section": section})
    open_live(page, job_id, "result")
    page.locator("#document .document-section").nth(39).wait_for()
    text = page.locator("#document")
    assert text.evaluate("box => box.scrollHeight > 2 * box.clientHeight")
    assert text.evaluate("box => box.scrollTop") == 0


def test_deleted_job_is_not_requested_again(page: Any, job_id: str) -> None:
    disable_websockets(page)
    requested: list[str] = []

    def not_found(route: Any) -> None:
        requested.append(route.request.url)
        route.fulfill(status=404)

    page.route("**/events/stream/**", not_found)
    page.goto(job_page(job_id))
    wait_for_state(page, "refused")
    page.get_by_text("No longer available").wait_for()
    page.wait_for_timeout(1_500)
    assert len(requested) == 2  # the stream, and a request for the reason


@pytest.mark.extended
def test_ten_thousand_events(page: Any, job_id: str, publisher: SyncRedisStreamPublisher) -> None:
    for start in range(0, 10_000, 500):
        events = [
            {"event_type": "thought", "data": {"text": f"{n} ", "run_id": f"{n // 100}"}}
            for n in range(start, start + 500)
        ]
        publisher.publish_events(job_id, events)
    page.goto(job_page(job_id))
    wait_for_state(page, "live")
    page.locator("#event-count", has_text="10,001").wait_for()
    assert page.locator(".event-row").count() <= 600
    page.get_by_role("button", name="Jump to the latest").click()
    last = publisher.publish_event(job_id, {"event_type": "last"})
    event_row(page, last).wait_for()
    page.locator("#event-count", has_text="10,002").wait_for()


def test_layout_is_stable_while_events_arrive(
    page: Any, job_id: str, publisher: SyncRedisStreamPublisher
) -> None:
    open_live(page, job_id)
    for first in ("thought", "tool_call", "phase_update"):
        publisher.publish_event(job_id, {"event_type": first, "text": "a", "phase": "a"})
    page.locator("#phase", has_text="a").wait_for()
    places = "all => all.map(each => each.getBoundingClientRect().top)"
    parts = page.locator(".card, h1, h2")
    before = parts.evaluate_all(places)
    for n in range(60):
        thought = {"text": "a thought that is long enough to wrap " * 5, "run_id": f"{n % 7}"}
        publisher.publish_event(job_id, {"event_type": "thought", "data": thought})
        publisher.publish_event(job_id, {"event_type": "tool_call", "tool": "t", "run_id": f"{n}"})
        publisher.publish_task_progress(job_id, "by_hand", n, message="now " * n)
    page.locator("#percent", has_text="59%").wait_for()
    assert parts.evaluate_all(places) == before


def test_list_does_not_scroll_after_the_user_scrolled_up(
    page: Any, job_id: str, publisher: SyncRedisStreamPublisher
) -> None:
    publisher.publish_events(job_id, [{"event_type": "sample"} for _ in range(200)])
    open_live(page, job_id)
    page.locator(".event-row").nth(5).wait_for()
    page.get_by_role("button", name="Jump to the latest").click()
    wait_until(page, "scrollY > 1000")
    page.evaluate("scrollTo(0, 1000)")
    wait_until(page, "scrollY === 1000")
    last = publisher.publish_event(job_id, {"event_type": "sample"})
    page.locator("#event-count", has_text="202").wait_for()
    assert page.evaluate("scrollY") == 1000
    page.get_by_role("button", name="Jump to the latest").click()
    event_row(page, last).wait_for()


def test_scrolling_up_is_not_undone_before_its_event_arrives(page: Any) -> None:
    """The browser reports a scroll with the next frame, and events may arrive before it."""
    page.goto("/jobs/new/")
    assert page.evaluate("""async () => {
        const { Follower } = await import("/static/job_events_jobs/follower.js");
        const list = document.createElement("div");
        list.style.height = "5000px";
        document.body.append(list);
        const follower = new Follower(list, "Latest");
        const grow = () => {
          follower.prepare();
          list.style.height = `${list.offsetHeight + 100}px`;
          follower.draw();
        };
        follower.button.click();
        grow();
        const distance = follower.distance;
        scrollTo(0, 1000);
        grow();
        return [distance <= 0, scrollY, follower.isOn];
    }""") == [True, 1000, False]


def test_no_horizontal_scrolling_on_a_phone(browser: Any, context: Any, site: Site) -> None:
    page = context.new_page()
    page.set_viewport_size({"width": 390, "height": 844})
    start_job(page, "Tea " * 60 + "x" * 300)
    wait_for_state(page, "ended")
    paths = [page.url, "/jobs/", "/jobs/new/"]
    for path in paths:
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()


def test_controls_are_reachable_by_keyboard(page: Any, plain_job_id: str) -> None:
    open_live(page, plain_job_id, "input")
    focused = "document.activeElement.id || document.activeElement.innerText"
    reached = []
    for _ in range(20):
        page.keyboard.press("Tab")
        reached.append(page.evaluate(focused))
    expected = ["Skip to the content", "copy-link", "Cancel", "copy-id", "tab-input", "panel-input"]
    positions = [reached.index(name) for name in expected]
    assert positions == sorted(positions)
