"""The tab Conversation: messages, tool calls and questions in the order of the log."""

from typing import Any

import pytest
from playwright.sync_api import expect

from events.publisher import SyncRedisStreamPublisher
from tests.browser.checks import check_accessibility
from tests.browser.support import wait_for_state
from tests.support.site import Site

pytestmark = [pytest.mark.browser, pytest.mark.extended]


def run(event_type: str, run_id: str, **data: Any) -> dict[str, Any]:
    return {"event_type": event_type, "data": {"run_id": run_id, "node": "analyst", **data}}


def open_tab(page: Any, job_id: str) -> None:
    page.goto(f"/jobs/job/{job_id}/?tab=conversation")
    wait_for_state(page, "live")


def turn(page: Any, kind: str) -> Any:
    return page.locator(f".turn[data-kind={kind}]")


def test_messages_are_assembled_by_run_and_kind(
    page: Any, plain_job_id: str, publisher: SyncRedisStreamPublisher
) -> None:
    messages = [{"role": "system", "content": "You are <b>an</b> analyst."}]
    events = [
        run("model_call", "m1", model="gpt", messages=messages),
        run("thought", "m1", text="First ", kind="reasoning"),
        run("thought", "m1", text="An "),
        run("thought", "m2", text="Another"),
        run("thought", "m1", text="answer"),
        run("tool_call", "t1", tool="search", input={"query": "tea"}),
        run("tool_result", "t1", tool="search", output="Found " * 100, status="done"),
        run("tool_call", "t2", tool="sql", input={"sql": "select"}),
        run("error", "t2", tool="sql", message="no such table", status="failed"),
    ]
    publisher.publish_events(plain_job_id, events)
    open_tab(page, plain_job_id)
    turn(page, "answer").first.wait_for()
    texts = page.locator(".turn[data-kind=answer] .turn-text").all_inner_texts()
    assert texts == ["An answer", "Another"]
    kinds = page.locator(".turn").evaluate_all("turns => turns.map(turn => turn.dataset.kind)")
    assert kinds == ["prompt", "reasoning", "answer", "answer", "tool", "tool"]
    prompt = turn(page, "prompt")
    expect(prompt.get_by_text("analyst.")).to_have_count(0)
    prompt.locator("summary").click()
    prompt.get_by_text("You are <b>an</b> analyst.").wait_for()
    search, sql = turn(page, "tool").all()
    expect(search.get_by_text("Done")).to_be_visible()
    expect(search).to_contain_text("tea", use_inner_text=True)
    search.locator("summary", has_text="Result").click()
    check_accessibility(page)
    assert search.locator("pre").inner_text().startswith("Found Found")
    expect(sql).to_contain_text("Failed", use_inner_text=True)
    expect(sql).to_contain_text("no such table", use_inner_text=True)

    # A text grows where it is.
    node = turn(page, "answer").first.element_handle()
    publisher.publish_event(plain_job_id, run("thought", "m1", text=", longer", end=True))
    turn(page, "answer").first.get_by_text("An answer, longer").wait_for()
    assert node.evaluate("node => node.isConnected")


def test_latest_turns_are_shown_first(
    page: Any, plain_job_id: str, publisher: SyncRedisStreamPublisher
) -> None:
    events = [run("thought", f"m{n}", text=f"Message {n}.") for n in range(700)]
    publisher.publish_events(plain_job_id, events)
    open_tab(page, plain_job_id)
    page.get_by_text("Message 699.").wait_for()
    expect(page.locator(".turn")).to_have_count(300)
    for earlier in (100, 0):
        page.locator("button", has_text="Show earlier").click()
        page.get_by_text(f"Message {earlier}.", exact=True).wait_for()
    expect(page.locator(".turn")).to_have_count(700)


def test_job_without_messages_says_so(page: Any, site: Site, plain_job_id: str) -> None:
    with site.client() as client:
        client.post(f"/api/jobs/{plain_job_id}/cancel/").raise_for_status()
    page.goto(f"/jobs/job/{plain_job_id}/?tab=conversation")
    page.get_by_text("This job has no messages of models, tool calls or questions.").wait_for()
