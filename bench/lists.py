"""Lists and searches of many jobs against the same with 10,000 jobs: `python -m bench.lists`.

Measures requests of the admin, the API and the pages, as a member of staff who sees all jobs and as
an owner. The baseline is the time of the same request in a copy of the database with few jobs.
"""

import argparse
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import orjson

from bench.databases import run_benchmark, set_up_django
from bench.ratio import seconds

FEW = 10_000
OWNERS = 50
REPETITIONS = 15
FIRST = 1_700_000_000_000
STARTED_AT = datetime.fromtimestamp(FIRST // 1000, UTC)
ADMIN_JOBS, ADMIN_LOGS = "/admin/job_events_jobs/job/", "/admin/job_events/eventlog/"
PATHS = {
    "staff": (
        ADMIN_JOBS, f"{ADMIN_JOBS}?p=99", f"{ADMIN_JOBS}?q=job-77", f"{ADMIN_JOBS}?q=7777",
        f"{ADMIN_JOBS}?q=cinnamon", f"{ADMIN_JOBS}?q=report", f"{ADMIN_JOBS}?q=owner7",
        f"{ADMIN_JOBS}?task_type=rare", f"{ADMIN_JOBS}?status__exact=failed", ADMIN_LOGS,
        f"{ADMIN_LOGS}?p=99", f"{ADMIN_LOGS}?q=job-77", "/jobs/", "/jobs/?q=cinnamon",
        "/jobs/?status=failed",
    ),
    "owner7": (
        "/api/jobs/", "/api/jobs/?search=job-77", "/api/jobs/?search=7757",
        "/api/jobs/?search=cinnamon", "/api/jobs/?search=report", "/api/jobs/?status=failed",
        "/api/jobs/?ordering=-finished_at", "/api/job-counts/", "/api/jobs/job-7/events/",
        "/api/events/", "/api/events/?search=cinnamon",
    ),
}  # fmt: skip
POSTGRESQL_FUNCTIONS = """
CREATE FUNCTION renumbered(value text, job_id text, shift bigint) RETURNS text LANGUAGE sql AS $$
    SELECT replace(value, substr(job_id, 5), (substr(job_id, 5)::bigint + shift)::text)
$$;
CREATE FUNCTION later(value timestamptz, shift bigint) RETURNS timestamptz LANGUAGE sql AS $$
    SELECT value + shift * interval '1 second'
$$;
CREATE FUNCTION moved(value bytea, shift bigint) RETURNS bytea LANGUAGE sql AS $$
    SELECT int8send(('x' || encode(substr(value, 1, 8), 'hex'))::bit(64)::bigint + shift)
        || substr(value, 9)
$$;
"""


def measure(options: argparse.Namespace) -> None:
    set_up_django()
    owners, events_per_job = make_users(), options.events // options.jobs
    fill(range(FEW), owners, events_per_job)
    pairs = list(requests())
    few, many = copy_database()
    multiply(options.jobs)
    verify(options.jobs - FEW + 7, owners, events_per_job)
    analyse()
    for path, request in pairs:
        ratio, milliseconds = compare_databases(request, few, many)
        print(
            f"{path} with {options.jobs} jobs and {options.events} events on {options.on}:"
            f" {ratio:.2f} of the time with {FEW} jobs (at most 3), {milliseconds:.0f} ms",
            flush=True,
        )


def copy_database() -> tuple[str, str]:
    """Copy the database; return the names of the copy and of the database."""
    from django.db import connection

    analyse()
    name = str(connection.settings_dict["NAME"])
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("VACUUM INTO %s", [f"{name}.few"])
            return f"{name}.few", name
    connection.close()
    with connection._nodb_cursor() as cursor:  # noqa: SLF001 - as Django's tests create databases
        cursor.execute(f"CREATE DATABASE few TEMPLATE {name}")
    return "few", name


def compare_databases(request: Callable[[], object], few: str, many: str) -> tuple[float, float]:
    """Return the ratio of the shortest times in both databases, and that with many jobs in ms.

    The requests alternate: the machine may be slower a minute later.
    """
    from django.db import connection

    times: dict[str, list[float]] = {few: [], many: []}
    for _ in range(REPETITIONS):
        for name, measured in times.items():
            connection.close()
            connection.settings_dict["NAME"] = name
            request()
            measured.append(seconds(request))
    return min(times[many]) / min(times[few]), min(times[many]) * 1000


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


def make_users() -> list[Any]:
    from django.contrib.auth import get_user_model

    users = get_user_model().objects
    users.create_superuser("staff")
    return [users.create_user(f"owner{number}") for number in range(OWNERS)]


def fill(numbers: range, owners: list[Any], events_per_job: int) -> None:
    """Add jobs as the product does; a hundredth of them has a rare title and type."""
    from jobs.models import Job

    Job.objects.bulk_create(
        Job(
            job_id=f"job-{n}",
            owner=owners[n % OWNERS],
            title=f"Report {n}" + (" cinnamon" if n % 100 == 7 else ""),
            task_type="rare" if n % 100 == 7 else "manual",
            status="failed" if n % 100 == 57 else "completed",
            started_at=STARTED_AT + timedelta(seconds=n),
            finished_at=STARTED_AT + timedelta(seconds=n),
        )
        for n in numbers
    )
    fill_events(numbers, events_per_job)


def fill_events(numbers: range, events_per_job: int) -> None:
    """Add the events of jobs as the archiver does."""
    from django.db import transaction

    from events.archive import store
    from events.types import Cursor, Event

    with transaction.atomic():
        checkpoints = store.get_or_create_checkpoints([f"job-{n}" for n in numbers])
        batch = {}
        for n in numbers:
            text = "cinnamon" if n % 100 == 7 else "tea"
            raw = orjson.dumps({"event_type": "thought", "text": text})
            ids = (str(Cursor(FIRST + n, sequence)) for sequence in range(events_per_job))
            events = [Event(each, f"job-{n}", "thought", "", raw) for each in ids]
            batch[checkpoints[f"job-{n}"].log_id] = events
        store.insert_batch(batch)
        store.advance_checkpoints({pk: own[-1].cursor for pk, own in batch.items()})


def multiply(jobs: int) -> None:
    """Copy the first FEW jobs and their events within the database until there are enough.

    Job n becomes the jobs n + FEW, n + 2 FEW and so on. Writing a million jobs as the product does
    takes hours. Triggers index the terms on SQLite, as they do for the product.
    """
    from django.db import connection, transaction

    create_functions()
    statements = copy_statements()
    for shift in range(FEW, jobs, FEW):
        with transaction.atomic(), connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement.replace(":shift", str(shift)))


