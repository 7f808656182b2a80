"""The log of a job in the browser: history, live events, its window."""

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from events.publisher import SyncRedisStreamPublisher
from tests.browser.support import logged_ids, wait_until
from tests.browser.test_client import publish
from tests.support.site import Site

pytestmark = [pytest.mark.browser, pytest.mark.extended]

OPEN = """async ([jobId, names]) => {
  const { openLog } = await import("/static/job_events/job-log.js");
  globalThis.calls = [];
  globalThis.batches = [];
  const record = (name) => (...args) => calls.push([name, ...args]);
  const recorded = ["onReset", "onLive", "onEnd", "onStatus"];
  const options = Object.fromEntries(recorded.map((name) => [name, record(name)]));
  options.onEvents = (events) => batches.push(events.length);
  options.onTrim = (events) => calls.push(["onTrim", events.length, events[0].id]);
  // A transport of the test: `link` delivers events.
  if (names.includes("fake")) options.transports = [(link) => {
    globalThis.link = link;
    return record("stop");
  }];
  if (names.includes("ticket")) options.ticket = () => "t";
  globalThis.log = openLog(jobId, options);
}"""
IDS = "log.events.map((event) => event.id)"


@pytest.fixture
def own(page: Any) -> Any:
    """An empty page of the site."""
    page.route("**/own/", lambda route: route.fulfill(content_type="text/html", body="<p>Own"))
    page.goto("/own/")
    return page


def open_log(page: Any, job_id: str, *names: str) -> None:
    page.evaluate(OPEN, [job_id, names])


def serve(page: Any, count: int, refusals: list[int] | None = None, data: str = "") -> list[str]:
    """Answer history requests for a log of `count` events; return the queries."""
    queries: list[str] = []
    statuses = refusals or []

    def answer(route: Any) -> None:
        query = urlsplit(route.request.url).query
        queries.append(query)
        if statuses:
            return route.fulfill(status=statuses.pop(0), body="{}")
        values = parse_qs(query)
        before = int(values.get("before", [f"{count + 1}-0"])[0].split("-")[0])
        numbers = range(before - 1, max(0, before - 1001), -1)
        results = [
            {
                "id": f"{n}-0",
                "job_id": "x",
                "event_type": "s",
                "timestamp": "",
                "data": {"text": data},
            }
            for n in numbers
        ]
        body = {"results": results, "next": "more" if before > 1001 else None}
        return route.fulfill(content_type="application/json", body=json.dumps(body))

    page.route("**/api/jobs/*/events/?*", answer)
    return queries


def test_history_then_live_events(
    own: Any, site: Site, job_id: str, publisher: SyncRedisStreamPublisher
) -> None:
    publish(publisher, job_id, 1500)
    open_log(own, job_id)
    wait_until(own, "calls.some(([name]) => name === 'onLive')")
    last = publish(publisher, job_id, 3)
    wait_until(own, f"log.events.at(-1).id === '{last}'")
    assert own.evaluate(IDS) == logged_ids(site, job_id)
    assert own.evaluate("[log.hasEarlier, log.ended, log.status]") == [False, False, "live"]
    assert own.evaluate("batches.slice(0, 4)") == [500, 500, 500, 1]
    with site.client() as client:
        client.post(f"/api/jobs/{job_id}/cancel/").raise_for_status()
    wait_until(own, "log.ended")
    assert own.evaluate(IDS) == logged_ids(site, job_id)
    assert own.evaluate("log.status") == "ended"


def test_window_of_a_long_log(own: Any) -> None:
    queries = serve(own, 32_500)
    open_log(own, "long", "fake")
    wait_until(own, "globalThis.link")
    assert own.evaluate("[log.events.length, log.events[0].id, log.hasEarlier]") == [
        25_000, "7501-0", True,
    ]  # fmt: skip
    assert len(queries) == 25
    assert own.evaluate("link.cursor()") == "32500-0"
    earlier = own.evaluate("log.loadEarlier().then((events) => events.length)")
    assert earlier == 5_000
    assert own.evaluate("[log.events.length, log.events[0].id, log.hasEarlier]") == [
        30_000, "2501-0", True,
    ]  # fmt: skip
    assert own.evaluate("log.loadEarlier().then((events) => events.length)") == 2_500
    assert own.evaluate("[log.events[0].id, log.hasEarlier]") == ["1-0", False]
    own.evaluate("link.deliver({ id: '32501-0' })")
    wait_until(own, "calls.some(([name]) => name === 'onTrim')")
    assert own.evaluate("calls.find(([name]) => name === 'onTrim')") == ["onTrim", 5_000, "1-0"]
    assert own.evaluate("[log.events.length, log.hasEarlier]") == [27_501, True]


