"""A history page of 1,000 events over HTTP, against the bare work: `python -m bench.history`."""

import tempfile
from pathlib import Path

import orjson
import redis

from bench.publishing import EVENT
from bench.ratio import compare
from bench.redis import own_redis
from events.publisher import SyncRedisStreamPublisher
from tests.support.site import Site

PAGE = 1000


def main() -> None:
    with own_redis(), tempfile.TemporaryDirectory(prefix="jb") as directory:
        site = Site(Path(directory))
        try:
            site.start(worker=False)
            measure(site)
        finally:
            site.stop()


def measure(site: Site) -> None:
    client = redis.Redis.from_url(site.redis.url)
    browser = site.session("demo")
    body = {"task_type": "bench", "job_id": "bench"}
    csrf = {"X-CSRFToken": browser.cookies["csrftoken"], "Referer": site.url}
    browser.post("/api/jobs/", json=body, headers=csrf).raise_for_status()
    publisher = SyncRedisStreamPublisher(client)
    publisher.publish_events("bench", [{**EVENT, "n": n} for n in range(PAGE - 1)])

    def ours() -> None:
        answer = browser.get("/api/jobs/bench/events/")
        answer.raise_for_status()
        if answer.content.count(b'"job_id":"bench","event_type"') != PAGE:
            raise RuntimeError("the page is not whole")

    def baseline() -> None:
        entries = client.xrange("job_events:bench", count=PAGE)
        events = [
            {"id": entry_id.decode(), "job_id": "bench", "data": orjson.loads(entry[b"data"])}
            for entry_id, entry in entries
        ]
        orjson.dumps(events)

    claim = "a page of 1,000 events over HTTP, rate against bare xrange and orjson (at least 0.4)"
    compare(claim, ours, baseline, pairs=51)
    browser.close()
    client.close()


if __name__ == "__main__":
    main()
