"""A short soak test with a fixed seed; `make soak` runs the long one."""

from pathlib import Path

import pytest
from django.db import connection

from tests.faults.soak.run import Plan, report, soak
from tests.support.need import need
from tests.support.postgres import BINARIES, find_binary

pytestmark = pytest.mark.extended

MIN_COMMITTED_EVENTS = 300


@pytest.mark.database
@pytest.mark.timeout(240)
def test_short_soak(request, capsys):
    need(request, Path("/proc").exists(), "Linux (/proc)")
    database = "postgres" if connection.vendor == "postgresql" else "sqlite"
    if database == "postgres":
        need(request, all(map(find_binary, BINARIES)), "a PostgreSQL server (initdb, postgres)")
    plan = Plan(seed=7, seconds=25, database=database, checkpoints=1)
    outcome = soak(plan, log=print)
    lines = "\n".join(report(outcome))
    print(lines)
    assert outcome.result.committed >= MIN_COMMITTED_EVENTS
    assert outcome.is_clean, lines
