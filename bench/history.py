"""A history page of 1,000 events over HTTP against bare reads: `python -m bench.history`.

The baseline reads the same 1,000 entries with redis-py and encodes the same JSON with orjson,
without HTTP, session and database. Ours is requested from a server like by a browser.
"""

import http.client
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import redis

from bench.publishing import EVENT
from bench.ratio import compare
from bench.redis import temporary_redis
from events.publisher import SyncRedisStreamPublisher
from tests.support.site import ROOT, Site, free_port, wait_for_port

PAGE = 1000


def main() -> None:
    with temporary_redis(), tempfile.TemporaryDirectory(prefix="jb") as directory:
        site = Site(Path(directory))
        try:
            site.start(worker=False)
            cookie = prepare(site)
            with gunicorn(site) as port:
                measure(site, cookie, port, "gunicorn, WSGI")
            measure(site, cookie, site.port, "uvicorn, ASGI")
        finally:
            site.stop()


def prepare(site: Site) -> str:
    """Create a job with a page of events; return the session cookie of its owner."""
    with redis.Redis.from_url(site.redis.url) as client:
        events = [{**EVENT, "n": n} for n in range(PAGE - 1)]
        browser = site.session("demo")
        body = {"task_type": "bench", "job_id": "bench"}
        csrf = {"X-CSRFToken": browser.cookies["csrftoken"], "Referer": site.url}
        browser.post("/api/jobs/", json=body, headers=csrf).raise_for_status()
        SyncRedisStreamPublisher(client).publish_events("bench", events)
        browser.close()
        return f"sessionid={browser.cookies['sessionid']}"


@contextmanager
def gunicorn(site: Site) -> Iterator[int]:
    """Run the site under a WSGI server with threads and keep-alive."""
    port = free_port()
    command = ["config.wsgi:application", "--bind", f"127.0.0.1:{port}", "--log-level", "error"]
    options = ["--worker-class", "gthread", "--threads", "2"]
    server = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", *command, *options], cwd=ROOT, env=site.environment
    )
    try:
        wait_for_port(port, server)
        yield port
    finally:
        server.terminate()
        server.wait()


def page_over_http(port: int, cookie: str) -> Callable[[], None]:
    connection = http.client.HTTPConnection("127.0.0.1", port)

    def page() -> None:
        connection.request("GET", "/api/jobs/bench/events/", headers={"Cookie": cookie})
        response = connection.getresponse()
        body = response.read()
        if response.status != http.HTTPStatus.OK or body.count(b'"timestamp"') != 2 * PAGE:
            raise RuntimeError(f"incomplete page: {response.status} {body[:200]!r}")

    return page


def page_from_redis(client: redis.Redis) -> None:
    results = []
    for entry_id, entry in client.xrange("job_events:bench", count=PAGE):
        data = orjson.loads(entry[b"data"])
        results.append(
            {
                "id": entry_id.decode(),
                "job_id": "bench",
                "event_type": data["event_type"],
                "timestamp": data["timestamp"],
                "data": data,
            }
        )
    orjson.dumps({"results": results})


def measure(site: Site, cookie: str, port: int, server: str) -> None:
    claim = f"a page of 1,000 events over HTTP ({server}), rate against bare xrange and orjson"
    with redis.Redis.from_url(site.redis.url) as client:
        ours = page_over_http(port, cookie)
        compare(f"{claim} (at least 0.4)", ours, lambda: page_from_redis(client), pairs=101)


if __name__ == "__main__":
    main()
