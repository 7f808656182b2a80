"""An export of a million events, against a bare cursor: `python -m bench.exporting`.

The baseline reads the same rows with a cursor of the database driver, and writes the same lines
with orjson. The view is requested under WSGI. Memory is the growth of the process.
"""

import argparse
import resource
from collections.abc import Iterator
from typing import Any

import orjson

from bench.archive_pages import fill
from bench.databases import run_benchmark, set_up_django
from bench.pages import SELECT
from bench.ratio import compare

JOB = "job-0"
FETCHED_ROWS = 2000


def measure(options: argparse.Namespace) -> None:
    set_up_django()
    from django.contrib.auth import get_user_model

    from jobs.models import Job

    fill("default", options.events, jobs=1)
    user = get_user_model().objects.create_user("anna")
    Job.objects.create(job_id=JOB, owner=user)

    def ours() -> None:
        check_count(export_lines(user), options.events)

    def baseline() -> None:
        check_count(baseline_lines(options.events), options.events)

    ours()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    claim = (
        f"export of {options.events} events on {options.on}, rate against a bare cursor and orjson"
    )
    ours()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"growth of the process in an export of {options.events} events: {grown} KiB")
    compare(f"{claim} (at least 0.5)", ours, baseline, pairs=options.pairs)


def check_count(chunks: Iterator[bytes], events: int) -> None:
    lines = sum(chunk.count(b"\n") for chunk in chunks)
    if lines != events:
        raise RuntimeError(f"{lines} of {events} events were exported")


def export_lines(user: Any) -> Iterator[bytes]:
    from django.test import Client

    client = Client(SERVER_NAME="localhost")
    client.force_login(user)
    response: Any = client.get(f"/api/jobs/{JOB}/events/export/", secure=True)
    yield from response.streaming_content


def baseline_lines(events: int) -> Iterator[bytes]:
    """Yield the rows of the driver as lines, FETCHED_ROWS at a time."""
    from django.db import connection

    from events.fields import unpack

    connection.ensure_connection()
    with connection.chunked_cursor() as cursor:
        cursor.execute(SELECT, [JOB, events])
        while rows := cursor.fetchmany(FETCHED_ROWS):
            yield b"".join(
                [
                    orjson.dumps(
                        {
                            "id": str(unpack(event_id)),
                            "job_id": JOB,
                            "event_type": event_type,
                            "timestamp": timestamp,
                            "data": orjson.Fragment(data),
                        },
                        option=orjson.OPT_APPEND_NEWLINE,
                    )
                    for event_id, event_type, timestamp, data in rows
                ]
            )


if __name__ == "__main__":
    run_benchmark("bench.exporting", measure, events=1_000_000, pairs=3)
