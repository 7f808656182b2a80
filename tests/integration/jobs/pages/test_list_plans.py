"""Query plans of the job list: every query uses an index on large tables.

With a million jobs, on PostgreSQL:
`PLAN_MONITOR_JOBS=1000000 python -m tests.on_other_servers --timeout 3000 <this file>`.
"""

import re
from itertools import pairwise

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from events import counts
from jobs.selectors import NEWEST_JOBS
from tests.integration.jobs.monitoring.test_plans import JOBS, LARGE, large
from tests.integration.jobs.test_plans import plans

__all__ = ["large"]

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.database,
    pytest.mark.extended,
]

QUERIES = [
    "rows=1", "summary=1", "rows=1&range=24h", "summary=1&range=24h", "summary=1&range=30d",
    *(f"rows=1&status={name}" for name in ("running", "waiting", "failed", "stuck", "pending")),
    "rows=1&status=failed&type=type-3", "rows=1&sort=created_at", "rows=1&sort=-finished_at",
    "rows=1&status=failed&sort=finished_at", "rows=1&type=type-3&range=7d", "rows=1&owner=other",
    "summary=1&owner=other", "summary=1&type=type-3", "rows=1&owner=missing", "rows=1&q=rare",
    "summary=1&q=rare", "rows=1&range=own&since=2026-01-01T00:00&until=2026-01-01T01:00",
    "rows=1&cursor=1700000000000000.5", "rows=1&cursor=-1700000000000000.5",
    "rows=1&status=failed&cursor=1800000000000000.5",
]  # fmt: skip


@pytest.mark.usefixtures("large")
def test_every_list_uses_an_index(user, staff, other_user, monkeypatch):
    """Of a user with own jobs, a user without, and one who sees all."""
    monkeypatch.setattr(counts, "MAX_COUNT", min(counts.MAX_COUNT, JOBS // 100))
    for viewer in (user, other_user, staff):
        client = Client()
        client.force_login(viewer)
        for query in QUERIES:
            with CaptureQueriesContext(connection) as captured:
                assert client.get(f"/jobs/?{query}").status_code == 200
            for sql, plan in plans(captured.captured_queries):
                assert not unlimited_scans(plan), (viewer, query, sql, plan)


@pytest.mark.usefixtures("large")
def test_task_types_are_those_of_the_newest_jobs(user, staff, other_user):
    """The query reads an index up to its limit."""
    for viewer in (user, other_user, staff):
        client = Client()
        client.force_login(viewer)
        with CaptureQueriesContext(connection) as captured:
            assert client.get("/jobs/").status_code == 200
        every = list(plans(captured.captured_queries))
        (plan,) = [plan for sql, plan in every if re.search(rf"LIMIT {NEWEST_JOBS}\b", sql)]
        assert not any(unlimited_scans(each) for _, each in every)
        if connection.vendor == "sqlite":
            assert "INDEX job_events_jobs_by_" in plan, plan
            assert "TEMP B-TREE" not in plan, plan


def unlimited_scans(plan):
    """Return the full scans of a plan, without those that PostgreSQL ends at a limit.

    SQLite reads an index in its order until a page is full.
    """
    if connection.vendor == "sqlite":
        return set(re.findall(r"SCAN (\w+)(?! USING)\b(?! USING)", plan)) & LARGE
    lines = plan.splitlines()
    return {
        found[1]
        for above, line in pairwise(lines)
        if (found := re.search(r"Seq Scan on (\w+)", line))
        and found[1] in LARGE
        and not above.lstrip(" ->").startswith("Limit")
    }
