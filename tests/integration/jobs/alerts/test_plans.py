"""Query plans of an evaluation: every query uses an index on large tables."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jobs.alerts.conditions import Observation, occurrences
from jobs.alerts.evaluator import Evaluator, delete_history, delete_matches
from jobs.alerts.rules import KINDS, definition_of
from jobs.models import AlertMatch
from tests.integration.jobs.monitoring.test_plans import (  # noqa: F401 - `large` is a fixture
    LARGE,
    full_scans,
    large,
)
from tests.integration.jobs.test_plans import plans

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.database,
    pytest.mark.extended,
]

REQUIRED = {"tokens": {"limit": 1}, "cost": {"limit": 1}, "event": {"event_type": "error"}}
RULES = [
    *({"kind": kind, **REQUIRED.get(kind, {})} for kind in KINDS),
    {"kind": "tokens", "limit": 1, "per": 86400},
]


# Partial indexes of few rows.
BOUNDED = {"job_events_alerts_unsent", "job_events_alerts_erased"}


def scanned(plan):
    """Return the large tables of which a plan reads all rows."""
    found = {each if isinstance(each, tuple) else (each, "") for each in full_scans(plan)}
    return {table for table, index in found if table in LARGE and index not in BOUNDED}


def check(function, *arguments):
    with CaptureQueriesContext(connection) as captured:
        result = function(*arguments)
    for sql, plan in plans(captured.captured_queries):
        assert not scanned(plan), (arguments, sql, plan)
    return result


@pytest.fixture
def rows(large):  # noqa: F811 - the fixture
    """Large tables, but small enough that a scan costs the same as an index on PostgreSQL."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET enable_seqscan = off")
    yield
    connection.close()


@pytest.mark.usefixtures("rows")
def test_conditions_use_indexes():
    observation = Observation(timezone.now())
    for entry in RULES:
        for task_type in ("", "type-3"):
            rule = definition_of("a", {**entry, "task_type": task_type})
            check(lambda rule: list(occurrences(rule, observation)), rule)


@pytest.mark.usefixtures("rows")
def test_evaluation_uses_indexes(settings):
    rules = {str(number): entry for number, entry in enumerate(RULES)}
    rules["r"] = {"kind": "lag"}  # has alerts
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "ALERT_RULES": rules, "ALERT_GROUP_WAIT": 0}
    assert check(Evaluator().step) > 0
    assert check(Evaluator().step) == 0


@pytest.mark.usefixtures("rows")
def test_deletion_uses_indexes():
    now = timezone.now()
    row = {"rule": "a", "event_id": "1-1", "summary": "", "at": now}
    AlertMatch.objects.bulk_create(AlertMatch(job_id=f"job-{n}", **row) for n in range(3000))
    check(delete_history, now)
    check(delete_matches, now)
