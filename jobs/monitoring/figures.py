"""Figures of a period: their names, what rows add to them, and how those of periods are merged.

docs/reference.md, "Figures", describes each. A value is a number, or an object of values by label.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from jobs.models import Job
from jobs.monitoring.histogram import bucket_of
from jobs.usage import INPUT, OUTPUT, Usage, cost_of

ARCHIVE_AGE: Final = "archive_age"
# Of attempts that have ended, in the order of charts.
ENDED: Final = (Job.Status.COMPLETED, Job.Status.FAILED, Job.Status.CANCELLED)

# At the end of a period; of a longer period, the worst.
GAUGES: Final = (
    "processors", "outbox_depth", "outbox_age", "archive_behind", ARCHIVE_AGE, "streams",
    "redis_used", "redis_limit", "stalled_logs", "jobs_pending", "jobs_running", "inputs_pending",
)  # fmt: skip
# Of these the least is the worst.
_LEAST: Final = frozenset({"processors"})

EVENTS_APPENDED: Final = "events_appended"
# Each processor adds what it has archived; the others are computed from rows.
EVENTS_ARCHIVED: Final = "events_archived"

JOBS_CREATED: Final = "jobs_created"  # {task_type: count}
ATTEMPTS_ENDED: Final = "attempts_ended"  # {task_type: {status: count}}
FAILURES: Final = "failures"  # {reason: count}
TOKENS: Final = "tokens"  # {task_type: {"input": count, "output": count}}
COST: Final = "cost"  # {task_type: amount}
HISTOGRAMS: Final = ("queue_wait", "duration", "first_event")  # {task_type: {bucket: count}}
LABELLED: Final = (JOBS_CREATED, ATTEMPTS_ENDED, FAILURES, TOKENS, COST, *HISTOGRAMS)
FROM_ROWS: Final = (EVENTS_APPENDED, *LABELLED)

MAX_LABELS: Final = 50
# The label of all others, and the reason of a failure without one.
OTHER: Final = "other"
ERROR: Final = "error"

Values = dict[str, Any]


class EndedAttempt(NamedTuple):
    """An attempt that has ended; durations are in seconds, None if one has no start or no end."""

    finished_at: datetime
    task_type: str
    status: str
    reason: str
    number: int
    queue_wait: float | None
    duration: float | None
    first_event: float | None


class PeriodFigures:
    """Adds rows up to the figures of one period."""

    def __init__(self) -> None:
        self._values: dict[str, dict[str, Any]] = {name: {} for name in LABELLED}

    def add_job(self, task_type: str) -> None:
        """Count a job that was created."""
        self._add(JOBS_CREATED, task_type)

    def add_attempt(self, attempt: EndedAttempt) -> None:
        """Count an attempt that has ended, with its durations."""
        self._add(ATTEMPTS_ENDED, attempt.task_type, attempt.status)
        if attempt.status == Job.Status.FAILED:
            self._add(FAILURES, attempt.reason or ERROR)
        # The first event of the job is not one of a later attempt.
        first_event = attempt.first_event if attempt.number == 1 else None
        durations = (attempt.queue_wait, attempt.duration, first_event)
        for name, seconds in zip(HISTOGRAMS, durations, strict=True):
            if seconds is not None:
                self._add(name, attempt.task_type, bucket_of(seconds))

    def add_usage(self, task_type: str, usage: Usage) -> None:
        """Add tokens, and their cost if the models have a price."""
        for label, key in (("input", INPUT), ("output", OUTPUT)):
            if tokens := sum(counts[key] for counts in usage.values()):
                self._add(TOKENS, task_type, label, amount=tokens)
        if cost := cost_of(usage):
            self._add(COST, task_type, amount=cost)

    def values(self) -> Values:
        """Return the figures that are not 0, with at most MAX_LABELS labels each."""
        return {name: limited(value) for name, value in self._values.items() if value}

    def _add(self, name: str, *labels: str, amount: float = 1) -> None:
        node = self._values[name]
        for label in labels[:-1]:
            node = node.setdefault(label, {})
        node[labels[-1]] = node.get(labels[-1], 0) + amount


def merged(periods: Iterable[Mapping[str, Any]]) -> Values:
    """Return the figures of a period from those of its parts."""
    found: dict[str, list[Any]] = {}
    for values in periods:
        for name, value in values.items():
            found.setdefault(name, []).append(value)
    return {name: _merged(name, values) for name, values in found.items()}


def _merged(name: str, values: Sequence[Any]) -> Any:
    if isinstance(values[0], dict):
        return limited(sum_of(values))
    if name in GAUGES:
        return min(values) if name in _LEAST else max(values)
    return sum(values)


def sum_of(values: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the sums of values by label."""
    total: dict[str, Any] = {}
    for value in values:
        _add_to(total, value)
    return total


def _add_to(total: dict[str, Any], value: Mapping[str, Any]) -> None:
    for label, each in value.items():
        if isinstance(each, dict):  # ten times as fast as Mapping
            _add_to(total.setdefault(label, {}), each)
        else:
            total[label] = total.get(label, 0) + each


def limited(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a value with the MAX_LABELS greatest labels; the others count as OTHER."""
    if len(value) <= MAX_LABELS:
        return value
    ordered = sorted(value.keys() - {OTHER}, key=lambda label: (-size(value[label]), label))
    kept = {label: value[label] for label in ordered[: MAX_LABELS - 1]}
    others = (value[label] for label in value.keys() - kept.keys())
    return sum_of([kept, *({OTHER: each} for each in others)])


def size(value: Any) -> float:
    """Return the sum of all numbers of a value."""
    if isinstance(value, dict):
        return sum(map(size, value.values()))
    return float(value)
