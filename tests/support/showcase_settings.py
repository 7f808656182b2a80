"""Settings of the site with the jobs of `tests.support.showcase_tasks`, prices and alert rules."""

from tests.support.site_settings import *  # noqa: F403
from tests.support.site_settings import JOB_EVENTS as SITE_EVENTS

CELERY_IMPORTS = ["tests.support.showcase_tasks"]

JOB_EVENTS = {
    **SITE_EVENTS,
    "RUNNERS": {
        **SITE_EVENTS["RUNNERS"],
        "agents.market_research": "tests.support.showcase_tasks.market_research",
        "billing.charge_orders": "tests.support.showcase_tasks.charge_orders",
        "ops.nightly_backup": "tests.support.showcase_tasks.nightly_backup",
        "marketing.newsletter": "tests.support.showcase_tasks.newsletter",
        "crm.sync_contacts": "tests.support.showcase_tasks.sync_contacts",
    },
    "MODEL_PRICES": {
        "gpt-5": {"input": 1.25, "output": 10.0},
        "gpt-5-mini": {"input": 0.25, "output": 2.0},
    },
    "STUCK_SECONDS": 900,
    "ALERT_GROUP_WAIT": 1,
    "ALERT_RULES": {
        "problems": {"kind": "problem"},
        "invoices-fail": {
            "kind": "failure_rate",
            "task_type": "billing.send_invoice",
            "threshold": 0.2,
            "window": 900,
            "min_count": 5,
        },
    },
}
