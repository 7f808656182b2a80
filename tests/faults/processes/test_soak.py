"""A short soak test with a fixed seed; `make soak` runs the long one."""

from pathlib import Path

import pytest

from tests.faults.soak.run import Plan, report, soak
from tests.support.need import need

pytestmark = pytest.mark.extended

MIN_COMMITTED_EVENTS = 300


@pytest.mark.timeout(240)
def test_short_soak(request, capsys):
    need(request, Path("/proc").exists(), "Linux (/proc)")
    plan = Plan(seed=7, seconds=25, database="sqlite", checkpoints=1)
    outcome = soak(plan, log=print)
    lines = "\n".join(report(outcome))
    print(lines)
    assert outcome.result.committed >= MIN_COMMITTED_EVENTS
    assert outcome.is_clean, lines
