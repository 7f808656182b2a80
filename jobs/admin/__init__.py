"""Admin of jobs (`jobs`, with `inlines` and `tools`), and of alerts and their rules (`alerts`).

`links` are what the page "Health" of `events.admin` shows of this app.
"""

from events.admin.health import page_links
from jobs.admin.alerts import AlertAdmin, AlertMessageAdmin, AlertRuleAdmin, SilenceAdmin
from jobs.admin.jobs import JobAdmin
from jobs.admin.links import monitor_page

__all__ = ["AlertAdmin", "AlertMessageAdmin", "AlertRuleAdmin", "JobAdmin", "SilenceAdmin"]

page_links.append(monitor_page)
