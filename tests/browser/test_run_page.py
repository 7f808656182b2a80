"""The run page: facts, error card, attempts, tabs, buttons, keys and layout."""

import json
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

from events.publisher import SyncRedisStreamPublisher
from tests.browser.support import (
    job_page,
    queue_wait,
    show_tab,
    wait_for_state,
    wait_for_status,
    wait_until,
)
from tests.support.site import Site

pytestmark = pytest.mark.browser

LONG = "Supercalifragilisticexpialidocious" * 20
RTL = "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645 " * 30
TASK = {"run_id": "t.1", "parent_run_id": None}
TRACEBACK = 'File "tea.py", line 7, in boil\n    raise KettleError(litres)'


def publish(publisher: SyncRedisStreamPublisher, job_id: str, *events: dict[str, Any]) -> list[str]:
    return list(publisher.publish_events(job_id, list(events)))


def started(**data: Any) -> dict[str, Any]:
    return {"event_type": "task_started", "job_status": "running", "data": {**TASK, **data}}


def failed(error: str, **data: Any) -> dict[str, Any]:
    end = {**TASK, "status": "failed", "seconds": 2, "error": error, **data}
    return {"event_type": "task_failed", "job_status": "failed", "data": end}


def phase(name: str) -> dict[str, Any]:
    return {"event_type": "phase_update", "data": {"phase": name}}


def progress(percent: int, message: str = "") -> dict[str, Any]:
    return {"event_type": "task_progress", "data": {"progress": percent, "message": message}}


TOOL_ERROR = {
    "event_type": "error",
    "data": {"tool": "search", "run_id": "1", "message": "no", "status": "failed", "fatal": False},
}
HANDLED = (
    started(worker="celery@kitchen", queue_seconds=0.012),
    {"event_type": "model_call", "data": {"model": "gpt", "run_id": "m", "parent_run_id": "t.1"}},
    {"event_type": "model_result", "data": {"model": "gpt", "run_id": "m", "status": "done",
     "usage": {"input_tokens": 1200, "output_tokens": 34}}},
    {"event_type": "tool_call", "data": {"tool": "search", "run_id": "1", "parent_run_id": "t.1"}},
    TOOL_ERROR,
    {"event_type": "task_completed", "job_status": "completed",
     "data": {**TASK, "status": "done", "seconds": 2, "result": {"pages": 5}}},
)  # fmt: skip


def open_page(page: Any, job_id: str, query: str = "", state: str = "ended") -> None:
    page.goto(f"/jobs/job/{job_id}/{query}")
    wait_for_state(page, state)


def fact(page: Any, name: str) -> Any:
    return page.locator(f"#fact-{name}")


def expect_tab(page: Any, name: str) -> None:
    """Wait until a tab is selected. Its text is followed by a number in some."""
    expect(page.locator("[role=tab][aria-selected=true]")).to_contain_text(
        name, use_inner_text=True
    )


# Facts and error card


def test_facts_and_handled_errors_of_a_completed_job(
    page: Any, site: Site, plain_job_id: str, publisher: SyncRedisStreamPublisher
) -> None:
    publish(publisher, plain_job_id, *HANDLED)
    open_page(page, plain_job_id)
    assert page.title().startswith("Completed · By hand")
    expect(fact(page, "worker")).to_have_text("celery@kitchen", use_inner_text=True)
    expect(fact(page, "queue")).to_have_text(queue_wait(site, plain_job_id), use_inner_text=True)
    expect(fact(page, "calls")).to_have_text("1", use_inner_text=True)
    expect(fact(page, "tokens")).to_have_text("1,200 / 34", use_inner_text=True)
    expect(fact(page, "tools")).to_have_text("1 (1 failed)", use_inner_text=True)
    expect(fact(page, "started")).to_contain_text("UTC", use_inner_text=True)
    expect(page.locator("#problem")).to_be_hidden()
    handled = page.get_by_role("button", name="Handled errors: 1")
    colours = "node => [getComputedStyle(node).color, getComputedStyle(node).backgroundColor]"
    failed_colour = page.evaluate(
        "() => { const node = document.createElement('i'); node.className = 'badge';"
        " node.dataset.status = 'failed'; document.body.append(node);"
        " const found = getComputedStyle(node).color; node.remove(); return found; }"
    )
    assert failed_colour not in handled.evaluate(colours)
    show_tab(page, "Events")
    handled.click()
    expect_tab(page, "Timeline")
    expect(page).to_have_url(re.compile("errors=1"))


