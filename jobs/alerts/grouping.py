"""Grouping: messages about alerts of a rule, within the transaction of the evaluator.

Alerts without a message are collected for ALERT_GROUP_WAIT; the next message of the rule follows
ALERT_GROUP_INTERVAL later at the earliest.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import Count

from events.database import aware_time
from jobs.alerts.channels import delivery_channels
from jobs.alerts.links import job_link, monitor_link
from jobs.alerts.rules import AlertDefinition
from jobs.alerts.states import RULE_SUBJECT, locked
from jobs.conf import job_settings
from jobs.models import UNSENT, Alert, AlertDelivery, AlertMessage, Silence
from jobs.selectors import in_chunks

MAX_ALERTS_SHOWN: Final = 20

State = Alert.State


def create_messages(rules: Iterable[AlertDefinition], now: datetime) -> int:
    """Insert the messages that are due, with their deliveries; return the number of messages."""
    by_name = {rule.name: rule for rule in rules}
    unsent = list(Alert.objects.filter(UNSENT, rule__in=by_name).order_by("pk"))
    if not unsent:
        return 0
    silences = list(Silence.objects.filter(starts_at__lte=now, ends_at__gt=now))
    groups: dict[tuple[str, str], list[Alert]] = {}
    for alert in unsent:
        if not any(_is_silenced(alert, silence) for silence in silences):
            groups.setdefault((alert.rule, alert.state), []).append(alert)
    waiting = _recently_sent(by_name, now)
    due = {
        key: alerts
        for key, alerts in groups.items()
        if key[0] not in waiting and _is_due(alerts, now)
    }
    held = locked((alert.pk for alerts in due.values() for alert in alerts), UNSENT)
    groups = {key: [each for each in due[key] if each.pk in held] for key in due}
    found = [(by_name[name], state, alerts) for (name, state), alerts in groups.items() if alerts]
    return _insert(found, now) if found else 0


def _is_silenced(alert: Alert, silence: Silence) -> bool:
    return silence.rule in ("", alert.rule) and silence.subject in ("", alert.subject)


def _changed_at(alert: Alert) -> datetime:
    time = alert.resolved_at if alert.state == State.RESOLVED else alert.fired_at
    return time or alert.pending_at


def _is_due(alerts: Sequence[Alert], now: datetime) -> bool:
    """Return whether the first alert is old enough, or newer than the clock, which was changed."""
    first = min(map(_changed_at, alerts))
    return not now - timedelta(seconds=job_settings.ALERT_GROUP_WAIT) < first <= now


def _recently_sent(names: Iterable[str], now: datetime) -> set[str]:
    """Return the rules whose last message is younger than ALERT_GROUP_INTERVAL."""
    since = now - timedelta(seconds=job_settings.ALERT_GROUP_INTERVAL)
    sent = AlertMessage.objects.filter(rule__in=names, created_at__gt=since, created_at__lte=now)
    return set(sent.order_by().values_list("rule", flat=True).distinct())


def _insert(due: Sequence[tuple[AlertDefinition, str, list[Alert]]], now: datetime) -> int:
    names = {rule.name for rule, _state, _alerts in due}
    firing = Alert.objects.filter(
        rule__in=names, fired_at__isnull=False, resolved_at=None
    ).order_by()
    totals = dict(firing.values_list("rule").annotate(Count("pk")))
    messages = [
        AlertMessage(
            rule=rule.name,
            state=state,
            count=len(alerts),
            body=_body(rule, state, alerts, totals.get(rule.name, 0)),
            created_at=now,
        )
        for rule, state, alerts in due
    ]
    AlertMessage.objects.bulk_create(messages)
    AlertDelivery.objects.bulk_create(
        AlertDelivery(message=message, channel=channel, next_at=now)
        for message, (rule, _state, _alerts) in zip(messages, due, strict=True)
        for channel in delivery_channels(rule.channels)
    )
    for message, (_rule, state, alerts) in zip(messages, due, strict=True):
        _mark_sent(message, state, alerts)
    return len(messages)


def _mark_sent(message: AlertMessage, state: str, alerts: Sequence[Alert]) -> None:
    field = "firing_message" if state == State.FIRING else "resolved_message"
    for chunk in in_chunks(alert.pk for alert in alerts):
        Alert.objects.filter(pk__in=chunk).update(**{field: message})


def _body(
    rule: AlertDefinition, state: str, alerts: Sequence[Alert], firing: int
) -> Mapping[str, Any]:
    # An alert about the rule itself explains the others.
    ordered = sorted(alerts, key=lambda alert: (alert.subject != RULE_SUBJECT, _changed_at(alert)))
    return {
        "rule": rule.name,
        "kind": rule.kind,
        "state": state,
        "count": len(alerts),
        "firing": firing,
        "alerts": [_shown(rule, alert) for alert in ordered[:MAX_ALERTS_SHOWN]],
        "monitor": monitor_link(),
    }


def _shown(rule: AlertDefinition, alert: Alert) -> dict[str, Any]:
    is_job = rule.is_per_job and alert.subject != RULE_SUBJECT
    return {
        "subject": alert.subject,
        "summary": alert.summary,
        "value": alert.value,
        "since": aware_time(alert.pending_at).isoformat(),
        "url": job_link(alert.subject) if is_job else "",
    }
