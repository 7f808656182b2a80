"""The monitor: charts, health, tables with actions, live updates, access, and accessibility."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from playwright.sync_api import expect

from jobs.api.openapi.extensions import EXAMPLES
from tests.browser.checks import check_accessibility
from tests.browser.conftest import created_job
from tests.browser.support import log_in, wait_for_state
from tests.support.site import Site

pytestmark = pytest.mark.browser

URL = "/jobs/monitor/"
SAMPLES = """
from datetime import timedelta
from django.utils import timezone
from jobs.models import Job, Sample
from jobs.monitoring.rows import floor_time
values = {
    "events_appended": 600, "events_archived": 540, "processors": 1, "outbox_age": 0.5,
    "archive_age": 1.5, "redis_used": 40_000_000, "redis_limit": 268_435_456, "streams": 70,
    "jobs_running": 3, "jobs_pending": 1,
    "attempts_ended": {"m-report": {"completed": 7, "failed": 3}, "m-sync": {"completed": 5}},
    "duration": {"m-report": {"15": 6}}, "queue_wait": {"m-report": {"-48": 6}},
}
end = floor_time(timezone.now(), 60)
for minute in range(12, 19):  # process_events computes the last minutes again
    at = end - timedelta(minutes=minute)
    for name, value in values.items():
        Sample.objects.update_or_create(name=name, at=at, seconds=60, defaults={"value": value})
"""
# Both events must be in the archive before: it would set the time of the last event again.
STUCK = """
from datetime import timedelta
from time import sleep
from django.utils import timezone
from jobs.models import Job
from jobs.services import job_start
job_start(job_id="{job_id}")
while Job.objects.get(job_id="{job_id}").event_count < 2:
    sleep(0.05)
