"""Requests for input are answered on the job page."""

from typing import Any

import pytest

from tests.browser.support import job_page, wait_for_state
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
    assert page.locator("#questions").is_hidden()
    ask("sure", {"text": HTML_PROMPT}, ("yes", "no"))
    ask("name", "To whom?")
    text = page.locator("#questions").get_by_text(HTML_PROMPT)
    text.wait_for()
    other = context.new_page()
    other.goto(job_page(job_id))
    page.get_by_label("To whom?").fill("Anna\nand Bert")
    page.get_by_role("button", name="no", exact=True).click()
    text.wait_for(state="hidden")
    # A second answer does not disturb a user who is typing.
    assert page.get_by_label("To whom?").input_value() == "Anna\nand Bert"
    page.get_by_role("button", name="Send the answer").click()
    page.locator("#questions").wait_for(state="hidden")
    assert answers(site, job_id) == {"sure": "no", "name": "Anna\nand Bert"}
    wait_for_state(other, "live")
    other.locator("#questions").wait_for(state="hidden")


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


def test_cancelled_job_hides_its_requests(page: Any, site: Site, job_id: str, ask: Any) -> None:
    ask("sure", "Sure?", ("yes", "no"))
    page.goto(job_page(job_id))
    page.get_by_role("button", name="yes").wait_for()
    with site.client() as client:
        client.post(f"/api/jobs/{job_id}/cancel/").raise_for_status()
    page.locator("#questions").wait_for(state="hidden")
    assert answers(site, job_id) == {"sure": None}
