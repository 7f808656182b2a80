"""The custom elements in a page of a project, under a strict policy."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from events.publisher import SyncRedisStreamPublisher
from tests.browser.support import logged_ids, queue_wait, wait_until
from tests.browser.test_client import COUNT_TRANSPORTS, publish
from tests.support.site import Site

pytestmark = [pytest.mark.browser, pytest.mark.extended]

PAGE = """<!doctype html><html lang="en"><title>A page of a project</title>
<h1>Your document</h1>
<job-progress job-id="JOB" time-zone="Asia/Tokyo"></job-progress>
<job-progress job-id="JOB" labels='{"pending": "Wartet", "completed": "Fertig"}'></job-progress>
<job-timeline job-id="JOB" limit="5"></job-timeline>
<job-progress job-id="missing"></job-progress>
<job-progress></job-progress>
<script type="module" src="/static/job_events/job-elements.js"></script>
<script>
  globalThis.received = [];
  for (const name of ["job-event", "job-live", "job-end"])
    addEventListener(name, ({ target, detail }) =>
      received.push([target.localName, name, detail?.event_type, detail?.id]));
</script></html>"""


POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'none'; connect-src 'self';"
    " require-trusted-types-for 'script'; trusted-types 'none'"
)


@pytest.fixture
def elements(page: Any, job_id: str) -> Iterator[Any]:
    """A page of a project with custom elements only."""
    page.add_init_script(COUNT_TRANSPORTS)
    page.context.problems_expected.append("WebSocket connection to")
    page.route("**/own/", lambda route: route.fulfill(
        content_type="text/html", body=PAGE.replace("JOB", job_id),
        headers={"Content-Security-Policy": POLICY},
    ))  # fmt: skip
    page.goto("/own/")
    page.locator("job-timeline[data-live=true]").wait_for()
    return page


def fact(element: Any, name: str) -> Any:
    return element.locator(f"[data-fact={name}] dd")


def rows(page: Any) -> Any:
    return page.locator("job-timeline .row .label")


def test_elements_follow_a_job_to_its_end(
    elements: Any, job_id: str, publisher: SyncRedisStreamPublisher, site: Site
) -> None:
    first, second, missing, empty = elements.locator("job-progress").all()
    first.get_by_text("Pending").wait_for()
    second.get_by_text("Wartet").wait_for()
    missing.get_by_text("Not available").wait_for()
    expect(empty.get_by_role("status")).to_have_text("", use_inner_text=True)
    publisher.publish_task_started(job_id, "by_hand")
    publisher.publish_task_progress(job_id, "by_hand", 40, message="<b>Reading</b>")
    first.get_by_text("40%").wait_for()
    first.get_by_text("<b>Reading</b>").wait_for()
    assert first.locator("progress").evaluate("bar => bar.value") == 40
    publish(publisher, job_id, 20)
    with site.client() as client:
        client.post(f"/api/jobs/{job_id}/cancel/").raise_for_status()
    elements.locator("job-progress[data-status=cancelled]").first.wait_for()
    expect(fact(first, "queue")).to_have_text(queue_wait(site, job_id))
    expect(fact(first, "started")).to_have_text(re.compile(r"GMT\+9$"))
    wait_until(elements, "received.some(([, name]) => name === 'job-end')")
    received = elements.evaluate("received")
    ids = [one[3] for one in received if one[:2] == ["job-timeline", "job-event"]]
    assert ids == logged_ids(site, job_id)
    assert ["job-timeline", "job-event", "task_progress"] in [one[:3] for one in received]
    assert ["job-progress", "job-end", None] in [one[:3] for one in received]
    rows(elements).get_by_text("s", exact=True).wait_for()
    expect(rows(elements)).to_have_text(["<b>Reading</b>", "s"], use_inner_text=True)


def test_facts_and_steps_of_a_failed_job(
    elements: Any, job_id: str, publisher: SyncRedisStreamPublisher
) -> None:
    publisher.publish_task_started(job_id, "by_hand", data={"run_id": "t"})
    with publisher.span(job_id, "load"):
        pass
    usage = {"input_tokens": 1200, "output_tokens": 30}
    model = {"run_id": "m", "model": "gpt", "status": "done", "seconds": 0, "usage": usage}
    publisher.publish_event(job_id, {"event_type": "model_result", "data": model})
    with pytest.raises(ValueError, match="no card"), publisher.span(job_id, "charge"):
        raise ValueError("no card")
    end = {"run_id": "t", "status": "failed", "seconds": 2}
    publisher.publish_task_failed(job_id, "by_hand", "ValueError: no card", data=end)
    first = elements.locator("job-progress").first
    first.get_by_text("ValueError: no card").wait_for()
    expect(fact(first, "calls")).to_have_text("1")
    expect(fact(first, "tokens")).to_have_text("1,200 / 30")
    wait_until(elements, "document.querySelector('job-timeline').dataset.status === 'failed'")
    rows(elements).get_by_text("charge").wait_for()
    assert sorted(rows(elements).all_inner_texts()) == ["by_hand", "charge", "gpt", "load"]
    elements.locator("job-timeline .row").last.click()
    inspector = elements.locator("job-timeline .job-events-inspector")
    inspector.get_by_text("no card").first.wait_for()


def test_limited_timeline_has_its_own_scroller(
    elements: Any, job_id: str, publisher: SyncRedisStreamPublisher
) -> None:
    for number in range(30):
        with publisher.span(job_id, f"step {number}"):
            pass
    elements.locator("job-timeline .row").first.wait_for()
    box = "document.querySelector('job-timeline').shadowRoot.querySelector('.grid')"
    wait_until(elements, f"{box}.scrollHeight > {box}.clientHeight + 500")
    assert elements.evaluate(f"{box}.clientHeight") < 6 * 28 + 60
    elements.evaluate(f"{box}.scrollTop = 1e6")
    elements.get_by_text("step 29").first.wait_for()


def test_limited_timeline_shows_the_error_that_ended_the_job(
    elements: Any, job_id: str, publisher: SyncRedisStreamPublisher
) -> None:
    publisher.publish_task_started(job_id, "by_hand", data={"run_id": "t"})
    for number in range(30):
        with publisher.span(job_id, f"step {number}"):
            pass
    end = {"run_id": "u", "status": "failed", "seconds": 0}
    publisher.publish_event(
        job_id, {"event_type": "span_started", "data": {"run_id": "u", "name": "last"}}
    )
    publisher.publish_event(
        job_id, {"event_type": "span_finished", "data": {**end, "message": "boom"}}
    )
    publisher.publish_task_failed(job_id, "by_hand", "ValueError: boom")
    elements.locator("job-timeline .row").get_by_text("last").wait_for()
    box = "document.querySelector('job-timeline').shadowRoot.querySelector('.grid')"
    wait_until(elements, f"{box}.scrollTop > 20 * 28")


def test_elements_of_one_job_share_a_connection(elements: Any) -> None:
    assert elements.evaluate("opened.filter((each) => each === 'WebSocket').length") == 1


def test_element_with_changed_job_id_and_removed_elements(
    elements: Any, job_id: str, publisher: SyncRedisStreamPublisher, site: Site
) -> None:
    with site.client() as client:
        other = client.post("/api/jobs/", json={"task_type": "by_hand"}).json()["job_id"]
    elements.evaluate(
        "id => document.querySelector('job-timeline').setAttribute('job-id', id)", other
    )
    event_id = publish(publisher, other, 1)
    wait_until(elements, f"received.some(([, , , id]) => id === '{event_id}')")
    elements.locator("job-timeline").get_by_text("s", exact=True).wait_for()
    ids = [one[3] for one in elements.evaluate("received") if one[3]]
    assert set(logged_ids(site, other)) <= set(ids)
    elements.evaluate(
        "document.querySelectorAll('job-progress, job-timeline').forEach((e) => e.remove())"
    )
    publish(publisher, job_id, 3)
    before = elements.evaluate("received.length")
    elements.wait_for_timeout(300)
    assert elements.evaluate("received.length") == before


def test_element_without_sockets(page: Any, job_id: str) -> None:
    """An empty `socket-url` says that the server has none."""
    page.add_init_script(COUNT_TRANSPORTS)
    page.route("**/own/", lambda route: route.fulfill(
        content_type="text/html", body=f"""<!doctype html><job-progress socket-url=""
        job-id="{job_id}"></job-progress><script type="module"
        src="/static/job_events/job-elements.js"></script>""",
    ))  # fmt: skip
    page.goto("/own/")
    page.locator("job-progress[data-live=true]").wait_for()
    assert page.evaluate("opened") == ["EventSource"]
