"""Evaluator: the loop of process_events that evaluates the alert rules.

Each evaluation reads outside of a transaction and writes in one, which changes the checkpoint from
the time that was read. Of several processors, and after a crash, each change is written once.
"""

import logging
from datetime import datetime, timedelta
from math import floor
from time import monotonic
from typing import Any, Final

from django.db.models import Exists, OuterRef, Q, QuerySet

from events.conf import DAY_SECONDS
from events.database import atomic, aware_time, column_time, database_now, is_unavailable
from events.error_report import shortened_error
from events.log_format import log_failure
from jobs.alerts.conditions import (
    Observation,
    Occurrence,
    interval,
    match_seconds,
    occurrences,
)
from jobs.alerts.erasure import finish_erasure
from jobs.alerts.grouping import create_messages
from jobs.alerts.rules import AlertDefinition, active_rules, stored_rules
from jobs.alerts.states import Outcome, apply_outcomes, lock_free
from jobs.conf import job_settings
from jobs.models import Alert, AlertDelivery, AlertMatch, AlertMessage, MonitorCheckpoint
from jobs.selectors import in_chunks

logger = logging.getLogger(__name__)

CHECKPOINT: Final = "alerts"
INTERVAL: Final = timedelta(seconds=5)
# Processors evaluate in turn; the loop of each has its own phase.
_TOLERANCE: Final = timedelta(seconds=0.5)
_CLEANUP_SECONDS: Final = 60.0
_MAX_DELETED: Final = 5000
_QUERY_CANCELED: Final = "57014"  # SQLSTATE of PostgreSQL: one query takes too long


class Evaluator:
    """Step of `process_events`. Several processes may run one.

    With `single_pass` (`process_events --once`), the first step only requests another round: what
    has waited since the last pass is not archived in the first.
    """

    def __init__(self, *, single_pass: bool = False) -> None:
        self._is_early = single_pass
        self._next_at = self._cleanup_at = 0.0

    def step(self) -> int:
        """Evaluate the rules if they are due; return the number of changes.

        Raises django.db.Error.
        """
        if self._is_early:
            self._is_early = False
            return 1
        if monotonic() < self._next_at:
            return 0
        self._next_at = monotonic() + INTERVAL.total_seconds()
        now = column_time(aware_time(database_now()))
        previous = _checkpoint(now)
        if previous <= now < previous + INTERVAL - _TOLERANCE:
            return 0
        count = _evaluate(previous, now)
        if monotonic() >= self._cleanup_at:
            self._cleanup_at = monotonic() + _CLEANUP_SECONDS
            delete_matches(now)
            delete_history(now)
            finish_erasure(Q())
        return count


def _checkpoint(now: datetime) -> datetime:
    at = {"at": now - timedelta(days=1)}
    row, _created = MonitorCheckpoint.objects.get_or_create(name=CHECKPOINT, defaults=at)
    return row.at


def _evaluate(previous: datetime, now: datetime) -> int:
    rules = active_rules(stored_rules())
    observation = Observation(now)
    outcomes = [_outcome(rule, observation) for rule in rules if _is_due(rule, previous, now)]
    with atomic():
        rows = MonitorCheckpoint.objects.filter(name=CHECKPOINT, at=previous)
        if not rows.update(at=now):
            return 0  # another processor has evaluated
        return apply_outcomes(outcomes, rules, now) + create_messages(rules, now)


def _is_due(rule: AlertDefinition, previous: datetime, now: datetime) -> bool:
    """Return whether an interval of the rule begins between the two times."""
    seconds = interval(rule)
    times = (aware_time(each).timestamp() for each in (previous, now))
    return not seconds or len({floor(each / seconds) for each in times}) > 1


def _outcome(rule: AlertDefinition, observation: Observation) -> Outcome:
    """Evaluate a rule; an error becomes part of the outcome, unless the database fails."""
    found: list[Occurrence] = []
    error = rule.error
    try:
        if not error:
            found.extend(occurrences(rule, observation))
    except Exception as raised:
        sqlstate = getattr(raised.__cause__, "sqlstate", None)
        if is_unavailable(raised) and sqlstate != _QUERY_CANCELED:
            raise
        log_failure(logger, "alert_rule_failed", raised, rule=rule.name)
        error = shortened_error(raised)
    return Outcome.of(rule, found, error)


def delete_matches(now: datetime) -> None:
    """Delete the matches whose window is over, and those of other rules."""
    matched = {rule.name: rule for rule in active_rules(stored_rules()) if rule.is_matched}
    for name in AlertMatch.objects.order_by().values_list("rule", flat=True).distinct():
        rows = AlertMatch.objects.filter(rule=name).order_by("id")
        if rule := matched.get(name):
            rows = rows.filter(at__lt=now - timedelta(seconds=match_seconds(rule)))
        _delete(rows)


def delete_history(now: datetime) -> None:
    """Delete what is older than SAMPLE_DAYS: resolved alerts, then the messages about them.

    Not messages with deliveries that are retried.
    """
    before = now - timedelta(seconds=job_settings.SAMPLE_DAYS * DAY_SECONDS)
    ended = Alert.objects.filter(
        ~Exists(AlertMessage.objects.filter(resolved=OuterRef("pk"), created_at__gte=before)),
        state=Alert.State.RESOLVED,
        pending_at__lt=before,
        resolved_at__lt=before,
    )
    _delete(ended.order_by("pending_at", "id"))
    alerts = Alert.objects.order_by()
    retried = AlertDelivery.objects.filter(
        message=OuterRef("pk"), delivered_at=None, next_at__isnull=False
    )
    unused = AlertMessage.objects.filter(
        ~Exists(retried),
        ~Exists(alerts.filter(firing_message=OuterRef("pk"))),
        ~Exists(alerts.filter(resolved_message=OuterRef("pk"))),
        created_at__lt=before,
    )
    _delete(unused.order_by("created_at", "pk"))


def _delete(rows: "QuerySet[Any]") -> None:
    """Delete up to 5,000 of the rows, without those that other transactions have locked."""
    with atomic():
        pks = list(lock_free(rows).values_list("pk", flat=True)[:_MAX_DELETED])
        for chunk in in_chunks(pks):
            rows.model._default_manager.filter(pk__in=chunk).delete()  # noqa: SLF001 - documented by Django