old = timezone.now() - timedelta(hours=1)
Job.objects.filter(job_id="{job_id}").update(started_at=old, last_event_at=old)
"""


@pytest.fixture(scope="module")
def _samples(site: Site) -> None:
    site.manage("shell", "--verbosity", "0", "-c", SAMPLES)


def open_monitor(page: Any, query: str = "") -> None:
    page.goto(URL + query)
    page.wait_for_selector("html[data-drawn]")


def stuck_job(site: Site) -> str:
    job_id = created_job(site, "plain")
    site.manage("shell", "--verbosity", "0", "-c", STUCK.format(job_id=job_id))
    return job_id


def summary(page: Any, chart: str) -> str:
    return str(page.locator(f".chart:has(#chart-{chart}) [role=img]").get_attribute("aria-label"))


@pytest.mark.usefixtures("_samples")
def test_charts_and_their_tables(page: Any) -> None:
    open_monitor(page)
    assert page.locator(".chart:visible .plot canvas").count() >= 6
    assert re.search("Appended: .*, highest .*. Archived: .*, highest ", summary(page, "events"))
    open_monitor(page, "?task_type=m-report")
    assert re.search("Completed: latest .*, highest 7. Failed: ", summary(page, "ended"))
    assert re.search("^Failure rate. Failed: .*, highest 30%", summary(page, "failure_rate"))
    expect(page.locator(".chart:has(#chart-tokens)")).to_be_hidden()
    chart = page.locator(".chart:has(#chart-duration)")
    expect(chart.locator("table")).to_have_count(0)
    chart.get_by_text("Table").click()
    chart.locator("tbody tr").first.wait_for()
    expect(chart.locator("tbody tr")).to_have_count(60)
    expect(chart.locator("tbody tr", has_text="4.4s")).to_have_count(7)


@pytest.mark.usefixtures("_samples")
def test_range_and_task_type(page: Any) -> None:
    open_monitor(page)
    page.get_by_role("button", name="24 hours").click()
    page.wait_for_selector("html[data-drawn='24h']")
    page.get_by_role("button", name="1 hour").click()
    page.wait_for_selector("html[data-drawn='1h']")
    page.get_by_label("Task type", exact=True).select_option("m-sync")
    shown = page.locator(".chart:has(#chart-ended) [role=img]")
    shown.and_(page.locator("[aria-label*='highest 5.']")).wait_for()
    expect(page).to_have_url(re.compile("task_type=m-sync"))
    open_monitor(page, "?range=7d&task_type=m-report")
    expect(page.get_by_role("button", name="7 days")).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_label("Task type", exact=True)).to_have_value("m-report")


@pytest.mark.usefixtures("_samples")
def test_what_is_wrong_comes_first(page: Any, site: Site) -> None:
    open_monitor(page)
    attention = page.locator("#attention")
    expect(attention).to_contain_text(
        "m-report: 30% failed, 21 of 70 attempts", use_inner_text=True
    )
    assert page.locator("[data-name=processors]").inner_text().startswith("Processors\n1 of 1")
    expect(page.locator("[data-name=database] .state")).to_have_text("OK", use_inner_text=True)


def test_stuck_job_is_cancelled_after_a_confirmation(page: Any, site: Site) -> None:
    job_id = stuck_job(site)
    open_monitor(page)
    row = page.locator("#jobs tr", has=page.locator(f"[data-job-id='{job_id}']"))
    expect(row).to_contain_text("Stuck", use_inner_text=True)
    cancel = row.get_by_role("button", name="Cancel")
    cancel.click()
    page.get_by_role("button", name="Keep it running").click()
    assert status_of(site, job_id) == "running"
    assert page.evaluate("document.activeElement.dataset.jobId") == job_id
    cancel.click()
    page.get_by_role("button", name="Cancel the job").click()
    page.get_by_text("The job was cancelled.").last.wait_for()
    assert status_of(site, job_id) == "cancelled"


def test_job_that_has_been_retried_is_not_cancelled(page: Any, site: Site) -> None:
    job_id = stuck_job(site)
    open_monitor(page)
    page.locator(f"#jobs [data-job-id='{job_id}']").click()
    fail_and_retry = (
        "from jobs.services import job_fail, job_retry;"
        f" job_fail(job_id='{job_id}', error='boom'); job_retry(job_id='{job_id}', dispatch=False)"
    )
    site.manage("shell", "--verbosity", "0", "-c", fail_and_retry)
    page.get_by_role("button", name="Cancel the job").click()
    page.locator("#action-result", has_text="attempt").wait_for()
    assert status_of(site, job_id) == "pending"


def status_of(site: Site, job_id: str) -> str:
    with site.client() as client:
        return str(client.get(f"/api/jobs/{job_id}/").json()["status"])


def test_open_question_links_to_the_page_of_the_job(page: Any, site: Site) -> None:
    job_id = created_job(site, "plain")
    ask = (
        "from jobs.services import job_start; from jobs.inputs import input_request;"
        f" job_start(job_id='{job_id}');"
        f" input_request(job_id='{job_id}', name='ok', prompt='Send it?', choices=['yes'])"
    )
    site.manage("shell", "--verbosity", "0", "-c", ask)
    open_monitor(page)
    page.locator("#jobs tr", has=page.locator(f"a[href*='{job_id}']")).get_by_role(
        "link", name="Answer"
    ).click()
    page.get_by_text("Send it?").first.wait_for()


@pytest.mark.extended
def test_table_keeps_its_order_while_it_is_read(page: Any, site: Site) -> None:
    first = stuck_job(site)
    open_monitor(page)
    button = page.locator(f"#jobs [data-job-id='{first}']")
    button.focus()
    other = stuck_job(site)
    page.locator(f"#jobs [data-job-id='{other}']").wait_for()
    with site.client() as client:
        client.post(f"/api/jobs/{first}/cancel/")
    page.locator("#jobs tr.gone").wait_for()
    assert page.evaluate("document.activeElement.dataset.jobId") == first
    page.locator("h1").click()
    page.evaluate("document.activeElement.blur()")
    page.locator("#jobs tr.gone").wait_for(state="detached")


def test_unchanged_statistics_are_not_sent_again(page: Any) -> None:
    answers: list[int] = []
    body = {"etag": '"x"', "content-type": "application/json"}

    def answer(route: Any) -> None:
        if route.request.headers.get("if-none-match") == '"x"':
            answers.append(304)
            return route.fulfill(status=304, headers=body)
        answers.append(200)
        response = route.fetch()
        return route.fulfill(response=response, headers={**response.headers, **body})

    page.route("**/api/statistics/**", answer)
    open_monitor(page)
    while len(answers) < 2:
        page.wait_for_timeout(100)
    assert answers[:2] == [200, 304]


@pytest.mark.extended
def test_offline_state_keeps_the_figures(page: Any) -> None:
    open_monitor(page)
    problem = {"detail": "The database does not answer."}
    page.route("**/api/statistics/**", lambda route: route.fulfill(status=503, json=problem))
    wait_for_state(page, "offline")
    page.get_by_text("The database does not answer.").wait_for()
    expect(page.locator(".health-item")).to_have_count(10)
    page.unroute("**/api/statistics/**")
    wait_for_state(page, "live")
    expect(page.locator("#outage")).to_be_hidden()


def test_logged_out_user_is_notified(page: Any, context: Any) -> None:
    open_monitor(page)
    context.clear_cookies()
    wait_for_state(page, "refused")


def test_other_users_see_no_monitor(browser: Any, site: Site) -> None:
    context = browser.new_context(base_url=site.url)
    page = context.new_page()
    page.goto("/jobs/")
    log_in(page, "anna")
    expect(page.get_by_role("link", name="Monitor")).to_have_count(0)
    assert page.goto(URL).status == 403
    context.close()


WORKERS = ("alive", "late", "unknown")
STATES = ("ok", "warning", "critical", "unknown")
PROBLEM = {"detail": "It fails.", "action": "Repair it.", "since": "2026-11-22T02:40:00Z"}


def change_statistics(page: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Answer the page with what `change` makes of the statistics; without an ETag."""

    def answer(route: Any) -> None:
        response = route.fetch()
        route.fulfill(json=change(response.json()))

    page.route("**/api/statistics/**", answer)


