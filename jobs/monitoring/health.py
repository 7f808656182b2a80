"""The health item of alert messages; `events.processor.health` has the other items."""

from events.processor.health import CRITICAL, OK, WARNING, HealthItem
from events.processor.problems import runbook_link
from events.translation import translated
from jobs.monitoring.deliveries import REMEDY, DeliveryFailures, delivery_failures


def current_deliveries_item() -> HealthItem:
    """Query the failed deliveries. Raises django.db.Error."""
    return deliveries_item(delivery_failures())


def deliveries_item(failed: DeliveryFailures) -> HealthItem:
    """Return the item of alert messages that do not arrive."""
    count, runbook = failed.given_up + failed.retried, runbook_link("alert-deliveries")
    if not count:
        return HealthItem("alert_deliveries", OK, runbook, 0, threshold=1)
    state = CRITICAL if failed.given_up else WARNING
    text = translated(failed.summary), translated(REMEDY)
    return HealthItem("alert_deliveries", state, runbook, count, None, 1, *text)
