"""The run page with 20,000 events, and an hour of 100 events/s: `python -m bench.run_page`.

Chromium reads the log from the real site. Prints the CPU time of the main thread until the page is
ready, the longest task, the layout shift, the time of a seek and of a filter, and the heap after
garbage collection while the log grows by 360,000 events, as fast as the page takes them;
`--real-time` takes the hour. The baseline is a page that reads the same history and appends an
element per event. Before events were drawn in virtual lists, the run page took 6.1 s, and its
layout shifted by 6.95.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import redis

from events.publisher import SyncRedisStreamPublisher
from tests.support.chromium import chromium
from tests.support.showcase import Showcase
from tests.support.showcase_pages import new_page

EVENTS = 20_000
HOUR_EVENTS, EVENTS_PER_SECOND = 360_000, 100
BATCH, MAX_AHEAD, PAGE = 500, 2_000, 1_000
HEAP_SAMPLES = 6
MAX_BUSY_SECONDS, MAX_TASK_MS, MAX_SHIFT, MAX_ACTION_MS, MAX_GROWTH = 1.5, 200, 0.1, 200, 1.25
MIB = 1024 * 1024

OBSERVE = """
globalThis.bench = { longest: 0, long: 0, shift: 0, seen: 0 };
new PerformanceObserver((list) => {
  for (const { duration } of list.getEntries()) {
    bench.longest = Math.max(bench.longest, duration);
    bench.long += duration;
  }
}).observe({ type: "longtask", buffered: true });
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) bench.shift += entry.value;
}).observe({ type: "layout-shift", buffered: true });
document.addEventListener("job-events", ({ detail }) => { bench.seen += detail.events.length; });
"""
PLAIN = """<!doctype html><title>Plain</title><ol></ol><script>
const list = document.querySelector("ol");
const read = async (url) => {
  while (url) {
    const page = await (await fetch(url)).json();
    for (const { id, event_type, timestamp, data } of page.results) {
      const row = document.createElement("li");
      row.textContent = `${timestamp} ${event_type} ${id} ${JSON.stringify(data)}`;
      list.append(row);
    }
    bench.seen += page.results.length;
    url = page.next;
  }
  document.documentElement.dataset.liveState = "ended";
};
read("/api/jobs/JOB/events/?limit=1000");
</script>"""
# Milliseconds until the action has been drawn: the condition holds, and a frame has passed.
TIMED = """async () => {
  const frame = () => new Promise(requestAnimationFrame);
  const rows = (name) => {
    const panel = document.getElementById(`panel-${name}`);
    return [...(panel.firstElementChild?.shadowRoot ?? panel).querySelectorAll("[data-key]")];
  };
  const isShown = (row) => {
    const { top, bottom } = row?.getBoundingClientRect() ?? { top: Infinity };
    return top < innerHeight && bottom > 0;
  };
  const go = (query) => {
    history.pushState(null, "", query);
    dispatchEvent(new PopStateEvent("popstate"));
  };
  const start = performance.now();
  ACTION;
  do await frame(); while (!(CONDITION) && performance.now() - start < 10_000);
  await frame();
  return performance.now() - start;
}"""
END = "scrollTo(0, document.documentElement.scrollHeight)"
FILLED = "rows('{name}').filter(isShown).length > 15"
# (name, action, condition): the fields are an event and a span in the middle of the log.
ACTIONS = (
    ("timeline: jump to the end", END, FILLED.format(name="timeline")),
    (
        "timeline: seek ?span=",
        "go('?tab=timeline&span={span}')",
        "isShown(rows('timeline').find((row) => row.ariaSelected === 'true'))",
    ),
    (
        "timeline: filter ?kind=model",
        "go('?tab=timeline&kind=model')",
        "rows('timeline').filter((row) => row.textContent.includes('gpt-5')).length > 15",
    ),
    (
        "timeline: search ?q=research 99",
        "go('?tab=timeline&q=batteries 99')",
        "rows('timeline').filter((row) => row.textContent.includes('batteries 99')).length > 5",
    ),
    ("first show of the events", "go('?tab=events')", FILLED.format(name="events")),
    ("events: jump to the end", END, FILLED.format(name="events")),
    (
        "events: seek ?event=",
        "go('?tab=events&event={event}')",
        "isShown(rows('events').find((row) => row.dataset.key === '{event}'))",
    ),
    (
        "events: filter ?type=log",
        "go('?tab=events&type=log')",
        "rows('events').length && rows('events').every((row) => row.textContent.includes('log'))",
    ),
)


def log() -> Iterator[dict[str, Any]]:
    """Yield the events of a graph without end: half of spans, then thoughts and log lines."""
    yield event("task_started", "task.1", None)
    number = 0
    while True:
        number += 1
        node, model = f"node-{number}", f"model-{number}"
        yield event("phase_update", node, "task.1", phase=f"analyst_{number % 7}")
        for tool in (f"tool-{number}-1", f"tool-{number}-2"):
            given = {"query": f"batteries {number}", "limit": 10}
            yield event("tool_call", tool, node, tool="web_search", input=given)
            yield {"event_type": "log", "level": "info", "message": f"\x1b[32mok\x1b[0m {tool}"}
            end = {"status": "done", "seconds": 0.2}
            yield event("tool_result", tool, node, tool="web_search", output="10 results", **end)
        yield event("model_call", model, node, model="gpt-5", messages=[])
        for word in range(5):
            yield event(
                "thought", model, node, model="gpt-5", text=f"Sentence {word} of {number}. "
            )
        usage = {"input_tokens": 900, "output_tokens": 120, "total_tokens": 1020}
        done = {"status": "done", "seconds": 0.8}
        yield event("model_result", model, node, model="gpt-5", usage=usage, withheld=[], **done)
        level = "warning" if number % 50 else "error"
        yield {"event_type": "log", "level": level, "message": f"retry of request {number}"}
        yield event("phase_result", node, "task.1", phase=f"analyst_{number % 7}", **done)


def event(event_type: str, run_id: str, parent: str | None, **data: Any) -> dict[str, Any]:
    ids = {"run_id": run_id, "parent_run_id": parent, "node": None}
    return {"event_type": event_type, "data": {**data, **ids}}


@dataclass
class Bench:
    """The site, the browser, and the limits that were not met."""

    site: Showcase
    browser: Any
    publisher: SyncRedisStreamPublisher
    failed: int = 0

    def check(self, name: str, value: float, limit: float, unit: str = "") -> None:
        is_met = value <= limit
        self.failed += not is_met
        verdict = "PASS" if is_met else "FAIL"
        print(f"{verdict}  {name}: {value:,.2f}{unit} (at most {limit:,.2f}{unit})", flush=True)

    def job(self, events: Iterator[dict[str, Any]], count: int) -> str:
        """Create a job with a log; wait until it is archived, as that of an old job is."""
        job_id = self.site.create("plain", "Benchmark", {})
        for _ in range(count // BATCH):
            self.publisher.publish_events(job_id, list(islice(events, BATCH)))
        deadline = monotonic() + 120
        with self.site.client() as client:
            while client.get(f"/api/jobs/{job_id}/").json()["event_count"] < count:
                if monotonic() > deadline:
                    raise RuntimeError("the log is not archived")
                sleep(0.2)
        return job_id

    def open(self, path: str, state: str, plain: str = "") -> tuple[Any, Any]:
        """Open a page; return it and its CDP session when its live state is `state`."""
        page = new_page(self.browser, self.site, viewport={"width": 1440, "height": 900})
        page.add_init_script(OBSERVE)
        if plain:
            page.route(path, lambda route: route.fulfill(body=plain, content_type="text/html"))
        cdp = page.context.new_cdp_session(page)
        cdp.send("Performance.enable", {"timeDomain": "threadTicks"})
        page.goto(path)
        page.wait_for_selector(f":root[data-live-state={state}]", state="attached", timeout=120_000)
        page.wait_for_timeout(1_500)  # the observers report later
        return page, cdp


def metric(cdp: Any, name: str) -> float:
    values = cdp.send("Performance.getMetrics")["metrics"]
    return float(next(each["value"] for each in values if each["name"] == name))


def heap(cdp: Any) -> float:
    """Return the MiB in use after garbage collection."""
    for _ in range(3):
        cdp.send("HeapProfiler.collectGarbage")
    return metric(cdp, "JSHeapUsedSize") / MIB


def measure_load(bench: Bench) -> None:
    job_id = bench.job(log(), EVENTS)
    page, cdp = bench.open("/plain/", "ended", PLAIN.replace("JOB", job_id))
    plain = metric(cdp, "TaskDuration")
    print(f"baseline, an element per event: {plain:.2f} s of the main thread")
    page.context.close()
    bench.publisher.publish_event(job_id, {"event_type": "task_completed"})
    page, cdp = bench.open(f"/jobs/job/{job_id}/", "ended")
    busy, observed = metric(cdp, "TaskDuration"), page.evaluate("bench")
    if observed["seen"] < EVENTS:
        raise RuntimeError(f"the page has {observed['seen']} events")
    bench.check("main thread until the page is ready", busy, MAX_BUSY_SECONDS, " s")
    bench.check("share of the baseline's", busy / plain, 1)
    bench.check("longest task", observed["longest"], MAX_TASK_MS, " ms")
    bench.check("layout shift", observed["shift"], MAX_SHIFT)
    measure_actions(bench, page, job_id)
    page.context.close()


def measure_actions(bench: Bench, page: Any, job_id: str) -> None:
    fields = middle_of(bench.site, job_id)
    for name, action, condition in ACTIONS:
        script = TIMED.replace("ACTION", action).replace("CONDITION", condition)
        for field, value in fields.items():
            script = script.replace(f"{{{field}}}", value)
        bench.check(name, page.evaluate(script), MAX_ACTION_MS, " ms")


def middle_of(site: Showcase, job_id: str) -> dict[str, str]:
    """Return the ids of an event and a span in the middle of the log."""
    with site.client() as client:
        after = "0"
        for _ in range(EVENTS // 2 // PAGE):
            query = {"after": after, "limit": PAGE}
            page = client.get(f"/api/jobs/{job_id}/events/", params=query).json()
            after = page["cursor"]
    last = next(each for each in reversed(page["results"]) if each["event_type"] == "tool_call")
    return {"event": last["id"], "span": last["data"]["data"]["run_id"]}


def measure_heap(bench: Bench, is_real_time: bool) -> None:
    events = log()
    job_id = bench.job(events, EVENTS)
    page, cdp = bench.open(f"/jobs/job/{job_id}/", "live")
    heaps = [heap(cdp)]
    page.evaluate("bench.longest = 0")
    print(f"heap with {EVENTS:,} events: {heaps[0]:.1f} MiB")
    start, published, longest = monotonic(), 0, 0.0
    for sample in range(1, HEAP_SAMPLES + 1):
        while published < HOUR_EVENTS * sample // HEAP_SAMPLES:
            bench.publisher.publish_events(job_id, list(islice(events, BATCH)))
            published += BATCH
            if is_real_time:
                sleep(max(0, start + published / EVENTS_PER_SECOND - monotonic()))
            else:
                wait_for(page, EVENTS + published - MAX_AHEAD)
        wait_for(page, EVENTS + published)
        longest = max(longest, page.evaluate("bench.longest"))
        heaps.append(heap(cdp))
        page.evaluate("bench.longest = 0")  # of the collection
        rate = published / (monotonic() - start)
        print(f"heap after {published:,} events: {heaps[-1]:.1f} MiB ({rate:,.0f}/s)", flush=True)
    # The window is full after the first sample.
    bench.check("growth of the heap from the first sample", heaps[-1] / heaps[1], MAX_GROWTH)
    bench.check("longest task while following", longest, MAX_TASK_MS, " ms")


def wait_for(page: Any, seen: int) -> None:
    """Wait until the page has received so many events."""
    deadline = monotonic() + 60
    while page.evaluate("bench.seen") < seen:
        if monotonic() > deadline:
            raise RuntimeError(f"the page has {page.evaluate('bench.seen')} of {seen} events")
        page.wait_for_timeout(20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real-time", action="store_true", help="100 events/s for an hour")
    parser.add_argument("--no-heap", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="je") as directory:
        site = Showcase(Path(directory))
        try:
            site.start(worker=False)
            with chromium() as browser, redis.Redis.from_url(site.redis.url) as client:
                bench = Bench(site, browser, SyncRedisStreamPublisher(client))
                measure_load(bench)
                if not options.no_heap:
                    measure_heap(bench, options.real_time)
        finally:
            site.stop()
    sys.exit(bench.failed > 0)


if __name__ == "__main__":
    main()