def eventful(body: dict[str, Any]) -> dict[str, Any]:
    """Return statistics with health items of all states, and rows in all tables."""
    example = EXAMPLES["Statistics"]
    rows = {name: example[name] for name in ("failing", "stuck", "alerts", "workers")}
    rows["stuck"] = [
        {**rows["stuck"][0], "job_id": each, "state": each} for each in ("stuck", "quiet")
    ]
    rows["waiting"] = [{**rows["stuck"][0], "state": "waiting"}]
    rows["workers"] = [{**rows["workers"][0], "name": each, "state": each} for each in WORKERS]
    delivery = {"id": 1, "channel": "hook", "rule": "r", "attempts": 2, "error": "refused"}
    rows["deliveries"] = [{**delivery, "next_at": None}]
    for number, item in enumerate(body["health"]):
        state = STATES[number % len(STATES)]
        item.update({"state": state, **(PROBLEM if state == "critical" else {})})
    return {**body, **rows}


@pytest.mark.usefixtures("_samples")
@pytest.mark.parametrize("width", [1440, 820, 390])
def test_page_is_accessible_and_as_wide_as_the_window(page: Any, site: Site, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    change_statistics(page, eventful)
    open_monitor(page)
    page.locator("details summary").first.click()
    page.locator(".chart tbody tr").first.wait_for()
    expect(page.locator("table.figures")).to_have_count(6)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    check_accessibility(page)
    page.locator("#jobs [data-action=cancel]").first.click()
    check_accessibility(page)


def test_pages_comply_with_their_policy(page: Any) -> None:
    policy = page.goto(URL).headers["content-security-policy"]
    assert "require-trusted-types-for 'script'; trusted-types 'none'" in policy
    wait_for_state(page, "live")


@pytest.mark.usefixtures("_samples")
def test_page_without_figures_says_what_to_do(page: Any) -> None:
    change_statistics(page, lambda body: {**body, "series": {}})
    open_monitor(page)
    page.get_by_text("There are no figures yet.").wait_for()
    expect(page.locator("#no-figures code")).to_contain_text("process_events", use_inner_text=True)
    page.unroute("**/api/statistics/**")
    page.locator("#no-figures").wait_for(state="hidden")


@pytest.mark.usefixtures("_samples")
def test_figures_that_have_ended_say_when(page: Any) -> None:
    def figures(body: dict[str, Any], missing: int) -> dict[str, Any]:
        lists = {name: each for name, each in body["series"].items() if isinstance(each, list)}
        series = {name: [*[1] * (60 - missing), *[None] * missing] for name in lists}
        return {**body, "series": series}

    note = page.locator("#old-figures")
    change_statistics(page, partial(figures, missing=1))
    open_monitor(page)
    expect(note).to_be_hidden()
    change_statistics(page, partial(figures, missing=5))
    open_monitor(page)
    expect(note).to_contain_text("process_events has written none since", use_inner_text=True)
