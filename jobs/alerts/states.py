"""States of alerts: how an evaluation changes them, within the transaction of the evaluator.

Rows that an erasure has locked are skipped; the next evaluation finds them changed or gone.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from jobs.alerts.conditions import MAX_SUBJECTS, Occurrence
from jobs.alerts.rules import AlertDefinition
from jobs.models import Alert, Job
from jobs.selectors import in_chunks

# The subject of an alert about the rule itself.
RULE_SUBJECT: Final = "rule"
_CHUNK_ROWS: Final = 500
# The jobs of more alerts are in the summaries as they were first.
_MAX_REFRESHED: Final = 100

State = Alert.State


@dataclass(frozen=True, slots=True)
class Outcome:
    """The evaluation of a rule; after an error, it may lack subjects."""

    rule: AlertDefinition
    occurrences: Mapping[str, Occurrence]
    is_complete: bool = True

    @classmethod
    def of(cls, rule: AlertDefinition, found: Iterable[Occurrence], error: str = "") -> "Outcome":
        """Return the outcome with at most MAX_SUBJECTS subjects; `error` is itself one."""
        by_subject = {each.subject: each for each in found}
        subjects = dict(list(by_subject.items())[:MAX_SUBJECTS])
        if error:
            text = _("The rule cannot be evaluated: %(error)s") % {"error": error}
            subjects[RULE_SUBJECT] = Occurrence(RULE_SUBJECT, text)
        elif len(by_subject) > MAX_SUBJECTS:
            text = _("The condition holds for more than %(count)d subjects: others have no alerts.")
            text = text % {"count": MAX_SUBJECTS}
            subjects[RULE_SUBJECT] = Occurrence(RULE_SUBJECT, text)
        return cls(rule, subjects, is_complete=not error)


@dataclass(slots=True)
class _Changes:
    """What to write; of open alerts the primary keys."""

    now: datetime
    new: list[Alert] = field(default_factory=list)
    new_jobs: set[str] = field(default_factory=set)
    firing: list[int] = field(default_factory=list)
    resolved: list[int] = field(default_factory=list)
    deleted: list[int] = field(default_factory=list)
    restarted: list[int] = field(default_factory=list)
    refreshed: list[Alert] = field(default_factory=list)

    def add(self, outcome: Outcome, alerts: Mapping[str, Alert]) -> None:
        """Compare the outcome of a rule with its open alerts."""
        rule = outcome.rule
        room = MAX_SUBJECTS + 1 - len(alerts)
        for subject, occurrence in outcome.occurrences.items():
            if alert := alerts.get(subject):
                self._continue(rule, alert, occurrence)
            elif room > 0:
                room -= 1
                self._begin(rule, occurrence)
        if outcome.is_complete:
            self.end(alert for each, alert in alerts.items() if each not in outcome.occurrences)

    def end(self, alerts: Iterable[Alert]) -> None:
        for alert in alerts:
            (self.resolved if alert.state == State.FIRING else self.deleted).append(alert.pk)

    def _begin(self, rule: AlertDefinition, occurrence: Occurrence) -> None:
        is_firing = not rule.for_seconds or occurrence.subject == RULE_SUBJECT
        alert = Alert(
            rule=rule.name,
            subject=occurrence.subject,
            state=State.FIRING if is_firing else State.PENDING,
            value=occurrence.value,
            summary=occurrence.summary,
            pending_at=self.now,
            fired_at=self.now if is_firing else None,
        )
        self.new.append(alert)
        if rule.is_per_job and occurrence.subject != RULE_SUBJECT:
            self.new_jobs.add(occurrence.subject)

    def _continue(self, rule: AlertDefinition, alert: Alert, occurrence: Occurrence) -> None:
        if alert.state == State.PENDING:
            if alert.pending_at > self.now:  # the clock was turned back
                self.restarted.append(alert.pk)
            elif alert.pending_at + timedelta(seconds=rule.for_seconds) <= self.now:
                self.firing.append(alert.pk)
        known, found = (alert.value, alert.summary), (occurrence.value, occurrence.summary)
        if not rule.is_per_job and known != found:
            alert.value, alert.summary = found
            self.refreshed.append(alert)

    def write(self) -> int:
        """Write the changes; return the number of alerts whose state has changed."""
        pks = [*self.firing, *self.resolved, *self.deleted, *self.restarted]
        held = locked(pks, Q(resolved_at=None))
        states = {"state": State.FIRING, "fired_at": self.now}
        count = _update(held & {*self.firing}, **states)
        count += _update(held & {*self.resolved}, state=State.RESOLVED, resolved_at=self.now)
        _update(held & {*self.restarted}, pending_at=self.now)
        for chunk in in_chunks(held & {*self.deleted}):
            count += Alert.objects.filter(pk__in=chunk).delete()[0]
        Alert.objects.bulk_update(self.refreshed[:_MAX_REFRESHED], ("value", "summary"))
        return count + self._insert()

    def _insert(self) -> int:
        jobs = _lock_jobs(self.new_jobs)
        new = [each for each in self.new if each.subject in jobs or not self._is_of_job(each)]
        Alert.objects.bulk_create(new, batch_size=_CHUNK_ROWS, ignore_conflicts=True)
        return len(new)

    def _is_of_job(self, alert: Alert) -> bool:
        return alert.subject in self.new_jobs


def apply_outcomes(
    outcomes: Sequence[Outcome], rules: Iterable[AlertDefinition], now: datetime
) -> int:
    """Change the alerts of these rules; end those of rules that no longer exist.

    `rules` are all rules. Returns the number of alerts whose state has changed.
    """
    open_alerts: dict[str, dict[str, Alert]] = {}
    for alert in Alert.objects.filter(resolved_at=None).order_by("-pending_at", "-id"):
        open_alerts.setdefault(alert.rule, {})[alert.subject] = alert
    changes = _Changes(now)
    for outcome in outcomes:
        changes.add(outcome, open_alerts.get(outcome.rule.name, {}))
    for name in open_alerts.keys() - {rule.name for rule in rules}:
        changes.end(open_alerts[name].values())
    return changes.write()


def locked(pks: Iterable[int], condition: Q) -> set[int]:
    """Lock alerts; return those that no other transaction has locked, or changed meanwhile."""
    found: set[int] = set()
    for chunk in in_chunks(pks):
        rows = Alert.objects.filter(condition, pk__in=chunk).order_by()
        found.update(lock_free(rows).values_list("pk", flat=True))
    return found


def lock_free(rows: "QuerySet[Any]") -> "QuerySet[Any]":
    """Lock the rows, without those that another transaction has locked. SQLite has one lock."""
    return rows.select_for_update(skip_locked=True, no_key=True)


def _lock_jobs(job_ids: Iterable[str]) -> set[str]:
    """Lock the rows of jobs: a job that is deleted meanwhile must not get an alert."""
    found: set[str] = set()
    for chunk in in_chunks(job_ids):
        rows = Job.objects.filter(job_id__in=chunk).order_by()
        found.update(lock_free(rows).values_list("job_id", flat=True))
    return found


def _update(pks: Iterable[int], **values: Any) -> int:
    return sum(Alert.objects.filter(pk__in=chunk).update(**values) for chunk in in_chunks(pks))
