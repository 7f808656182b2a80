"""Main functions of processes that evaluate alert rules, and may be killed at a statement."""

import os
import signal
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection

from jobs.alerts import conditions, evaluator
from jobs.alerts.conditions import Occurrence
from jobs.alerts.evaluator import Evaluator
from jobs.models import Alert, AlertDelivery, AlertMessage
from tests.faults.processes.forks import Lines

START = datetime(2030, 1, 1, tzinfo=UTC)
KIND = "redis_memory"


def evaluate(lines: Lines, subjects: list[str], at: int, die_at: int = 0) -> None:
    """Evaluate a rule at a time in seconds; send `done` with the number of statements and commits.

    Is killed before the statement or commit with the number `die_at`.
    """
    settings.JOB_EVENTS.update(
        ALERT_RULES={"fake": {"kind": KIND}}, ALERT_GROUP_WAIT=0, ALERT_GROUP_INTERVAL=0
    )
    found = [Occurrence(subject, subject) for subject in subjects]
    conditions._CONDITIONS = {KIND: lambda *_arguments: iter(found)}
    now = START + timedelta(seconds=at)
    evaluator.database_now = lambda: now
    # Repeatable, in transactions of their own.
    evaluator.delete_matches = evaluator.delete_history = lambda _now: None
    connection.ensure_connection()
    steps = _Steps(die_at)
    commit = connection._commit
    connection._commit = lambda: steps.count(commit)
    with connection.execute_wrapper(steps.count):
        Evaluator().step()
    lines.send(done=steps.number)


class _Steps:
    """Counts statements and commits, and kills the process before one of them."""

    def __init__(self, die_at: int) -> None:
        self.number = 0
        self._die_at = die_at

    def count(self, execute: Any, *arguments: Any) -> Any:
        self.number += 1
        if self.number == self._die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return execute(*arguments)


def dump(lines: Lines) -> None:
    """Send the alerts, the messages, and the number of deliveries."""
    alerts = Alert.objects.order_by("subject").values_list("subject", "state")
    messages = AlertMessage.objects.order_by("created_at", "state").values_list("state", "count")
    lines.send(
        dump={
            "alerts": [list(each) for each in alerts],
            "messages": sorted(list(each) for each in messages),
            "deliveries": AlertDelivery.objects.count(),
        }
    )
