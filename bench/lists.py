"""Lists and searches of many jobs against the same with 10,000 jobs: `python -m bench.lists`.

Measures requests of the admin, the API and the pages, as a member of staff who sees all jobs and as
an owner. The baseline is the time of the same request before the other jobs and events are added.
"""

import argparse
from collections.abc import Callable, Iterable
from functools import partial
from statistics import median
from typing import Any

import orjson

from bench.databases import run_benchmark, set_up_django
from bench.ratio import seconds

FEW = 10_000
BATCH_JOBS = 5_000
OWNERS = 50
REPETITIONS = 9
FIRST = 1_700_000_000_000
ADMIN_JOBS, ADMIN_LOGS = "/admin/job_events_jobs/job/", "/admin/job_events/eventlog/"
PATHS = {
    "staff": (
        ADMIN_JOBS, f"{ADMIN_JOBS}?p=99", f"{ADMIN_JOBS}?q=job-77", f"{ADMIN_JOBS}?q=cinnamon",
        f"{ADMIN_JOBS}?q=report", f"{ADMIN_JOBS}?q=owner7", f"{ADMIN_JOBS}?task_type=rare",
        f"{ADMIN_JOBS}?status__exact=failed", ADMIN_LOGS, f"{ADMIN_LOGS}?p=99",
        f"{ADMIN_LOGS}?q=job-77", "/jobs/", "/jobs/?q=cinnamon", "/jobs/?status=failed",
    ),
    "owner7": (
        "/api/jobs/", "/api/jobs/?search=job-77", "/api/jobs/?search=cinnamon",
        "/api/jobs/?search=report", "/api/jobs/?status=failed", "/api/jobs/?ordering=-finished_at",
        "/api/job-counts/", "/api/jobs/job-7/events/", "/api/events/",
        "/api/events/?search=cinnamon",
    ),
}  # fmt: skip


def measure(options: argparse.Namespace) -> None:
    set_up_django()
    owners = make_users()
    fill(range(FEW), owners, options.events * FEW // options.jobs)
    before = {path: took(request) for path, request in requests()}
    fill(range(FEW, options.jobs), owners, options.events)
    for path, request in requests():
        after = took(request)
        print(
            f"{path} with {options.jobs} jobs and {options.events} events on {options.on}:"
            f" {after / before[path]:.2f} of the time with {FEW} jobs (at most 3)"
        )


def requests() -> Iterable[tuple[str, Callable[[], object]]]:
    from django.contrib.auth import get_user_model
    from django.test import Client

    for name, paths in PATHS.items():
        client = Client(headers={"host": "localhost"})
        client.force_login(get_user_model().objects.get(username=name))
        for path in paths:
            yield f"{name}: {path}", partial(get, client, path)


def get(client: Any, path: str) -> None:
    response = client.get(path, secure=True)
    if response.status_code != 200:
        raise RuntimeError(f"{path}: {response.status_code} {response.content[:500]!r}")


def took(request: Callable[[], object]) -> float:
    """Return the median seconds of some repetitions; the first one is not counted."""
    request()
    return median(seconds(request) for _ in range(REPETITIONS))


def make_users() -> list[Any]:
    from django.contrib.auth import get_user_model

    users = get_user_model().objects
    users.create_superuser("staff")
    return [users.create_user(f"owner{number}") for number in range(OWNERS)]


def fill(numbers: range, owners: list[Any], events: int) -> None:
    """Add jobs and their events; a thousandth of the jobs has a rare title and type."""
    from django.utils import timezone

    from jobs.models import Job

    per_job, now = max(1, events // numbers.stop), timezone.now()
    for start in range(numbers.start, numbers.stop, BATCH_JOBS):
        batch = range(start, min(start + BATCH_JOBS, numbers.stop))
        Job.objects.bulk_create(
            Job(
                job_id=f"job-{n}",
                owner=owners[n % OWNERS],
                title=f"Report {n}" + (" cinnamon" if n % 1000 == 7 else ""),
                task_type="rare" if n % 1000 == 7 else "manual",
                status="failed" if n % 100 == 7 else "completed",
                started_at=now,
                finished_at=now,
            )
            for n in batch
        )
        fill_events([f"job-{n}" for n in batch], per_job, start)
    analyse()


def fill_events(job_ids: list[str], per_job: int, start: int) -> None:
    from django.db import transaction

    from events.archive import store
    from events.types import Cursor, Event

    with transaction.atomic():
        checkpoints, batch = store.get_or_create_checkpoints(job_ids), {}
        for number, job_id in enumerate(job_ids, start):
            text = "cinnamon" if number % 1000 == 7 else "tea"
            raw = orjson.dumps({"event_type": "thought", "text": text})
            ids = (str(Cursor(FIRST + number, sequence)) for sequence in range(per_job))
            events = [Event(each, job_id, "thought", "", raw) for each in ids]
            batch[checkpoints[job_id].log_id] = events
        store.insert_batch(batch)
        store.advance_checkpoints({pk: own[-1].cursor for pk, own in batch.items()})


def analyse() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("ANALYZE" if connection.vendor == "sqlite" else "VACUUM ANALYZE")


if __name__ == "__main__":
    run_benchmark("bench.lists", measure, jobs=1_000_000, events=5_000_000)
