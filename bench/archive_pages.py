"""A history page of a large archive against one of a small one: `python -m bench.archive_pages`.

The small archive is a database with one job of 10,000 events. The large one has 5 million events,
first of one job, then of 500. Pages are read at the start, the middle and the end.
"""

import argparse
from collections.abc import Callable
from typing import Any

from bench.databases import run_benchmark, set_up_django
from bench.ratio import compare

SMALL = 10_000
PAGE = 1000
PAGES = 5
JOB = "job-0"
FIRST = 1_800_000_000_000
DATA = (
    '{"event_type":"thought","timestamp":"2026-11-22T06:00:00.000000+00:00","data":{"text":'
    '"The outline has five sections, of which two are about tea.","node":"draft"}}'
)


class Router:
    """Selects the database to read."""

    alias = "default"

    def db_for_read(self, *_args: object, **_hints: object) -> str:
        return self.alias


def measure(options: argparse.Namespace) -> None:
    add_small_database()
    fill("small", SMALL, jobs=1)
    for jobs in (1, options.jobs):
        fill("default", options.events, jobs)
        owner = "one job" if jobs == 1 else f"{jobs} jobs"
        claim = (
            f"on {options.on}, {options.events} events of {owner}: time against that from {SMALL}"
        )
        for name, part in (("start", 0.0), ("middle", 0.5), ("end", 1.0)):
            compare(
                f"history page at the {name} of an archive {claim} (at most 1.3)",
                pages("small", SMALL, part),
                pages("default", options.events, part),
                pairs=31,
            )


def add_small_database() -> None:
    """Add a second database; `Router` selects the one to read."""
    from django.conf import settings

    set_up_django()
    from django.core.management import call_command
    from django.db import connection, connections

    name = f"{settings.DATABASES['default']['NAME']}_small"
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f'CREATE DATABASE "{name}"')
    connections.settings["small"] = {**connections.settings["default"], "NAME": name}
    settings.DATABASE_ROUTERS = ["bench.archive_pages.Router"]
    call_command("migrate", database="small", verbosity=0)


def fill(alias: str, events: int, jobs: int) -> None:
    """Insert events by SQL, round-robin over the jobs."""
    from django.core.management import call_command
    from django.db import connections

    from events.models import ArchiveCheckpoint, EventLog
    from events.types import Cursor

    call_command("flush", database=alias, interactive=False, verbosity=0)
    logs = EventLog.objects.using(alias).bulk_create(
        [EventLog(job_id=f"job-{number}") for number in range(jobs)]
    )
    last = Cursor(FIRST + events, 0)
    ArchiveCheckpoint.objects.using(alias).bulk_create(
        [ArchiveCheckpoint(log=log, position=last) for log in logs]
    )
    connection = connections[alias]
    fast = fill_sqlite if connection.vendor == "sqlite" else fill_postgres
    fast(connection, events, jobs, logs[0].pk)


INTO = "INSERT INTO job_events_archivedevent"
COLUMNS = "(log_id, event_id, event_type, timestamp, data, producer)"
REST = f"'thought', '2026-11-22T06:00:00.000000+00:00', '{DATA}'"


def fill_sqlite(connection: Any, events: int, jobs: int, log_id: int) -> None:
    from events.fields import pack
    from events.types import Cursor

    connection.ensure_connection()
    connection.connection.create_function("id_of", 1, lambda n: pack(Cursor(FIRST + n, 0)))
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA cache_size = -1000000")
        cursor.execute(
            "WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers"
            f" WHERE n + 1 < {events}) {INTO} {COLUMNS} SELECT {log_id} + n % {jobs}, id_of(n),"
            f" {REST}, printf('abcdefghijkl:0:%012d', n) FROM numbers"
        )
        cursor.execute("ANALYZE")
        cursor.execute("PRAGMA cache_size = -2000")


def fill_postgres(connection: Any, events: int, jobs: int, log_id: int) -> None:
    event_id = f"int8send({FIRST} + n) || int8send(0)"
    with connection.cursor() as cursor:
        # Skip the foreign key check of each row.
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(
            f"{INTO} {COLUMNS} SELECT {log_id} + n %% {jobs}, {event_id}, {REST},"
            f" 'abcdefghijkl:0:' || lpad(n::text, 12, '0')"
            f" FROM generate_series(0, %s) AS n",
            [events - 1],
        )
        cursor.execute("SET session_replication_role = DEFAULT")
        cursor.execute("VACUUM ANALYZE job_events_archivedevent")


def pages(alias: str, events: int, part: float) -> Callable[[], None]:
    """Read a few pages at a relative position of an archive."""
    from events.history import read_events
    from events.types import Cursor

    def read() -> None:
        Router.alias = alias
        for _ in range(PAGES):
            if part == 1.0:
                page = read_events(JOB, limit=PAGE, order="desc")
            else:
                after = Cursor(FIRST + int(events * part) - 1, 0)
                page = read_events(JOB, after=after, limit=PAGE)
            if len(page) != PAGE:
                raise RuntimeError(f"a page of {len(page)} events")

    return read


if __name__ == "__main__":
    run_benchmark("bench.archive_pages", measure, events=5_000_000, jobs=500)
