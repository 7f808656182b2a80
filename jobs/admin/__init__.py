"""Admin of jobs (`jobs`), and of alerts and their rules (`alerts`)."""

from jobs.admin.alerts import AlertAdmin, AlertMessageAdmin, AlertRuleAdmin, SilenceAdmin
from jobs.admin.jobs import JobAdmin

__all__ = ["AlertAdmin", "AlertMessageAdmin", "AlertRuleAdmin", "JobAdmin", "SilenceAdmin"]
