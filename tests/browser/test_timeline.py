"""The timeline of the run page: what failed, which step was slow, and the details of a step."""

import json
import re
from contextlib import suppress
from typing import Any

import pytest
from playwright.sync_api import expect

from events.integrations.langchain import RecordOptions, create_redis_callback_handler
from events.publisher import SyncRedisStreamPublisher
from events.spans import span_context
from tests.browser.checks import check_accessibility
from tests.browser.support import job_page, wait_until
from tests.support.showcase_agent import research_graph

pytestmark = [pytest.mark.browser, pytest.mark.extended]

ROWS = "[role=row][aria-level]"
QUESTION = "Should we sell home batteries in the EU?"


def publish(publisher: SyncRedisStreamPublisher, job_id: str, kind: str, **data: Any) -> str:
    return publisher.publish_event(job_id, {"event_type": kind, **data})


def start_task(publisher: SyncRedisStreamPublisher, job_id: str, run_id: str, **data: Any) -> None:
    span = {"run_id": run_id, "parent_run_id": None, "queue_seconds": 0.2}
    status = {"job_status": "running", "attempt": 1}
    publish(publisher, job_id, "task_started", **status, **data, data=span)


def end_task(
    publisher: SyncRedisStreamPublisher, job_id: str, run_id: str, kind: str, **data: Any
) -> None:
    statuses = {"task_completed": "done", "task_failed": "failed", "task_retry": "retry"}
    span = {"run_id": run_id, "status": statuses[kind]}
    publish(publisher, job_id, kind, attempt=1, **data, data=span)


def run_agent(publisher: SyncRedisStreamPublisher, job_id: str, *, denied: bool) -> None:
    """Run six analysts in parallel; a tool of one fails, and the upload if it is denied."""
    start_task(publisher, job_id, "k.1", task_type="agents.market_research")
    options = RecordOptions(tool_inputs=True, prompts=True)
    handler = create_redis_callback_handler(job_id, publisher, record=options)
    given = {"question": QUESTION, "denied": denied}
    with span_context(job_id, "k.1"), suppress(PermissionError):
        research_graph().invoke(given, {"callbacks": [handler]})
        end_task(publisher, job_id, "k.1", "task_completed", job_status="completed")
        return
    failed = {"job_status": "failed", "error": "403 Forbidden", "error_type": "PermissionError"}
    end_task(publisher, job_id, "k.1", "task_failed", **failed)


@pytest.fixture(scope="module")
def _agents() -> dict[str, str]:
    """The jobs of agents that were run for an earlier test."""
    return {}


@pytest.fixture
def failed_agent(
    _agents: dict[str, str], plain_job_id: str, publisher: SyncRedisStreamPublisher
) -> str:
    if "failed" not in _agents:
        run_agent(publisher, plain_job_id, denied=True)
        _agents["failed"] = plain_job_id
    return _agents["failed"]


def open_timeline(page: Any, job_id: str, query: str = "") -> Any:
    page.goto(job_page(job_id, "timeline") + query)
    page.wait_for_selector("html:is([data-live-state=live], [data-live-state=ended])")
    page.locator(ROWS).first.wait_for()
    return page.locator(ROWS)


def row(page: Any, name: str) -> Any:
    return page.locator(ROWS).filter(has=page.get_by_text(name, exact=True)).first


def selected(page: Any) -> Any:
    return page.locator(f"{ROWS}[aria-selected=true]")


def inspector(page: Any) -> Any:
    return page.get_by_role("complementary", name="Selected step")


def test_failed_job_opens_at_the_step_that_failed(page: Any, failed_agent: str) -> None:
    open_timeline(page, failed_agent)
    expect(selected(page)).to_contain_text("upload_report", use_inner_text=True)
    expect(selected(page)).to_contain_text("Failed here", use_inner_text=True)
    details = inspector(page)
    details.get_by_text("PermissionError", exact=True).wait_for()
    expect(details).to_contain_text(
        "403 Forbidden: the key of research-agent may not write", use_inner_text=True
    )
    expect(details).to_contain_text("publish › upload_report", use_inner_text=True)
    assert re.search(
        r"\+\d+\.\d+ s \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} UTC", details.inner_text()
    )
    assert page.evaluate("scrollY") == 0


def test_slowest_steps_lead_to_their_rows(page: Any, failed_agent: str) -> None:
    open_timeline(page, failed_agent)
    slowest = page.locator(".slow")
    texts = slowest.all_inner_texts()
    assert "fetch_page" in texts[0]
    assert re.search(r"4\.5\d s", texts[0])
    assert "gpt-5" in texts[1]
    assert len(texts) == 3
    slowest.first.click()
    expect(selected(page)).to_contain_text("fetch_page", use_inner_text=True)
    expect(page).to_have_url(re.compile("span="))