def test_failed_job_opens_at_its_fatal_error(
    page: Any, plain_job_id: str, publisher: SyncRedisStreamPublisher
) -> None:
    ids = publish(
        publisher, plain_job_id, started(), phase("boil_water"), progress(42, "Filling"),
        failed("The kettle is empty", error_type="KettleError", traceback=TRACEBACK),
    )  # fmt: skip
    open_page(page, plain_job_id)
    assert page.title().startswith("Failed · By hand")
    expect_tab(page, "Timeline")
    expect(page.locator("#phase")).to_have_text("Stopped at boil_water, 42%", use_inner_text=True)
    assert page.locator("#progress").evaluate("bar => bar.value") == 42
    problem = page.locator("#problem")
    for part in ("The kettle is empty", "KettleError", "boil_water, 42%"):
        expect(problem).to_contain_text(part, use_inner_text=True)
    problem.get_by_text("Traceback").click()
    expect(problem).to_contain_text("raise KettleError(litres)", use_inner_text=True)
    page.locator("#panel-timeline").get_by_text("Failed here").first.wait_for()
    problem.get_by_role("link", name="Show its event").click()
    expect_tab(page, "Events")
    expect(page).to_have_url(re.compile(f"event={ids[-1]}"))
    page.go_back()
    wait_until(page, "document.querySelector('#tab-timeline').ariaSelected === 'true'")


def test_error_of_a_step_is_shown_with_the_one_that_ended_the_job(
    page: Any, plain_job_id: str, publisher: SyncRedisStreamPublisher
) -> None:
    publish(publisher, plain_job_id, *HANDLED[:-1], failed("No tea"))
    open_page(page, plain_job_id)
    problem = page.locator("#problem").inner_text().splitlines()
    assert "no" in problem
    assert "The job ended with: No tea" in problem


def test_long_error_is_cut_and_can_be_shown(
    page: Any, plain_job_id: str, publisher: SyncRedisStreamPublisher
) -> None:
    publish(publisher, plain_job_id, started(), failed("word " * 1_000 + "the end"))
    open_page(page, plain_job_id)
    problem = page.locator("#problem")
    expect(problem).not_to_contain_text("the end", use_inner_text=True)
    assert problem.bounding_box()["height"] < 350
    problem.get_by_text("Show all characters").click()
    expect(problem).to_contain_text("the end", use_inner_text=True)


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        ("worker_lost", "The worker died, or sent no heartbeats for too long."),
        ("timed_out", "The task exceeded its time limit."),
        ("of_another_program", "of_another_program"),
    ],
)
def test_reason_of_a_failure_without_a_message_is_a_sentence(
    page: Any, plain_job_id: str, publisher: SyncRedisStreamPublisher, reason: str, sentence: str
) -> None:
    publish(publisher, plain_job_id, started(), {**failed(""), "reason": reason})
    with_reason = page.locator("#problem", has_text=sentence)
    page.goto(job_page(plain_job_id, "timeline"))
    with_reason.wait_for()


# Attempts


