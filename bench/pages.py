"""A page of 1,000 events from the API, against bare work: `python -m bench.pages`.

All are views called through Django's test client, with the site's middleware. The bare ones read
the same events with `xrange` or one SELECT, encode the same JSON with orjson, and check no
permissions. The other is Django REST framework's ModelSerializer.
"""

import argparse
from collections.abc import Callable
from typing import Any

import orjson

from bench.archiving import archive_all
from bench.databases import run_benchmark, set_up_django
from bench.publishing import EVENT
from bench.ratio import compare

PAGE = 1000
HOT, COLD = "hot", "cold"
SELECT = """
    SELECT event_id, event_type, timestamp, data FROM job_events_archivedevent
    WHERE log_id = (SELECT id FROM job_events_eventlog WHERE job_id = %s) ORDER BY event_id LIMIT %s
"""


def measure(options: argparse.Namespace) -> None:
    set_up_django()
    from django.conf import settings

    user = make_jobs()
    settings.ROOT_URLCONF = "bench.page_urls"
    get = getter(user)
    hot_page, cold_page = (f"/api/jobs/{job_id}/events/" for job_id in (HOT, COLD))
    claim = f"a page of {PAGE} events from the %s (%s): "
    bare = "time of bare %s, orjson and an empty view against ours (at least 0.67)"
    where = (("stream", "Redis", hot_page, "xrange"), ("archive", options.on, cold_page, "SELECT"))
    for end, server, path, reading in where:
        name = claim % (end, server) + bare % reading
        compare(name, get(path), get(f"/bare/{end}/"), pairs=options.pairs)
    name = claim % ("archive", options.on) + "time by a ModelSerializer against ours (at least 5)"
    compare(name, get(cold_page), get("/serializer/"), pairs=min(options.pairs, 31))


def make_jobs() -> Any:
    """Create a user with one job whose log is in the stream, and one whose log is archived."""
    from django.contrib.auth import get_user_model

    from events.publisher import get_publisher
    from events.streams.clients import get_redis
    from jobs.models import Job

    user = get_user_model().objects.create_user("anna")
    for job_id in (COLD, HOT):
        Job.objects.create(job_id=job_id, owner=user)
        get_publisher().publish_events(job_id, [{**EVENT, "n": n} for n in range(PAGE)])
        if job_id == COLD:
            archive_all()
            get_redis().delete(f"job_events:{COLD}")
    return user


def getter(user: Any) -> Callable[[str], Callable[[], None]]:
    """Return a function that returns a request for a page, which checks the response."""
    from django.test import Client

    client = Client(headers={"Accept": "application/json"}, SERVER_NAME="localhost")
    client.force_login(user)

    def request_of(path: str) -> Callable[[], None]:
        def get() -> None:
            response = client.get(path, secure=True)
            if response.status_code != 200 or response.content.count(b'"event_type"') < PAGE:
                raise RuntimeError(f"not the whole page: {response.content[:200]!r}")

        return get

    for job_id, end in ((HOT, "stream"), (COLD, "archive")):
        paths = f"/api/jobs/{job_id}/events/", f"/bare/{end}/"
        ours, bare = (orjson.loads(client.get(path).content)["results"] for path in paths)
        if ours != bare:
            raise RuntimeError(f"the pages of {job_id} are not the same: {ours[0]} {bare[0]}")
    return request_of


if __name__ == "__main__":
    run_benchmark("bench.pages", measure, pairs=101)
