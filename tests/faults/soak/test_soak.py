"""A short soak test with a fixed seed; `make soak` runs the long one."""

import pytest
from django.db import connection

from tests.faults.soak.run import Plan, report, soak
from tests.support.need import need
from tests.support.postgres import BINARIES, find_binary


@pytest.mark.database
@pytest.mark.timeout(240)
def test_short_soak(request, capsys):
    database = "postgres" if connection.vendor == "postgresql" else "sqlite"
    if database == "postgres":
        need(request, all(map(find_binary, BINARIES)), "a PostgreSQL server (initdb, postgres)")
    plan = Plan(seed=7, events=300, faults=5, database=database, spacing=3.0)
    outcome = soak(plan, log=print)
    lines = "\n".join(report(outcome))
    print(lines)
    assert outcome.result.committed >= plan.events
    assert sum(outcome.faults.values()) == plan.faults
    assert outcome.result.defects == 0, lines