def test_attempts_are_selected_and_compared(
    page: Any, plain_job_id: str, publisher: SyncRedisStreamPublisher, site: Site
) -> None:
    publish(publisher, plain_job_id, started(), phase("first"), failed("first error"))
    with site.client() as client:
        wait_for_status(client, plain_job_id, "failed")
        client.post(f"/api/jobs/{plain_job_id}/retry/").raise_for_status()
    publish(publisher, plain_job_id, started(run_id="t.2"), phase("second"),
            failed("second error", run_id="t.2"))  # fmt: skip
    open_page(page, plain_job_id)
    expect(page.locator("#problem")).to_contain_text("second error", use_inner_text=True)
    chips = page.locator("#attempt-chips .chip")
    expect(chips).to_have_count(2)
    expect(chips.first).to_have_attribute("title", "first error")
    chips.first.click()
    expect(page).to_have_url(re.compile("attempt=1"))
    first = page.locator("#problem", has_text="first error")
    expect(first).to_contain_text("Attempt 1 · Stopped at first", use_inner_text=True)
    first.get_by_role("link", name="Show its event").click()
    expect(page).to_have_url(re.compile("attempt=1"))
    expect(page).to_have_url(re.compile("event="))
    page.go_back()
    page.get_by_label("Compare with").select_option("2")
    expect(page).to_have_url(re.compile("compare=2"))
    page.reload()
    wait_for_state(page, "ended")
    assert page.locator("#attempt-chips [aria-current]").inner_text().startswith("1 Failed")
    expect(page.get_by_label("Compare with")).to_have_value("2")
    chips.last.click()
    expect(page).not_to_have_url(re.compile("attempt="))


# Tabs and keys


def test_tabs_follow_keys_and_the_history_of_the_browser(
    page: Any, plain_job_id: str, publisher: SyncRedisStreamPublisher
) -> None:
    open_page(page, plain_job_id, state="live")
    expect_tab(page, "Timeline")
    page.locator("#tab-timeline").focus()
    page.keyboard.press("ArrowRight")
    expect_tab(page, "Conversation")
    assert page.evaluate("document.activeElement.id") == "tab-conversation"
    page.keyboard.press("End")
    expect_tab(page, "Input")
    page.keyboard.press("3")
    expect_tab(page, "Events")
    page.keyboard.press("5")
    page.keyboard.press("/")
    wait_until(page, "document.activeElement.type === 'search'")
    expect_tab(page, "Events")
    page.keyboard.type("2?")
    expect_tab(page, "Events")
    page.go_back()
    wait_until(page, "document.querySelector('#tab-input').ariaSelected === 'true'")
    page.locator("h1").focus()
    page.keyboard.press("?")
    page.get_by_role("dialog", name="Keyboard").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="hidden")


def test_keys_of_single_characters_are_switched_off(page: Any, plain_job_id: str) -> None:
    open_page(page, plain_job_id, state="live")
    page.get_by_role("button", name="Keyboard").click()
    page.get_by_label("Use the keys of single characters").uncheck()
    page.keyboard.press("Escape")
    page.locator("h1").focus()
    for key in "3/?":
        page.keyboard.press(key)
    expect_tab(page, "Timeline")
    assert page.evaluate("document.activeElement.id") == "job-title"
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.goto("/jobs/")
    page.locator("#keys-open").click()
    box = page.get_by_label("Use the keys of single characters")
    expect(box).not_to_be_checked()
    box.check()
    open_page(page, plain_job_id, state="live")
    page.keyboard.press("3")
    expect_tab(page, "Events")


def test_modules_of_tabs_are_loaded_when_they_are_shown(page: Any, plain_job_id: str) -> None:
    loaded: list[str] = []
    page.on("request", lambda request: loaded.append(request.url))
    open_page(page, plain_job_id, state="live")
    names = ("events-tab", "conversation-tab", "data-tabs", "question-list")
    assert [name for name in names if any(f"/{name}." in url for url in loaded)] == []
    show_tab(page, "Conversation")
    page.wait_for_load_state("networkidle")
    assert any("/conversation-tab." in url for url in loaded)


def test_job_with_a_result_template_opens_at_its_result_unless_it_failed(
    page: Any, job_id: str, publisher: SyncRedisStreamPublisher
) -> None:
    open_page(page, job_id, state="live")
    expect_tab(page, "Result")
    open_page(page, job_id, "?tab=input", state="live")
    expect_tab(page, "Input")
    publish(publisher, job_id, started(), failed("No tea"))
    wait_for_state(page, "ended")
    open_page(page, job_id)
    expect_tab(page, "Timeline")


