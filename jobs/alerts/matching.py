"""Projection that records which jobs meet the condition of a rule about events or about usage.

The rows are written in the transaction of the archiver: each archived event counts once.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from time import monotonic
from typing import Any, Final

from django.utils.translation import gettext as _

from events.database import database_now
from events.types import Event, EventType
from jobs.alerts.rules import AlertDefinition, active_rules, stored_rules
from jobs.conf import job_settings
from jobs.models import AlertMatch, Job
from jobs.usage import cost_of, tokens_of

# A change in the admin applies after this time.
CACHE_SECONDS: Final = 5.0


class AlertProjection:
    """Records matches; an `events.archive.Projection`, after the one that updates usage."""

    def __init__(self) -> None:
        self._matched: list[AlertDefinition] = []
        self._read_at = float("-inf")

    def lock(self, events: Mapping[str, Sequence[Event]]) -> Collection[str]:
        return ()  # the rows of the jobs are locked already

    def completed_jobs(self, job_ids: Collection[str]) -> Collection[str]:
        return ()

    def apply(self, events: Mapping[str, Sequence[Event]]) -> None:
        """Record one row per rule and job, with the last event that matches."""
        rules = self._rules()
        found = {
            (rule.name, job_id): (rule, event)
            for rule in rules
            for job_id, log in events.items()
            for event in log
            if _concerns(rule, event)
        }
        if found:
            _save(list(found.values()))

    def _rules(self) -> list[AlertDefinition]:
        if monotonic() >= self._read_at + CACHE_SECONDS:
            rules = active_rules(stored_rules())
            self._matched = [rule for rule in rules if rule.is_matched]
            self._read_at = monotonic()
        return self._matched


def _concerns(rule: AlertDefinition, event: Event) -> bool:
    if rule.kind != "event":
        return event.event_type == EventType.MODEL_RESULT
    return event.event_type == rule["event_type"] and _matches(rule, event)


def _matches(rule: AlertDefinition, event: Event) -> bool:
    equals, contains = rule["equals"], rule["contains"]
    if not (equals or contains):
        return True
    event_object = {"data": event.data}  # as in the API
    return all(
        any(_is_equal(value, wanted) for value in _values(event_object, path))
        for path, wanted in equals.items()
    ) and all(
        any(
            isinstance(value, str) and part.lower() in value.lower()
            for value in _values(event_object, path)
        )
        for path, part in contains.items()
    )


def _is_equal(value: object, wanted: object) -> bool:
    return value == wanted and isinstance(value, bool) == isinstance(wanted, bool)


def _values(data: Any, path: str) -> Iterator[Any]:
    """Yield the values at a path, such as `data.sources.title`: of each element of a list."""
    nodes = [(data, path)]  # not recursive: lists may be nested deeper than the stack
    while nodes:
        node, path = nodes.pop()
        if isinstance(node, list):
            nodes += [(each, path) for each in node]
        elif not path:
            yield node
        elif isinstance(node, Mapping):
            key, _dot, path = path.partition(".")
            if key in node:
                nodes.append((node[key], path))


def _save(found: Sequence[tuple[AlertDefinition, Event]]) -> None:
    """Insert or update the matches of jobs that have a row."""
    jobs = Job.objects.filter(job_id__in={event.job_id for _rule, event in found}).order_by()
    by_id = {job.job_id: job for job in jobs.only("job_id", "task_type", "usage")}
    now = database_now()
    rows = []
    for rule, event in found:
        job = by_id.get(event.job_id)
        if job is None or rule.task_type not in ("", job.task_type):
            continue
        value = _usage_above_limit(rule, job)
        if rule.kind == "event" or value is not None:
            text = _summary(rule, job)
            key = {"rule": rule.name, "job_id": job.job_id, "event_id": event.id}
            rows.append(AlertMatch(**key, value=value, summary=text, at=now))
    AlertMatch.objects.bulk_create(
        sorted(rows, key=lambda row: (row.rule, row.job_id)),
        update_conflicts=True,
        unique_fields=("rule", "job_id"),
        update_fields=("event_id", "value", "summary", "at"),
    )


def _usage_above_limit(rule: AlertDefinition, job: Job) -> float | None:
    if rule.kind == "event":
        return None
    used = tokens_of(job.usage) if rule.kind == "tokens" else cost_of(job.usage)
    return used if used is not None and used > rule["limit"] else None


def _summary(rule: AlertDefinition, job: Job) -> str:
    """Return a text about the job without texts of its events, which may be confidential."""
    names = {"job_id": job.job_id, "task_type": job.task_type}
    if rule.kind == "event":
        text = _("Job %(job_id)s (%(task_type)s) has published an event %(event_type)s.")
        return text % {**names, "event_type": rule["event_type"]}
    limit = f"{rule['limit']:g}"
    if rule.kind == "tokens":
        text = _("Job %(job_id)s (%(task_type)s) has used more than %(limit)s tokens.")
        return text % {**names, "limit": limit}
    text = _("Job %(job_id)s (%(task_type)s) has cost more than %(limit)s %(currency)s.")
    return text % {**names, "limit": limit, "currency": job_settings.CURRENCY}
