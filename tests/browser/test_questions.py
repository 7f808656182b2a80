"""Requests for input are answered on the job page."""

from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.checks import check_accessibility
from tests.browser.support import job_page, wait_for_state, wait_until
from tests.support.site import Site

pytestmark = pytest.mark.browser

ASK = """
from jobs import inputs, services
from jobs.models import Job
job_id = {job_id!r}
if Job.objects.get(job_id=job_id).status == "pending":
    services.job_start(job_id=job_id)
inputs.input_request(job_id=job_id, name={name!r}, prompt={prompt!r}, choices={choices!r})
"""
HTML_PROMPT = "Send <b>it</b>?"


@pytest.fixture
def ask(site: Site, job_id: str) -> Any:
    def ask(name: str, prompt: Any, choices: tuple[str, ...] = ()) -> None:
        code = ASK.format(job_id=job_id, name=name, prompt=prompt, choices=choices)
        site.manage("shell", "--verbosity", "0", "-c", code)

    return ask


def answers(site: Site, job_id: str) -> dict[str, Any]:
    with site.client() as client:
        requests = client.get(f"/api/jobs/{job_id}/inputs/").json()["results"]
    return {each["name"]: each["value"] for each in requests}


def test_requests_are_answered_on_the_page(
    page: Any, context: Any, site: Site, job_id: str, ask: Any
) -> None:
    page.goto(job_page(job_id))
    wait_for_state(page, "live")
    expect(page.locator("#questions")).to_be_hidden()
    ask("sure", {"text": HTML_PROMPT}, ("yes", "no"))
    ask("name", "To whom?")
    text = page.locator("#questions").get_by_text(HTML_PROMPT)
    text.wait_for()
    other = context.new_page()
    other.goto(job_page(job_id))
    page.get_by_label("To whom?").fill("Anna\nand Bert")
    page.get_by_role("button", name="no", exact=True).click()
    text.wait_for(state="hidden")
    wait_until(page, "document.activeElement.name === 'answer'")
    # A second answer does not disturb a user who is typing.
    expect(page.get_by_label("To whom?")).to_have_value("Anna\nand Bert")
    page.get_by_role("button", name="Send the answer").click()
    page.locator("#questions").wait_for(state="hidden")
    wait_until(page, "document.activeElement.id === 'job-title'")
    assert answers(site, job_id) == {"sure": "no", "name": "Anna\nand Bert"}
    wait_for_state(other, "live")
    other.locator("#questions").wait_for(state="hidden")


DRAFT = "# Report\n\n  - Germany: 6 years\n  - Spain:   5 years\n"


def test_prompt_is_shown_completely(page: Any, site: Site, job_id: str, ask: Any) -> None:
    prompt = {
        "question": "Send it?",
        "draft": DRAFT,
        "before": "a\nold\nz",
        "after": "a\nnew\nz",
        "scores": {"style": 0.5, "notes": ["short", HTML_PROMPT]},
        "hint": "هل هذا صحيح؟",
    }
    ask("approve", prompt, ("yes", "no"))
    page.goto(job_page(job_id))
    card = page.locator("#questions")
    page.get_by_role("button", name="yes").wait_for()
    assert card.locator("pre").inner_text() == DRAFT
    expect(card.locator("del")).to_have_text("old", use_inner_text=True)
    expect(card.locator("ins")).to_have_text("new", use_inner_text=True)
    for text in ("style: 0.5", HTML_PROMPT, "هل هذا صحيح؟"):
        expect(card).to_contain_text(text, use_inner_text=True)
    check_accessibility(page)
    page.get_by_role("button", name="yes").click()
    answered = page.locator("#answered")
    answered.get_by_text("Answered questions: 1").click()
    answer = answered.get_by_role("article", name="Send it?")
    expect(answer).to_contain_text("demo", use_inner_text=True)
    expect(answer.locator(".json-tree").last).to_have_text("yes", use_inner_text=True)
    expect(answer).to_contain_text(DRAFT.strip(), use_inner_text=True)


LARGE = """
deep = "bottom"
for _ in range(300):
    deep = [deep]
prompt = {{"text": "Read it", "draft": "A sentence. " * 17_000 + "The end.", "deep": deep}}
"""


def test_large_and_deep_prompts_are_readable(page: Any, site: Site, job_id: str) -> None:
    code = (LARGE + ASK).replace("{prompt!r}", "prompt")
    site.manage("shell", "--verbosity", "0", "-c", code.format(job_id=job_id, name="a", choices=()))
    page.goto(job_page(job_id))
    card = page.locator("#questions")
    card.get_by_role("button", name="Show all characters").first.click()
    card.get_by_text("The end.").wait_for()
    card.get_by_role("button", name="Expand all").click()
    card.get_by_text("omitted").or_(card.get_by_text("bottom")).first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_answers_can_be_json(page: Any, site: Site, job_id: str, ask: Any) -> None:
    ask("rows", "How many?")
    page.goto(job_page(job_id))
    field = page.get_by_label("How many?")
    field.fill("{")
    page.get_by_label("Answer with JSON").check()
    page.get_by_role("button", name="Send the answer").click()
    page.get_by_text("This is not valid JSON").wait_for()
    field.fill('{"rows": 3}')
    page.get_by_role("button", name="Send the answer").click()
    page.locator("#questions").wait_for(state="hidden")
    assert answers(site, job_id) == {"rows": {"rows": 3}}


def test_failed_answer_is_reported_and_can_be_repeated(
    page: Any, context: Any, site: Site, job_id: str, ask: Any
) -> None:
    ask("sure", "Sure?", ("yes", "no"))
    page.goto(job_page(job_id))
    yes = page.get_by_role("button", name="yes")
    yes.wait_for()
    context.set_offline(True)
    yes.click()
    page.get_by_text("The answer was not taken.").wait_for()
    context.set_offline(False)
    yes.click()
    page.locator("#questions").wait_for(state="hidden")
    assert answers(site, job_id) == {"sure": "yes"}


def test_answer_names_the_attempt_of_the_question(page: Any, job_id: str, ask: Any) -> None:
    ask("sure", "Sure?", ("yes", "no"))
    page.goto(job_page(job_id))
    with page.expect_request(lambda request: request.method == "POST") as sent:
        page.get_by_role("button", name="yes").click()
    assert sent.value.post_data_json == {"name": "sure", "value": "yes", "attempt": 1}


def test_cancelled_job_hides_its_requests(page: Any, site: Site, job_id: str, ask: Any) -> None:
    ask("sure", "Sure?", ("yes", "no"))
    page.goto(job_page(job_id))
    page.get_by_role("button", name="yes").wait_for()
    with site.client() as client:
        client.post(f"/api/jobs/{job_id}/cancel/").raise_for_status()
    page.locator("#questions").wait_for(state="hidden")
    assert answers(site, job_id) == {"sure": None}


def test_readers_see_questions_without_buttons(page: Any, job_id: str, ask: Any) -> None:
    def restrict(route: Any) -> None:
        response = route.fetch()
        body = response.text().replace('"mayChange": true', '"mayChange": false')
        route.fulfill(response=response, body=body)

    ask("sure", {"text": "Sure?", "draft": DRAFT}, ("yes", "no"))
    page.route(f"**/jobs/job/{job_id}/*", restrict)
    page.goto(job_page(job_id))
    card = page.locator("#questions")
    card.get_by_text("You may read this question, but not answer it.").wait_for()
    expect(card).to_contain_text(DRAFT.strip(), use_inner_text=True)
    expect(card.get_by_role("button", name="yes")).to_have_count(0)