# Buttons


def test_cancel_needs_a_confirmation(page: Any, plain_job_id: str, site: Site) -> None:
    open_page(page, plain_job_id, state="live")
    cancel = page.get_by_role("button", name="Cancel", exact=True)
    cancel.click()
    dialog = page.get_by_role("dialog", name="Cancel this job?")
    expect(dialog).to_contain_text("stop at their next check", use_inner_text=True)
    assert page.evaluate("document.activeElement.innerText") == "Keep it running"
    page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    assert page.evaluate("document.activeElement.innerText") == "Cancel"
    cancel.click()
    dialog.get_by_role("button", name="Keep it running").click()
    with site.client() as client:
        assert client.get(f"/api/jobs/{plain_job_id}/").json()["status"] == "pending"
    cancel.click()
    dialog.get_by_label("Also terminate running tasks").check()
    with page.expect_request(lambda request: request.method == "POST") as sent:
        dialog.get_by_role("button", name="Cancel the job").click()
    assert sent.value.post_data_json == {"attempt": 1, "terminate": True}
    page.locator("#job-badge", has_text="Cancelled").wait_for()
    wait_until(page, "document.activeElement.innerText === 'Run again'")
    wait_for_state(page, "ended")
    with site.client() as client:
        events = client.get(f"/api/jobs/{plain_job_id}/events/").json()["results"]
    assert events[-1]["data"]["terminate"] is True


def test_failed_cancellation_is_reported(page: Any, plain_job_id: str, site: Site) -> None:
    open_page(page, plain_job_id, state="live")
    responses = iter(
        [
            {"status": 409, "json": {"detail": "It is at attempt 2."}},
            {"status": 302, "headers": {"Location": "/accounts/login/"}},
        ]
    )
    page.route("**/cancel/", lambda route: route.fulfill(**next(responses)))
    message = page.locator("#action-problem")
    for text in ("It is at attempt 2.", "The server does not answer. Try again."):
        page.get_by_role("button", name="Cancel", exact=True).click()
        page.get_by_role("button", name="Cancel the job").click()
        message.get_by_text(text).wait_for()
    with site.client() as client:
        assert client.get(f"/api/jobs/{plain_job_id}/").json()["status"] == "pending"
    page.unroute("**/cancel/")
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_role("button", name="Cancel the job").click()
    page.locator("#job-badge", has_text="Cancelled").wait_for()
    expect(message).to_be_hidden()


def test_run_again_is_confirmed_if_models_were_called(
    page: Any, plain_job_id: str, publisher: SyncRedisStreamPublisher
) -> None:
    publish(publisher, plain_job_id, *HANDLED[:-1], failed("No"))
    open_page(page, plain_job_id)
    again = page.get_by_role("button", name="Run again").first
    again.click()
    dialog = page.get_by_role("dialog", name="Run this job again?")
    expect(dialog).to_contain_text("Model calls so far: 1, tokens: 1,234.", use_inner_text=True)
    page.keyboard.press("Escape")
    again.click()
    dialog.get_by_role("button", name="Run again").click()
    page.locator("#fact-attempt", has_text="2").wait_for()


