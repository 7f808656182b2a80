"""Queries of the monitor with many jobs, in ms: `python -m bench.monitoring`.

Fails if one takes longer than 200 ms, or what the sampler does in a minute longer than 1 % of it.
The jobs end within 90 days, 2 % of them in the last hour, and one in 50 has the same owner; there
are samples of 7 days.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import Any

import orjson

from bench.databases import run_benchmark, set_up_django
from bench.lists import OWNERS, analyse, make_users
from bench.ratio import seconds

MOST_MS, SAMPLER_MOST_MS = 200, 600
SAMPLER = "figures of 6 minutes"
REPETITIONS = 15
DAYS, SAMPLE_DAYS = 90, 7
TYPES = 20
RUNNING, STUCK, ASKING = 500, 50, 100
NOW = datetime.now(UTC).replace(microsecond=0)
CALL = {"data": {"model": "gpt", "usage": {"input_tokens": 900, "output_tokens": 90}}}


def measure(options: argparse.Namespace) -> None:
    set_up_django()
    owners = make_users()
    fill(options.jobs, owners)
    fill_samples()
    analyse()
    slow = []
    for name, query in queries():
        most = SAMPLER_MOST_MS if name == SAMPLER else MOST_MS
        query()
        milliseconds = min(seconds(query) for _ in range(REPETITIONS)) * 1000
        where = f"with {options.jobs} jobs on {options.on}"
        print(f"{name} {where}: {milliseconds:.0f} ms (at most {most})", flush=True)
        slow += [name] if milliseconds > most else []
    print(f"size of the samples of a day on {options.on}: {sample_bytes() / 1e6:.1f} MB")
    if slow:
        raise SystemExit(f"Too long on {options.on}: {', '.join(slow)}")


def queries() -> Iterator[tuple[str, Callable[[], object]]]:
    from django.contrib.auth import get_user_model

    from jobs.monitoring import tables
    from jobs.monitoring.gauges import read_gauges
    from jobs.monitoring.rows import figures_from_rows, floor_time
    from jobs.monitoring.statistics import RANGES, series, user_series
    from jobs.selectors import visible_jobs

    users = [get_user_model().objects.get(username=name) for name in ("owner7", "staff")]
    for name in RANGES:
        yield f"series {name}", partial(series, name)
        yield f"series {name} of a type", partial(series, name, "type3")
        for user in users:
            jobs, whose = visible_jobs(user), f"series {name} of the jobs of {user}"
            yield whose, partial(user_series, jobs, name)
            yield f"{whose} of a type", partial(user_series, jobs, name, "type3")
    for user in users:
        jobs, figures = visible_jobs(user), user_series(visible_jobs(user), "7d")
        arguments = figures.ended, jobs, figures.start, user
        yield f"failing types of {user}", partial(tables.failing_types, *arguments)
        yield f"stuck jobs of {user}", partial(tables.stuck_jobs, jobs, user)
        yield f"waiting jobs of {user}", partial(tables.waiting_jobs, jobs, user)
    yield "workers", tables.workers
    yield "open alerts", tables.open_alerts
    yield "failed deliveries", tables.failed_deliveries
    yield "gauges", read_gauges
    minute = floor_time(NOW, 60)
    start = minute - timedelta(minutes=6)
    yield SAMPLER, partial(figures_from_rows, start, minute, 60)


def fill(jobs: int, owners: list[Any]) -> None:
    """Add jobs, each with an attempt, a log and an event."""
    from events.fields import pack
    from events.models import ArchivedEvent, EventLog
    from events.types import Cursor
    from jobs.models import Attempt, InputRequest, Job, Task

    pairs = [(number, ended_at(number, jobs)) for number in range(1, jobs + 1)]
    insert(Job(), (job_values(number, ended, owners) for number, ended in pairs))
    insert(Attempt(), (attempt_values(number, ended) for number, ended in pairs))
    insert(EventLog(), ({"id": number, "job_id": f"job-{number}"} for number, _ in pairs))
    insert(
        ArchivedEvent(data=orjson.dumps(CALL).decode(), terms=None),
        (
            {
                "id": number,
                "log_id": number,
                "event_id": pack(Cursor(int(ended.timestamp() * 1000), 0)),
                "event_type": "model_result" if number % 10 == 0 else "thought",
                "timestamp": ended.isoformat(),
            }
            for number, ended in pairs
        ),
    )
    Task.objects.bulk_create(
        Task(
            job_id=number,
            attempt_id=f"job-{number}.1",
            external_id=str(number),
            state="running",
            worker=f"worker{number % 8}",
            heartbeat_at=NOW - timedelta(seconds=3600 if number <= STUCK else 5),
        )
        for number in range(1, RUNNING + 1)
    )
    InputRequest.objects.bulk_create(
        InputRequest(job_id=number, attempt=1, name="question", prompt="?")
        for number in range(1, ASKING + 1)
    )


def ended_at(number: int, jobs: int) -> datetime:
    """Return when a job ended: the less long ago, the more did."""
    return NOW - timedelta(days=DAYS) * (number / jobs) ** 2


def job_values(number: int, ended: datetime, owners: list[Any]) -> dict[str, Any]:
    return {
        "id": number,
        "job_id": f"job-{number}",
        "owner_id": owners[number % OWNERS].pk,
        "task_type": f"type{number % TYPES}",
        "title": f"Report {number}",
        "created_at": ended - timedelta(seconds=90),
        "first_event_at": ended - timedelta(seconds=50),
        "last_event_at": ended,
        "event_count": 1,
        **state(number, ended),
    }


def attempt_values(number: int, ended: datetime) -> dict[str, Any]:
    created = ended - timedelta(seconds=90)
    key = {"key": f"job-{number}.1", "job_id": number, "number": 1, "created_at": created}
    return {**key, **state(number, ended)}


def state(number: int, ended: datetime) -> dict[str, Any]:
    """Return status, times and error: the newest jobs are running."""
    started = {"started_at": ended - timedelta(seconds=60)}
    if number <= RUNNING:
        return {"status": "running", **started}
    if number // OWNERS % 30 == 0:
        return {"status": "failed", "finished_at": ended, "error": "boom", **started}
    return {"status": "completed", "finished_at": ended, **started}


def insert(template: Any, rows: Iterable[dict[str, Any]]) -> None:
    """Insert copies of a row with other values in some columns: a bulk insert takes ten times."""
    from django.db import connection, transaction

    fields = template._meta.concrete_fields  # noqa: SLF001 - documented by Django
    values = {
        f.column: f.get_db_prep_save(getattr(template, f.attname), connection) for f in fields
    }
    names = ", ".join(f'"{name}"' for name in values)
    into = f'"{template._meta.db_table}" ({names})'  # noqa: SLF001 - as above
    adapt = connection.ops.adapt_datetimefield_value

    def prepared() -> Iterator[tuple[Any, ...]]:
        for row in rows:
            times = {k: adapt(v) for k, v in row.items() if isinstance(v, datetime)}
            yield tuple({**values, **row, **times}.values())

    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            marks = ", ".join(["?"] * len(values))
            connection.connection.executemany(f"INSERT INTO {into} VALUES ({marks})", prepared())
            return
        cursor.execute("SET session_replication_role = replica")  # no checks of foreign keys
        with cursor.copy(f"COPY {into} FROM STDIN") as copy:
            for row in prepared():
                copy.write_row(row)
        cursor.execute("SET session_replication_role = DEFAULT")


def fill_samples() -> None:
    from jobs.models import Sample
    from jobs.monitoring.samples import PERIODS

    for length in PERIODS:
        random, end = Random(length), int(NOW.timestamp()) // length * length
        rows = (
            Sample(name=name, at=datetime.fromtimestamp(at, UTC), seconds=length, value=value)
            for at in range(end - SAMPLE_DAYS * 86400, end, length)
            for name, value in sample_values(random).items()
        )
        Sample.objects.bulk_create(rows, batch_size=5000)


def sample_values(random: Random) -> dict[str, Any]:
    """Return figures of a period with all task_types."""
    from jobs.monitoring import figures
    from jobs.monitoring.histogram import bucket_of

    types = [f"type{number}" for number in range(TYPES)]

    def histogram() -> dict[str, int]:
        buckets = {bucket_of(random.lognormvariate(3, 1)) for _ in range(12)}
        return {bucket: random.randrange(9) for bucket in buckets}

    return {
        **{name: random.randrange(100) for name in figures.GAUGES},
        **{name: random.randrange(9999) for name in ("events_appended", "events_archived")},
        "jobs_created": {name: random.randrange(99) for name in types},
        "attempts_ended": {
            name: {"completed": random.randrange(99), "failed": 2} for name in types
        },
        "failures": {"error": 30, "worker_lost": 2},
        "tokens": {name: {"input": 9000, "output": 900} for name in types},
        "cost": {name: random.random() for name in types},
        **{name: {each: histogram() for each in types} for name in figures.HISTOGRAMS},
    }


def sample_bytes() -> float:
    """Return the size of the samples of a day, with the indexes on PostgreSQL."""
    from django.db import connection

    from jobs.models import Sample

    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT pg_total_relation_size('job_events_jobs_sample')")
            return float(cursor.fetchone()[0]) / SAMPLE_DAYS
    lengths = (len(orjson.dumps(each)) for each in Sample.objects.values_list("value", flat=True))
    return (sum(lengths) + 100 * Sample.objects.count()) / SAMPLE_DAYS


if __name__ == "__main__":
    run_benchmark("bench.monitoring", measure, jobs=1_000_000)
