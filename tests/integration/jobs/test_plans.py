"""Query plans: every list and search uses an index on a large database.

The tables are small enough for a test, and large enough that a full scan costs more than an index.
With millions of rows, on PostgreSQL:
`PLAN_EVENTS=5000000 python -m tests.on_other_servers --timeout 3000 <this file>`.
"""

import os
import re

import pytest
from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from events.archive import store
from events.archive.terms import value_term
from events.models import ArchiveCheckpoint, EventLog
from events.types import Cursor, Event
from jobs.models import Job
from tests.integration.jobs.conftest import Api

pytestmark = [
    pytest.mark.django_db(transaction=True), pytest.mark.database, pytest.mark.extended,
]  # fmt: skip

EVENTS = int(os.environ.get("PLAN_EVENTS", "12000"))
FEW = 100_000
JOBS = max(3000, EVENTS // 50)
OTHERS = 300
FIRST = 1_700_000_000_000
LARGE = ("job_events_archivedevent", "job_events_jobs_job")
LISTS = [
    "jobs/", "jobs/?limit=200", "jobs/?ordering=created_at", "jobs/?ordering=-finished_at",
    "jobs/?status=completed", "jobs/?task_type=rare", "jobs/?owner=bert", "jobs/job-7/",
    "jobs/?created_after=2026-01-01&created_before=2026-01-02",
    "jobs/?search=job-7", "jobs/?search=rare", "job-counts/?task_type=rare",
    "jobs/job-7/events/", "jobs/job-7/events/?order=desc&limit=3", "jobs/job-7/events/?search=rare",
    "jobs/job-7/events/?after=1700000003000-0&limit=2", "jobs/job-7/stream/",
    "jobs/job-7/events/?event_type=even&since=2023-11-14T22:13:20Z",
    "events/", "events/?order=asc", "events/?search=rare", "events/?search=rar*",
    "events/?search=common", "events/?data.n=77", "events/?event_type=odd", "events/?owner=bert",
    "events/?since=2023-11-14T22:13:25Z&until=2023-11-14T22:13:26Z",
    "events/?cursor=1700000003000-0@7", "events/?task_type=rare&search=common",
]  # fmt: skip


JOBS_ADMIN, LOGS_ADMIN = "/admin/job_events_jobs/job/", "/admin/job_events/eventlog/"
# Not "/jobs/", which reads the first rows of the table.
PAGES = [
    "/jobs/?q=rare", "/jobs/?q=job-7", JOBS_ADMIN, f"{JOBS_ADMIN}?p=2",
    f"{JOBS_ADMIN}?q=rare", f"{JOBS_ADMIN}?q=bert",
    f"{JOBS_ADMIN}?task_type=rare", f"{JOBS_ADMIN}?status__exact=failed", LOGS_ADMIN,
    f"{LOGS_ADMIN}?p=2", f"{LOGS_ADMIN}?q=job-7",
]  # fmt: skip


@pytest.fixture
def large(user, other_user, staff):
    """Many jobs of user, each with a few events, some of 300 others, and one of other_user."""
    # Of an owner whose name it does not know, a database expects an average number of jobs.
    users = get_user_model().objects
    others = users.bulk_create(users.model(username=f"other{n}") for n in range(OTHERS))
    owners = {7: other_user} | {n: others[n // 10 % OTHERS] for n in range(4, JOBS, 10)}
    fill = store_events if EVENTS <= FEW else store_fast
    now = timezone.now()
    over = {"status": "completed", "started_at": now, "finished_at": now}
    Job.objects.bulk_create(
        [
            Job(
                job_id=f"job-{n}",
                owner=owners.get(n, user),
                task_type="rare" if n == 7 else "manual",
                **(over if n % 2 else {}),
            )
            for n in range(JOBS)
        ],
        batch_size=500,
    )
    fill()
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE" if connection.vendor == "sqlite" else "VACUUM ANALYZE")


def store_events():
    """Store the events as the archiver does."""
    logs, batch = store.get_or_create_checkpoints([f"job-{n}" for n in range(JOBS)]), {}
    for n in range(EVENTS):
        kind, word = ("odd" if n % 2 else "even"), "rare" if n % 5000 == 7 else "common"
        raw = f'{{"event_type":"{kind}","text":"{word}","n":{n}}}'.encode()
        event = Event(str(Cursor(FIRST + n, 0)), f"job-{n % JOBS}", kind, "", raw)
        batch.setdefault(logs[event.job_id].log_id, []).append(event)
    with transaction.atomic():
        store.insert_batch(batch)
        store.advance_checkpoints({pk: own[-1].cursor for pk, own in batch.items()})


def store_fast():
    """Store the same events by SQL, with the search term of one value."""
    logs = EventLog.objects.bulk_create([EventLog(job_id=f"job-{n}") for n in range(JOBS)])
    last = Cursor(FIRST + EVENTS, 0)
    ArchiveCheckpoint.objects.bulk_create(
        [ArchiveCheckpoint(log=log, position=last) for log in logs]
    )
    kinds = {kind: value_term("event_type", kind) for kind in ("even", "odd")}
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE own (n bigint PRIMARY KEY, log bigint)")
        cursor.executemany(
            "INSERT INTO own VALUES (%s, %s)", [(n, log.pk) for n, log in enumerate(logs)]
        )
        # Skip the foreign key check of each row.
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(
            f"""INSERT INTO job_events_archivedevent
                (log_id, event_id, event_type, timestamp, data, producer, terms)
            SELECT own.log, int8send({FIRST} + i) || int8send(0), kind, '',
                format('{{"event_type":"%%s","text":"%%s","n":%%s}}', kind, word, i), NULL,
                array_to_tsvector(array[word, i::text, CASE kind WHEN 'odd' THEN %s ELSE %s END,
                    CASE i WHEN 77 THEN %s ELSE word END])
            FROM generate_series(0, %s) AS i
            JOIN own ON own.n = i %% {JOBS},
            LATERAL (SELECT CASE WHEN i %% 2 = 1 THEN 'odd' ELSE 'even' END AS kind,
                CASE WHEN i %% 5000 = 7 THEN 'rare' ELSE 'common' END AS word) AS made""",
            [kinds["odd"], kinds["even"], value_term("n", "77"), EVENTS - 1],
        )
        cursor.execute("SET session_replication_role = DEFAULT")


def plans(queries):
    """Yield the plan of each SELECT."""
    word = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN"
    for query in queries:
        if query["sql"].startswith("SELECT"):
            with connection.cursor() as cursor:
                cursor.execute(f"{word} {query['sql']}".replace("%", "%%"))
                yield query["sql"], "\n".join(str(row[-1]) for row in cursor.fetchall())


def full_scans(plan):
    """Return the large tables that a plan scans completely."""
    if connection.vendor == "sqlite":
        found = re.findall(r"SCAN (\w+)(?! USING)\b(?! USING)", plan)
    else:
        # A scan with a small limit costs less than half of the table.
        found = [
            table for table in re.findall(r"Seq Scan on (\w+)", plan) if cost(plan) > half_of(table)
        ]
    return set(found) & set(LARGE)


def half_of(table):
    """Return half of the estimated cost of a full scan."""
    [(_, plan)] = plans([{"sql": f"SELECT * FROM {table}"}])
    return cost(plan) / 2


def cost(plan):
    return float(re.search(r"cost=[\d.]+\.\.([\d.]+)", plan)[1])


def test_every_list_uses_an_index(large, staff, user):
    assert_full_scans_are_detected()
    for viewer in (staff, user):
        from django.test import Client

        client = Client()
        client.force_login(viewer)
        for path in LISTS:
            if viewer == user and "job-7/" in path:
                continue
            assert_no_full_scan(Api(client).get, path)
        if viewer == staff:
            for path in PAGES:
                assert_no_full_scan(client.get, path)


def assert_no_full_scan(get, path):
    with CaptureQueriesContext(connection) as captured:
        assert get(path).status_code == 200, path
    found = list(plans(captured.captured_queries))
    assert found
    for sql, plan in found:
        assert not full_scans(plan), (path, sql, plan)


def assert_full_scans_are_detected():
    for sql in (
        "SELECT * FROM job_events_archivedevent WHERE data LIKE '%rare%'",
        "SELECT count(payload) FROM job_events_jobs_job",
    ):
        [(_, plan)] = plans([{"sql": sql}])
        assert full_scans(plan)


def test_search_does_not_depend_on_the_estimate_of_a_prefix(large, staff, client, monkeypatch):
    """PostgreSQL assumes that a prefix is in 2 % of the rows."""
    client.force_login(staff)
    key = "INTEGER PRIMARY KEY" if connection.vendor == "sqlite" else "job_events_jobs_job_pkey"
    monkeypatch.setattr("events.archive.lookups.MAX_INDEXED_ROWS", JOBS // 10)
    for path in ("/api/jobs/?search=job-2999&limit=1", "/api/jobs/?search=rare&limit=1"):
        assert key in plan_of_page(client, path)
    for path in ("/api/jobs/?search=manual&limit=50", "/api/jobs/?search=job&limit=50"):
        assert "jobs_by_time" in plan_of_page(client, path)


def plan_of_page(client, path):
    with CaptureQueriesContext(connection) as captured:
        assert client.get(path).json()["results"]
    [plan] = (plan for sql, plan in plans(captured.captured_queries) if "ORDER BY" in sql)
    return plan


def test_counts_of_an_owner_read_an_index_only(large, user, client):
    client.force_login(user)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:  # the table is small: other plans cost the same
            cursor.execute("SET enable_seqscan = off; SET enable_bitmapscan = off")
    with CaptureQueriesContext(connection) as captured:
        assert client.get("/api/job-counts/").json()["completed"] == JOBS // 2 - 1
    counts = [plan for sql, plan in plans(captured.captured_queries) if "COUNT(*)" in sql]
    assert len(counts) == len(Job.Status)
    for plan in counts:
        assert re.search(
            "(Index Only Scan using|COVERING INDEX) job_events_jobs_by_state",
            plan,
        )
    connection.close()