def test_links_are_copied_and_events_exported(
    page: Any, context: Any, plain_job_id: str, publisher: SyncRedisStreamPublisher
) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    publish(publisher, plain_job_id, *HANDLED)
    open_page(page, plain_job_id, "?tab=events&type=tool_call&q=search")
    page.get_by_role("button", name="Copy link").click()
    page.get_by_role("button", name="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == page.url
    menu = page.locator("#export")
    menu.locator("summary").click()
    filtered = menu.get_by_role("link", name="Filtered events as CSV")
    assert parse_qs(urlsplit(filtered.get_attribute("href")).query) == {
        "event_type": ["tool_call"], "search": ["search"], "format": ["csv"],
    }  # fmt: skip
    with page.expect_download() as download:
        menu.get_by_role("link", name="All events as NDJSON").click()
    lines = download.value.path().read_text().splitlines()
    assert len([json.loads(line) for line in lines]) == len(HANDLED) + 1
    expect(menu).not_to_have_attribute("open", "")
    menu.locator("summary").click()
    page.keyboard.press("Escape")
    expect(menu).not_to_have_attribute("open", "")


def test_live_chip_counts_the_events(
    page: Any, plain_job_id: str, publisher: SyncRedisStreamPublisher
) -> None:
    publish(publisher, plain_job_id, *HANDLED)
    page.goto(job_page(plain_job_id, "timeline"))
    page.get_by_text(f"All {len(HANDLED) + 1} events").wait_for()
    for name in ("Timeline", "Conversation", "Events", "Result", "Input"):
        show_tab(page, name)
        page.wait_for_load_state("networkidle")
        text = page.locator(f"#panel-{name.lower()}").inner_text()
        assert "appear" not in text
        assert "yet" not in text


# Layout


def nasty_events() -> list[dict[str, Any]]:
    tool = {"tool": "t" * 200, "run_id": "n"}
    return [
        started(worker="w" * 200), phase("p" * 180), progress(42, f"{LONG} {RTL}"),
        {"event_type": "e" * 100, "data": {"text": LONG, "rtl": RTL}},
        {"event_type": "tool_call", "data": {**tool, "input": LONG}},
        {"event_type": "tool_result", "data": {**tool, "output": "x" * 200_000}},
        failed(f"{RTL}{LONG}\n" * 5, error_type="E" * 150),
    ]  # fmt: skip


@pytest.mark.parametrize("width", [1440, 820, 390])
def test_long_words_keep_the_layout(
    page: Any, site: Site, publisher: SyncRedisStreamPublisher, width: int
) -> None:
    with site.client() as client:
        fields = {"task_type": "x" * 100, "title": "W" * 200}
        job_id = client.post("/api/jobs/", json=fields).json()["job_id"]
    publish(publisher, job_id, *nasty_events())
    page.set_viewport_size({"width": width, "height": 900})
    open_page(page, job_id)
    for name in ("Timeline", "Conversation", "Events", "Result", "Input"):
        show_tab(page, name)
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name


SHIFTS = """
    globalThis.shift = 0;
    new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) if (!entry.hadRecentInput) shift += entry.value;
    }).observe({ type: "layout-shift", buffered: true });
"""


def test_page_does_not_shift_while_the_log_is_read(
    page: Any, plain_job_id: str, publisher: SyncRedisStreamPublisher
) -> None:
    page.add_init_script(SHIFTS)
    many = [{"event_type": "sample", "data": {"n": n}} for n in range(3_000)]
    for at in range(0, len(many), 1_000):
        publish(publisher, plain_job_id, *many[at : at + 1_000])
    publish(publisher, plain_job_id, *HANDLED[:-1], failed("No tea"))
    with_error = page.locator("#problem", has_text="No tea")
    page.goto(job_page(plain_job_id, "timeline"))
    wait_for_state(page, "ended")
    with_error.wait_for()
    page.reload()  # now the server knows how the job ended
    wait_for_state(page, "ended")
    page.wait_for_timeout(500)
    assert page.evaluate("shift") < 0.1


# Without scripts


def test_page_is_useful_without_scripts(
    browser: Any, site: Site, logged_in: Any, plain_job_id: str, publisher: SyncRedisStreamPublisher
) -> None:
    result = {"event_type": "task_completed", "job_status": "completed", "result": {"pages": 5}}
    publish(publisher, plain_job_id, started(), result)
    with site.client() as client:
        wait_for_status(client, plain_job_id, "completed")
    context = browser.new_context(
        base_url=site.url, storage_state=logged_in, java_script_enabled=False
    )
    page = context.new_page()
    page.goto(f"/jobs/job/{plain_job_id}/")
    text = page.locator("#job").inner_text()
    for part in ("Completed", '"pages": 5', "Duration", plain_job_id, "needs JavaScript"):
        assert part in text
    expect(page.get_by_role("button", name="Copy link")).to_be_hidden()
    context.close()