def test_parallel_branches_and_errors_are_marked(page: Any, failed_agent: str) -> None:
    open_timeline(page, failed_agent)
    first = row(page, "analyst[1]")
    expect(first).to_contain_text("parallel: 6", use_inner_text=True)
    expect(first.locator(".guide.first")).to_have_count(1)
    hidden = page.locator(ROWS).filter(has_text="Errors inside: 1")
    expect(hidden).to_have_attribute("aria-expanded", "false")
    page.keyboard.press("e")
    expect(selected(page)).to_contain_text("run_sql", use_inner_text=True)
    assert selected(page).get_attribute("data-status") in ("handled", "error")
    page.keyboard.press("e")
    expect(selected(page)).to_contain_text("upload_report", use_inner_text=True)


def test_rows_are_a_tree_for_the_keyboard(page: Any, failed_agent: str) -> None:
    rows = open_timeline(page, failed_agent)
    focused = page.locator(f"{ROWS}:focus")
    page.keyboard.press("Escape")
    rows.first.focus()
    page.keyboard.press("ArrowRight")
    expect(focused).to_have_attribute("aria-level", "2")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    attributes = {name: focused.get_attribute(f"aria-{name}") for name in ("posinset", "level")}
    assert attributes == {"posinset": "2", "level": "3"}
    expect(focused).to_have_attribute("aria-expanded", "false")
    tree = page.get_by_role("treegrid")
    count = tree.get_attribute("aria-rowcount")
    page.keyboard.press("ArrowRight")
    expect(focused).to_have_attribute("aria-expanded", "true")
    assert int(tree.get_attribute("aria-rowcount")) > int(count)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(focused).to_have_attribute("aria-level", "2")
    page.keyboard.press("End")
    expect(focused).to_have_attribute("aria-rowindex", tree.get_attribute("aria-rowcount"))
    assert rows.filter(has=page.locator(":scope[tabindex='0']")).count() <= 1
    page.keyboard.press("Enter")
    expect(inspector(page).get_by_role("heading").first).to_contain_text(
        "upload_report", use_inner_text=True
    )


def test_facets_keep_the_steps_around_their_matches(page: Any, failed_agent: str) -> None:
    rows = open_timeline(page, failed_agent)
    group = page.get_by_role("group", name="Show only")
    expect(group).to_contain_text("Errors 2", use_inner_text=True)
    group.get_by_role("button", name="Errors").click()
    shown = rows.locator(".label").all_inner_texts()
    assert {"run_sql", "upload_report", "market_research"} <= set(shown)
    assert "fetch_page" not in shown
    expect(page).to_have_url(re.compile("errors=1"))
    page.reload()
    rows.first.wait_for()
    expect(rows.locator(".label")).to_have_text(shown, use_inner_text=True)
    group.get_by_role("button", name="Errors").click()
    group.get_by_role("button", name="Models").click()
    expect(page.locator(f"{ROWS}[data-context=false]").first).to_have_attribute(
        "data-kind", "model"
    )
    expect(page).to_have_url(re.compile("kind=model"))


def test_link_to_a_step_and_back(page: Any, context: Any, failed_agent: str) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    open_timeline(page, failed_agent)
    page.keyboard.press("e")
    inspector(page).get_by_role("button", name="Copy link").click()
    inspector(page).get_by_text("Copied").wait_for()
    link = page.evaluate("navigator.clipboard.readText()")
    page.goto("/jobs/")
    page.goto(link)
    selected(page).wait_for()
    expect(selected(page)).to_contain_text("run_sql", use_inner_text=True)
    inspector(page).get_by_role("heading", name="run_sql").wait_for()
    page.keyboard.press("c")
    inspector(page).get_by_text("Copied").wait_for()
    step = json.loads(page.evaluate("navigator.clipboard.readText()"))
    assert step["name"] == "run_sql"
    assert step["path"][-2:] != []
    assert step["events"][0]["event_type"] == "tool_call"
    page.keyboard.press("Escape")
    expect(inspector(page)).to_be_hidden()
    expect(page).not_to_have_url(re.compile("span="))


def test_details_show_usage_text_and_events(page: Any, failed_agent: str) -> None:
    open_timeline(page, failed_agent)
    page.locator(".slow", has_text="gpt-5").first.click()
    details = inspector(page)
    details.get_by_text("in: 9,870, out: 1,460").wait_for()
    expect(details).to_contain_text("Home batteries in the EU", use_inner_text=True)
    event = details.locator("details.raw").first
    event.locator("summary").click()
    expect(event.locator(".json-tree")).to_contain_text("model_call", use_inner_text=True)