def test_history_of_large_events_is_read_in_part(own: Any) -> None:
    queries = serve(own, 3_000, data="x" * 26_000)
    open_log(own, "x", "fake")
    wait_until(own, "globalThis.link")
    assert own.evaluate("[log.events.length, log.hasEarlier]") == [2_000, True]
    assert len(queries) == 2


def test_failed_requests_are_repeated(own: Any) -> None:
    serve(own, 5, [503, 429, 502])
    open_log(own, "x", "fake")
    wait_until(own, "globalThis.link")
    assert own.evaluate("log.events.length") == 5
    assert own.evaluate("calls.map(([, status]) => status)") == [
        "loading", "reconnecting", "reconnecting", "reconnecting", "loading", "connecting",
    ]  # fmt: skip


@pytest.mark.parametrize("status", [401, 403, 404])
def test_refusal(own: Any, status: int) -> None:
    serve(own, 5, [status])
    open_log(own, "x", "fake")
    wait_until(own, "log.status === 'refused'")
    (call,) = own.evaluate("calls.slice(1)")
    assert call[:2] == ["onStatus", "refused"]
    assert call[2]["refused"] == status
    assert own.evaluate("globalThis.link") is None


def test_refusal_of_earlier_events_ends_the_watch(own: Any) -> None:
    refusals = [503]
    serve(own, 27_000, refusals)
    open_log(own, "x", "fake")
    wait_until(own, "globalThis.link")
    refusals.append(403)
    assert own.evaluate("log.loadEarlier()") == []
    assert own.evaluate("calls.slice(-2).map(([name]) => name)") == ["stop", "onStatus"]
    assert own.evaluate("log.status") == "refused"


def test_reset_reads_the_log_again(own: Any) -> None:
    queries = serve(own, 5)
    open_log(own, "x", "fake")
    wait_until(own, "globalThis.link")
    own.evaluate("() => { link.deliver({ id: '6-0' }); link.reset({ reason: 'lost' }); }")
    wait_until(own, "calls.some(([name]) => name === 'onReset')")
    own.evaluate("() => { globalThis.link = null; }")
    wait_until(own, "globalThis.link")
    assert own.evaluate(IDS) == [f"{n}-0" for n in range(1, 6)]
    assert own.evaluate("link.cursor()") == "5-0"
    assert len(queries) == 2


def test_ticket_reads_the_log_by_its_transport(own: Any) -> None:
    queries = serve(own, 5)
    open_log(own, "x", "fake", "ticket")
    wait_until(own, "globalThis.link")
    own.evaluate(
        "() => { for (let n = 1; n < 4; n++) link.deliver({ id: `${n}-0` }); link.live('live') }"
    )
    assert own.evaluate(IDS) == ["1-0", "2-0", "3-0"]
    assert own.evaluate("link.query") == "&ticket=t"
    assert queries == []


def test_closed_log_is_silent(own: Any) -> None:
    serve(own, 5)
    open_log(own, "x", "fake")
    wait_until(own, "globalThis.link")
    own.evaluate("() => { link.deliver({ id: '6-0' }); log.close(); link.deliver({ id: '7-0' }); }")
    own.wait_for_timeout(100)
    assert own.evaluate("[log.events.length, batches]") == [5, [5]]


def test_invalid_arguments_throw(own: Any) -> None:
    code = """async () => {
      const { openLog } = await import("/static/job_events/job-log.js");
      const texts = [];
      for (const args of [["a b"], ["a", { onEvent() {} }], ["a", { onEvents: 5 }]])
        try { openLog(...args) } catch (error) { texts.push(String(error)) }
      return texts;
    }"""
    texts = own.evaluate(code)
    assert [text.split(":")[0] for text in texts] == ["TypeError"] * 3
    assert "unknown option onEvent" in texts[1]
    assert "onEvents must be a function. Given: 5." in texts[2]
