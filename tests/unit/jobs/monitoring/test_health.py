"""The health item of alert messages."""

import pytest

from jobs.monitoring.deliveries import DeliveryFailures
from jobs.monitoring.health import deliveries_item
from tests.support.site import ROOT


@pytest.mark.parametrize(
    ("failed", "state"), [((0, 0), "ok"), ((0, 2), "warning"), ((1, 2), "critical")]
)
def test_alert_deliveries(failed, state):
    item = deliveries_item(DeliveryFailures(*failed, ("hook",), "HTTP 500"))
    assert (item.state, item.value, item.threshold) == (state, sum(failed), 1)
    assert bool(item.action) == (state != "ok")
    if state == "critical":
        detail = "1 given up within a day, 2 retried; channels: hook. The newest: HTTP 500"
        assert item.detail == detail


def test_runbook_is_a_heading():
    _, _, heading = deliveries_item(DeliveryFailures()).runbook.partition("#")
    assert f"\n### {heading}\n" in (ROOT / "docs" / "operations.md").read_text()