def test_details_can_be_resized_by_keyboard(page: Any, failed_agent: str) -> None:
    page.set_viewport_size({"width": 1440, "height": 900})
    open_timeline(page, failed_agent)
    handle = page.get_by_role("separator")
    inspector(page).wait_for()
    before = inspector(page).bounding_box()["width"]
    handle.focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert inspector(page).bounding_box()["width"] - before == pytest.approx(48, abs=1)
    width = handle.get_attribute("aria-valuenow")
    page.reload()
    inspector(page).wait_for()
    expect(handle).to_have_attribute("aria-valuenow", width)


def test_phone_shows_bars_of_the_branch_and_a_sheet(page: Any, failed_agent: str) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    open_timeline(page, failed_agent)
    expect(inspector(page)).to_be_hidden()  # a sheet would cover the page
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    expect(row(page, "upload_report").locator(".bar:visible")).to_have_count(1)
    expect(row(page, "analyst[1]").locator(".bar:visible")).to_have_count(0)
    row(page, "upload_report").click()
    heading = inspector(page).get_by_role("heading", name="upload_report")
    heading.wait_for()
    wait_until(page, f"{FOCUSED}.localName === 'h2'")
    sheet = inspector(page).bounding_box()
    assert sheet["y"] + sheet["height"] == pytest.approx(844, abs=1)
    assert row(page, "upload_report").bounding_box()["y"] < sheet["y"]
    inspector(page).get_by_role("button", name="Close").click()
    expect(inspector(page)).to_be_hidden()
    assert page.evaluate(f"{FOCUSED}.getAttribute('role')") == "row"


FOCUSED = (
    "(() => { let at = document.activeElement;"
    " while (at.shadowRoot) at = at.shadowRoot.activeElement; return at; })()"
)


def publish_charges(
    publisher: SyncRedisStreamPublisher, job_id: str, attempt: int, names: list[str]
) -> None:
    for name in names:
        start_task(publisher, job_id, f"{name}.{attempt}", task_type=name)
        end_task(publisher, job_id, f"{name}.{attempt}", "task_completed")
    last = f"charge.{attempt}"
    start_task(publisher, job_id, f"{last}.1", task_type="charge")
    end_task(publisher, job_id, f"{last}.1", "task_retry", error="Timeout", error_type="Timeout")
    start_task(publisher, job_id, f"{last}.2", task_type="charge")
    failed = {"job_status": "failed", "error": "card gateway timed out", "error_type": "Timeout"}
    end_task(publisher, job_id, f"{last}.2", "task_failed", **failed)


def test_attempts_are_compared_on_one_axis(
    page: Any, plain_job_id: str, publisher: SyncRedisStreamPublisher
) -> None:
    publish_charges(publisher, plain_job_id, 1, ["load", "price"])
    publish(publisher, plain_job_id, "job_retried", attempt=2, job_status="pending")
    publish_charges(publisher, plain_job_id, 2, ["load", "notify"])
    rows = open_timeline(page, plain_job_id)
    expect(rows.locator(".label")).to_have_text(
        ["load", "notify", "charge[1]", "charge[2]"], use_inner_text=True
    )
    expect(row(page, "charge[1]")).to_contain_text("Retried", use_inner_text=True)
    expect(row(page, "charge[2]")).to_contain_text("card gateway timed out", use_inner_text=True)
    open_timeline(page, plain_job_id, "&attempt=1&compare=2")
    page.get_by_text("Upper bars: attempt 1. Lower bars: attempt 2.").wait_for()
    expect(row(page, "load").locator(".bar:visible")).to_have_count(2)
    expect(row(page, "load")).to_contain_text(" / ", use_inner_text=True)
    expect(row(page, "price")).to_contain_text("only in attempt 1", use_inner_text=True)
    expect(row(page, "notify")).to_contain_text("only in attempt 2", use_inner_text=True)
    expect(rows).to_have_count(5)