def create_functions() -> None:
    """Define SQL functions that add to the number of a job, to a time and to an event id."""
    from django.db import connection

    from events.fields import pack, unpack
    from events.types import Cursor

    def renumbered(value: str, job_id: str, shift: int) -> str:
        number = job_id.removeprefix("job-")
        return value.replace(number, str(int(number) + shift))

    def later(value: str, shift: int) -> str:
        return str(datetime.fromisoformat(value) + timedelta(seconds=shift))

    def moved(value: bytes, shift: int) -> bytes:
        ms, sequence = unpack(value)
        return pack(Cursor(ms + shift, sequence))

    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(POSTGRESQL_FUNCTIONS)
        return
    for function in (renumbered, later, moved):
        count = function.__code__.co_argcount
        connection.connection.create_function(function.__name__, count, function)


def copy_statements() -> list[str]:
    """Return the statements that copy the first FEW jobs and logs."""
    from events.models import ArchiveCheckpoint, ArchivedEvent, EventLog
    from jobs.models import Job

    text = "CAST(renumbered(CAST({column} AS text), job_id, :shift) AS {type})"
    # Primary keys are consecutive: those of the copied logs are greater by :shift.
    of_log, cursor = {"log_id": "log_id + :shift"}, "moved({column}, :shift)"
    texts = dict.fromkeys(("job_id", "title", "terms"), text)
    times = dict.fromkeys(("created_at", "started_at", "finished_at"), "later({column}, :shift)")
    return [
        copy_statement(Job, texts | times),
        copy_statement(EventLog, {"job_id": text}),
        copy_statement(ArchiveCheckpoint, of_log | {"position": cursor}, "log_id"),
        copy_statement(ArchivedEvent, of_log | {"event_id": cursor}, "log_id"),
    ]


def copy_statement(model: Any, changed: dict[str, str], key: str = "id") -> str:
    """Return the statement that copies the rows with a key of at most FEW, some columns changed."""
    from django.db import connection

    options = model._meta  # noqa: SLF001 - documented by Django
    fields = [each for each in options.concrete_fields if each.column != "id"]
    columns = ", ".join(f'"{each.column}"' for each in fields)
    values = ", ".join(
        changed.get(each.column, "{column}").format(
            column=f'"{each.column}"', type=each.db_type(connection)
        )
        for each in fields
    )
    table = options.db_table
    return (
        f"INSERT INTO {table} ({columns}) SELECT {values} FROM {table}"
        f" WHERE {key} <= {FEW} ORDER BY {options.pk.column}"
    )


def verify(number: int, owners: list[Any], events_per_job: int) -> None:
    """Raise an error if the rows of a copied job are not those that the product writes for it."""
    from django.db import connection, transaction

    from events.archive.lookups import match_terms
    from events.models import ArchivedEvent, EventLog
    from jobs.models import Job

    copied = rows_of(number)
    for model, index in ((Job, "job_events_jobs_terms"), (ArchivedEvent, "job_events_terms")):
        found = match_terms(model.objects.all(), [("cinnamon",)], index).count()
        if found != model.objects.count() // 100:
            raise RuntimeError(f"The index {index} has {found} rows.")
    with transaction.atomic():
        EventLog.objects.filter(job_id=f"job-{number}").delete()
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM job_events_jobs_job WHERE job_id = %s", [f"job-{number}"])
        fill(range(number, number + 1), owners, events_per_job)
        written = rows_of(number)
        transaction.set_rollback(True)
    if copied != written or len(copied) != 3 + events_per_job:
        raise RuntimeError(f"The product writes {written}, and the copy is {copied}.")


def rows_of(number: int) -> list[dict[str, Any]]:
    """Return the rows of a job and its log without what depends on when they are written."""
    from events.models import ArchiveCheckpoint, ArchivedEvent, EventLog
    from jobs.models import Job

    job_id, found = f"job-{number}", list[dict[str, Any]]()
    for rows in (
        Job.objects.filter(job_id=job_id),
        EventLog.objects.filter(job_id=job_id),
        ArchiveCheckpoint.objects.filter(log__job_id=job_id),
        ArchivedEvent.objects.filter(log__job_id=job_id).order_by("event_id"),
    ):
        found += rows.values()
    for row in found:
        for name in ("id", "log_id", "created_at"):
            row.pop(name, None)
        row["terms"] = sorted((row.get("terms") or "").split())
    return found


def analyse() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("ANALYZE" if connection.vendor == "sqlite" else "VACUUM ANALYZE")


if __name__ == "__main__":
    run_benchmark("bench.lists", measure, jobs=1_000_000, events=5_000_000)
