"""A front end on another origin: the steps of projects.md, with django-cors-headers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.test_client import COUNT_TRANSPORTS
from tests.integration.test_documents import snippets
from tests.support.nginx import another_web, extend_settings
from tests.support.redis_nodes import wait_until
from tests.support.site import ROOT, Site

pytestmark = [pytest.mark.browser, pytest.mark.extended]

GUIDE = ROOT / "docs" / "projects.md"
FRONT_END = "https://app.example.org"  # of the guide
SERVER = "https://jobs.example.org"
PACKAGE = ROOT / "events" / "static" / "job_events"
FETCH = """async ([url, options]) => {
  const response = await fetch(url, options);
  return [response.status, response.headers.get("ETag") ?? response.headers.get("Retry-After")];
}"""


@pytest.fixture(scope="module")
def other(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The web server of the site with the settings of the guide."""
    lines = snippets(GUIDE)["cors"]
    assert FRONT_END in lines
    folder = tmp_path_factory.mktemp("cors")
    with another_web(site, **extend_settings(folder, lines)) as other:
        yield other


@pytest.fixture
def page(browser: Any, other: Site) -> Iterator[Any]:
    """A page of the front end, which serves the package for npm itself, and has a ticket view."""
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(30_000)
    page.refused = False

    def serve(route: Any) -> None:
        path = Path(route.request.url)
        if path.suffix == ".js":
            route.fulfill(content_type="text/javascript", body=(PACKAGE / path.name).read_text())
        elif "/tickets/" in route.request.url:
            ticket = None if page.refused else new_ticket(other, path.name)
            route.fulfill(status=403 if page.refused else 201, json={"ticket": ticket})
        else:
            route.fulfill(content_type="text/html", body="<p>App")

    page.route(f"{FRONT_END}/**", serve)
    page.add_init_script(COUNT_TRANSPORTS)
    page.goto(f"{FRONT_END}/")
    yield page
    context.close()


def new_ticket(site: Site, job_id: str) -> str:
    with site.client() as client:
        return str(client.post(f"/api/jobs/{job_id}/ticket/").json()["ticket"])


def watch(page: Any, site: Site, job_id: str, *transports: str) -> None:
    """Run the snippet of the guide, with these transports."""
    code = snippets(GUIDE, "js")["watch-another-origin"]
    more = f"transports: [{', '.join(transports)}]," if transports else ""
    for given, here in (
        (f"{SERVER}/", f"{site.url}/"),
        ('"abc"', repr(job_id)),
        ("/tickets/abc/", f"/tickets/{job_id}/"),
        ("ticket: async", f"{more} ticket: async"),
        ("console.log(event_type, data)", "received.push(event_type)"),
        ('console.log(status, detail?.message ?? "")', "states.push([status, detail?.message])"),
    ):
        assert given in code
        code = code.replace(given, here)
    names = "watchJob, eventSource, polling"
    page.evaluate(
        "async () => { globalThis.received = []; globalThis.states = [];"
        f" const {{ {names} }} = await import('/job-events.js'); {code} }}"
    )


@pytest.mark.parametrize("transport", [None, "eventSource", "polling"])
def test_events_arrive_with_a_ticket(
    page: Any, other: Site, job_id: str, transport: str | None, publisher: Any
) -> None:
    watch(page, other, job_id, *filter(None, [transport]))
    page.wait_for_function("['live', 'polling'].includes(states.at(-1)?.[0])")
    publisher.publish_event(job_id, {"event_type": "news"})
    page.wait_for_function("String(received) === 'job_created,news'")
    opened = {None: ["WebSocket"], "eventSource": ["EventSource"], "polling": []}
    assert page.evaluate("opened") == opened[transport]


def test_client_falls_back_to_sse(page: Any, other: Site, job_id: str) -> None:
    page.evaluate("() => { delete globalThis.WebSocket; }")
    watch(page, other, job_id)
    page.wait_for_function("String(received) === 'job_created'")
    assert page.evaluate("opened") == ["EventSource"]


@pytest.mark.parametrize("transport", [None, "eventSource", "polling"])
def test_reason_of_a_refusal(page: Any, other: Site, job_id: str, transport: str | None) -> None:
    """The ticket is of another job."""
    page.route("**/tickets/**", lambda route: route.fulfill(json={"ticket": "expired"}))
    watch(page, other, job_id, *filter(None, [transport]))
    page.wait_for_function("states.at(-1)?.[0] === 'ended'")
    assert "needs the option `ticket`" in page.evaluate("states.at(-1)[1]")


def test_reason_of_a_failed_ticket(page: Any, other: Site, job_id: str) -> None:
    page.refused = True
    watch(page, other, job_id)
    page.wait_for_function("states.some(([, message]) => message)")
    assert page.evaluate("states.at(-1)") == ["reconnecting", "No ticket: no ticket: HTTP 403"]


def test_api_with_the_headers_of_a_program(page: Any, other: Site, job_id: str) -> None:
    """The browser sends a preflight request for headers that are not safelisted."""
    auth = {"Authorization": "Basic ZGVtbzpkZW1v", "Content-Type": "application/json"}
    create = {
        "method": "POST",
        "headers": {**auth, "Idempotency-Key": "another-origin"},
        "body": '{"task_type": "by_hand"}',
    }
    assert page.evaluate(FETCH, [f"{other.url}/api/jobs/", create])[0] == 201
    job = f"{other.url}/api/jobs/{job_id}/"
    publish = {
        "method": "POST",
        "headers": {**auth, "Producer-Id": "p", "Producer-Sequence": "1", "Producer-Epoch": "1"},
        "body": '{"event_type": "x"}',
    }
    assert page.evaluate(FETCH, [f"{job}events/", publish])[0] == 201

    def is_unchanged() -> bool:
        status, etag = page.evaluate(FETCH, [job, {"headers": auth}])
        assert (status, bool(etag)) == (200, True)
        again = {"headers": {**auth, "If-None-Match": etag}, "cache": "no-store"}
        return page.evaluate(FETCH, [job, again])[0] == 304

    wait_until(is_unchanged)  # the archived events change the job
    stream = {"headers": {**auth, "Last-Event-ID": "0"}}
    assert page.evaluate(FETCH, [f"{job}events/stream/", stream])[0] == 200


def test_origin_that_is_not_listed(page: Any, other: Site, job_id: str) -> None:
    page.route("https://evil.example.org/**", lambda route: route.fulfill(body="<p>App"))
    page.goto("https://evil.example.org/")
    with pytest.raises(Exception, match="Failed to fetch"):
        page.evaluate(FETCH, [f"{other.url}/api/jobs/{job_id}/", {}])


def test_elements_with_tickets(page: Any, other: Site, job_id: str, publisher: Any) -> None:
    """They read the log without the history, which accepts no tickets."""
    with publisher.span(job_id, "load"):
        pass
    page.evaluate(
        """([server, id]) => {
          for (const name of ["job-progress", "job-timeline"]) {
            const element = document.createElement(name);
            element.setAttribute("base-url", `${server}/api/jobs/`);
            element.setAttribute("ticket-url", `/tickets/${id}/`);
            element.setAttribute("job-id", id);
            document.body.append(element);
          }
          return import("/job-elements.js");
        }""",
        [other.url, job_id],
    )
    page.locator("job-progress[data-live=true]").wait_for()
    page.locator("job-timeline .row").get_by_text("load").wait_for()
    publisher.publish_task_progress(job_id, "by_hand", 40)
    page.locator("job-progress").get_by_text("40%").wait_for()
    assert page.evaluate("opened") == ["WebSocket"]
