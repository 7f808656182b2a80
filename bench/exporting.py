"""An export of a million events, against a bare cursor: `python -m bench.exporting`.

The baseline goes over the same rows by a cursor of the database driver's own, and writes the same
lines by orjson. Ours is the view, asked as WSGI asks it. Memory is what the process has grown by.
"""

import argparse
import resource
from collections.abc import Iterator
from typing import Any

import orjson

from bench.archive_pages import fill
from bench.databases import measured, set_up
from bench.pages import SELECT
from bench.ratio import compare

JOB = "job-0"
TOGETHER = 2000


def measure(chosen: argparse.Namespace) -> None:
    set_up()
    from django.contrib.auth import get_user_model

    from jobs.models import Job

    fill("default", chosen.events, jobs=1)
    user = get_user_model().objects.create_user("anna")
    Job.objects.create(job_id=JOB, owner=user)

    def ours() -> None:
        counted(exported(user), chosen.events)

    def baseline() -> None:
        counted(bare(chosen.events), chosen.events)

    ours()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    claim = (
        f"export of {chosen.events} events on {chosen.on}, rate against a bare cursor and orjson"
    )
    ours()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"memory that the process grew by in an export of {chosen.events} events: {grown} KiB")
    compare(f"{claim} (at least 0.5)", ours, baseline, pairs=chosen.pairs)


def counted(chunks: Iterator[bytes], events: int) -> None:
    lines = sum(chunk.count(b"\n") for chunk in chunks)
    if lines != events:
        raise RuntimeError(f"{lines} of {events} events were exported")


def exported(user: Any) -> Iterator[bytes]:
    from django.test import Client

    client = Client(SERVER_NAME="localhost")
    client.force_login(user)
    answer: Any = client.get(f"/api/jobs/{JOB}/events/export/")
    yield from answer.streaming_content


def bare(events: int) -> Iterator[bytes]:
    """Rows as the driver gives them, TOGETHER at a time, as lines."""
    from django.db import connection

    from events.fields import unpack

    connection.ensure_connection()
    with connection.chunked_cursor() as cursor:
        cursor.execute(SELECT, [JOB, events])
        while rows := cursor.fetchmany(TOGETHER):
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
    measured("bench.exporting", measure, events=1_000_000, pairs=3)
