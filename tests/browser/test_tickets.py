"""Clients that are not logged in and have a ticket."""

from collections.abc import Iterator
from typing import Any

import pytest

from events.publisher import SyncRedisStreamPublisher
from tests.browser.test_client import COUNT_TRANSPORTS, MISDIRECT_WEBSOCKETS, publish
from tests.support.nginx import at_port
from tests.support.site import Site, free_port

pytestmark = pytest.mark.browser

EVENT_SOURCE = """url => {
  globalThis.received = [];
  new EventSource(url).onmessage = ({ data }) => received.push(JSON.parse(data).event_type);
}"""
WATCH_JOB = """async ([jobId, tickets]) => {
  globalThis.received = [];
  const { watchJob } = await import("/static/job_events/job-events.js");
  const onEvent = ({ event_type }) => received.push(event_type);
  watchJob(jobId, { onEvent, ticket: async () => tickets.pop() });
}"""

AN_HOUR_LATER = """
from datetime import timedelta
from django.db.models import F
from jobs.models import Ticket
Ticket.objects.update(created_at=F("created_at") - timedelta(hours=1))
"""


def new_ticket(site: Site, job_id: str) -> str:
    with site.client() as client:
        return str(client.post(f"/api/jobs/{job_id}/ticket/").json()["ticket"])


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page of the site without a login."""
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.route("**/own/", lambda route: route.fulfill(content_type="text/html", body="<p>Own"))
    yield page
    context.close()


def wait_for_types(page: Any, *event_types: str) -> None:
    """Wait until the page has received these events, and no others."""
    page.wait_for_function("types => String(received) === types", arg=",".join(event_types))


def test_event_source_reconnects_with_its_url(
    page: Any, site: Site, job_id: str, publisher: SyncRedisStreamPublisher
) -> None:
    path = f"/api/jobs/{job_id}/events/stream/?ticket={new_ticket(site, job_id)}"
    web = at_port(site, free_port())
    process = web.start_web()
    page.goto(f"{web.url}/own/")
    page.evaluate(EVENT_SOURCE, path)
    wait_for_types(page, "job_created")
    web.stop_child(process)
    site.manage("shell", "--verbosity", "0", "-c", AN_HOUR_LATER)
    publish(publisher, job_id, 1)
    process = web.start_web()
    wait_for_types(page, "job_created", "s")
    web.stop_child(process)


def test_client_falls_back_to_sse_with_tickets(page: Any, site: Site, job_id: str) -> None:
    page.add_init_script(COUNT_TRANSPORTS)
    page.add_init_script(MISDIRECT_WEBSOCKETS)
    page.goto(f"{site.url}/own/")
    page.evaluate(WATCH_JOB, [job_id, [new_ticket(site, job_id) for _ in range(3)]])
    wait_for_types(page, "job_created")
    assert page.evaluate("opened") == ["WebSocket", "EventSource"]
