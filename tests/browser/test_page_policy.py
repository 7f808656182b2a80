"""The pages work under their policy: Chromium logs a violation as an error, which fails a test."""

from typing import Any

import pytest

from events.publisher import SyncRedisStreamPublisher
from tests.browser.support import job_page, wait_for_state
from tests.support.site import Site

pytestmark = pytest.mark.browser


def test_pages_comply_with_their_policy(
    page: Any, site: Site, job_id: str, plain_job_id: str, publisher: SyncRedisStreamPublisher
) -> None:
    publisher.publish_event(job_id, {"event_type": "document_generated", "document": "# A\n\n*b*"})
    paths = ("/jobs/", "/jobs/new/", job_page(job_id), job_page(plain_job_id), "/api/docs/")
    for path in paths:
        policy = page.goto(path).headers["content-security-policy"]
        assert "require-trusted-types-for 'script'" in policy
        page.wait_for_load_state("networkidle")
    page.goto("/jobs/")
    wait_for_state(page, "live")
    with site.client() as client:
        client.post("/api/jobs/", json={"task_type": "plain", "title": "Just now"})
    page.get_by_role("link", name="Just now").first.wait_for()


def test_login_page_complies_with_its_policy(browser: Any, site: Site) -> None:
    context = browser.new_context(base_url=site.url)
    problems: list[str] = []
    context.on("console", lambda entry: problems.append(entry.text))
    page = context.new_page()
    policy = page.goto("/jobs/login/").headers["content-security-policy"]
    page.get_by_label("Username").fill("carol")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("alert").wait_for()
    context.close()
    assert "trusted-types 'none'" in policy
    assert problems == []


# The scripts of Django's admin do not support Trusted Types.
PROJECT_POLICY = "default-src 'self'"


def test_admin_complies_with_the_policy_of_a_project(
    page: Any, job_id: str, site: Site, publisher: SyncRedisStreamPublisher
) -> None:
    """A middleware of the project sends the policy."""

    def restrict(route: Any) -> None:
        response = route.fetch()
        headers = {**response.headers, "content-security-policy": PROJECT_POLICY}
        route.fulfill(response=response, headers=headers)

    publisher.publish_event(job_id, {"event_type": "thought", "text": "<b>x</b>"})
    page.route("**/admin/**", restrict)
    page.goto("/admin/job_events_jobs/job/")
    page.locator("#result_list tbody th a").first.click()
    page.locator("job-timeline [role=rowgroup] [role=row]").first.wait_for()
    for path in ("processor", "eventlog"):
        page.goto(f"/admin/job_events/{path}/")
        page.wait_for_load_state("networkidle")


ATTACKS = {
    "HTML": "document.body.innerHTML = '<b>'",
    "parsed HTML": "new DOMParser().parseFromString('<b>', 'text/html')",
    "policy": "trustedTypes.createPolicy('default', { createHTML: (html) => html })",
    "inline script": """
        const script = document.createElement('script');
        script.append('globalThis.hacked = true');
        document.body.append(script);""",
    "handler": "document.body.append(Object.assign(document.createElement('a'), {id: 'x'}));"
    " document.getElementById('x').setAttribute('onclick', 'globalThis.hacked = true');"
    " document.getElementById('x').click()",
    "eval": "(0, eval)('globalThis.hacked = true')",
    "other host": "document.body.append("
    "Object.assign(document.createElement('img'), {src: 'http://127.0.0.2:9/x.png'}))",
}


def is_violation(entry: Any) -> bool:
    return "Content Security Policy" in entry.text or "Trusted" in entry.text


@pytest.mark.parametrize("name", ATTACKS)
def test_policy_blocks_inline_code_and_html_from_text(page: Any, name: str) -> None:
    """In a timer, because the browser exempts what the test itself evaluates from the policy."""
    page.context.problems_expected.append("")  # every text starts with it
    page.goto("/jobs/")
    attack = f"try {{ {ATTACKS[name]} }} catch (error) {{ console.error(error) }}"
    with page.expect_console_message(is_violation):
        page.evaluate(f"() => new Promise((end) => setTimeout(() => {{ {attack}; end() }}))")
    assert page.evaluate("globalThis.hacked") is None