def publish_steps(publisher: SyncRedisStreamPublisher, job_id: str, nodes: int, tools: int) -> None:
    def span(run_id: str, parent: str, **data: Any) -> dict[str, Any]:
        return {"data": {"run_id": run_id, "parent_run_id": parent, **data}}

    events: list[dict[str, Any]] = []
    for n in range(nodes):
        node = {"phase": "page", "node": "page", "step": n}
        events.append({"event_type": "phase_update", **span(f"n{n}", "t", **node)})
        for i in range(tools):
            run = f"n{n}.{i}"
            events.append({"event_type": "tool_call", **span(run, f"n{n}", tool="fetch")})
            done = span(run, f"n{n}", tool="fetch", status="done", seconds=0.01)
            if (n, i) == (nodes // 2, 3):
                failed = {"message": "disk is full", "error_type": "OSError"}
                done["data"] |= {**failed, "status": "failed"}
            kind = "error" if "message" in done["data"] else "tool_result"
            events.append({"event_type": kind, **done})
        events.append({"event_type": "phase_result", **span(f"n{n}", "t", **node, status="done")})
    for start in range(0, len(events), 500):
        publisher.publish_events(job_id, events[start : start + 500])


def test_five_thousand_steps_are_drawn_where_they_are_visible(
    page: Any, plain_job_id: str, publisher: SyncRedisStreamPublisher
) -> None:
    start_task(publisher, plain_job_id, "t")
    publish_steps(publisher, plain_job_id, 500, 9)
    rows = open_timeline(page, plain_job_id)
    assert int(page.get_by_role("treegrid").get_attribute("aria-rowcount")) > 500
    assert rows.count() < 80
    page.keyboard.press("e")
    expect(selected(page)).to_contain_text("disk is full", use_inner_text=True)
    box = selected(page).bounding_box()
    assert 0 < box["y"] < 720
    selected(page).focus()
    page.keyboard.press("End")
    expect(page.locator(f"{ROWS}:focus .label")).to_have_text("page[500]", use_inner_text=True)
    assert rows.count() < 80
    head = page.locator(".axis").bounding_box()
    assert 0 <= head["y"] < 120  # sticky


def test_rows_do_not_move_under_the_pointer(
    page: Any, plain_job_id: str, publisher: SyncRedisStreamPublisher
) -> None:
    start_task(publisher, plain_job_id, "t")
    for name in ("a", "b"):
        data = {"run_id": name, "parent_run_id": "t", "name": name}
        publish(publisher, plain_job_id, "span_started", data=data)
    rows = open_timeline(page, plain_job_id)
    row(page, "b").hover()
    page.locator(".tip", has_text="→").wait_for()
    before = row(page, "b").bounding_box()["y"]
    for name, parent in (("within a", "a"), ("c", "t")):
        data = {"run_id": name, "parent_run_id": parent, "name": name}
        publish(publisher, plain_job_id, "span_started", data=data)
    row(page, "c").wait_for()
    assert row(page, "b").bounding_box()["y"] == before
    expect(rows.locator(".label")).to_have_text(["task", "a", "b", "c"], use_inner_text=True)
    page.mouse.move(2, 2)
    row(page, "within a").wait_for()


def test_question_of_a_plain_program_waits_for_a_person(
    page: Any, plain_job_id: str, publisher: SyncRedisStreamPublisher
) -> None:
    publish(publisher, plain_job_id, "log", message="\x1b[33mwarning\x1b[0m: no sugar")
    publish(publisher, plain_job_id, "input_requested", name="tea", prompt={"text": "Tea?"})
    open_timeline(page, plain_job_id)
    asked = row(page, "input_requested")
    expect(asked).to_contain_text("Waits for a person", use_inner_text=True)
    row(page, "log").click()
    raw = inspector(page).locator("details.raw summary").first
    assert raw.inner_text().endswith("warning: no sugar")
    publish(publisher, plain_job_id, "input_received", name="tea")
    asked.get_by_text("Waits for a person").wait_for(state="hidden")


def test_bars_of_running_interrupted_and_inferred_steps(
    page: Any, plain_job_id: str, publisher: SyncRedisStreamPublisher
) -> None:
    start_task(publisher, plain_job_id, "t")
    for run, parent in (("g", "t"), ("ask", "g"), ("lost", "g")):
        data = {"run_id": run, "parent_run_id": parent, "phase": run}
        publish(publisher, plain_job_id, "phase_update", data=data)
    ended = {"run_id": "ask", "parent_run_id": "g", "phase": "ask", "status": "interrupted"}
    publish(publisher, plain_job_id, "phase_result", data=ended)
    ended = {"run_id": "g", "parent_run_id": "t", "phase": "g", "status": "interrupted"}
    publish(publisher, plain_job_id, "interrupted", data=ended)
    open_timeline(page, plain_job_id)
    expect(row(page, "ask")).to_contain_text("Waits for a person", use_inner_text=True)
    expect(row(page, "lost").locator(".bar").first).to_have_attribute("data-inferred", "true")
    expect(page.locator(f"{ROWS} .wait:visible")).to_have_count(1)
    first = page.locator(ROWS).first
    expect(first).to_have_attribute("data-status", "running")
    seconds = first.locator(".value")
    before = seconds.inner_text()
    while seconds.inner_text() == before:
        page.wait_for_timeout(100)


@pytest.mark.parametrize("width", [1440, 820, 390])
def test_timeline_is_accessible(page: Any, failed_agent: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    open_timeline(page, failed_agent)
    page.keyboard.press("e")
    inspector(page).get_by_role("heading", name="run_sql").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    check_accessibility(page)
