"""Metrics from the database and Redis, computed for each exposition; each server returns the same.

No label is a job_id. Of task types, reasons and rules there are at most MAX_LABELS.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import django.db
from django.db.models import Count

from events.counts import MAX_COUNT, capped_count
from events.metrics import Definition, FamilySample, MetricFamily
from events.metrics.instruments import PREFIX
from events.processor.health import status_cache
from events.processor.problems import PROBLEM_CODES
from events.processor.status import LogStatus, status_without_database
from jobs.models import Alert, InputRequest, Job
from jobs.monitoring import figures
from jobs.monitoring.histogram import bucket_middle
from jobs.monitoring.totals import sample_totals

MAX_PROCESSORS: Final = 50
DURATION_BOUNDS_SECONDS: Final = (
    0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 14400.0,
    86400.0,
)  # fmt: skip
_OPEN: Final = (Job.Status.PENDING, Job.Status.RUNNING)

Labels = Mapping[str, Sequence[str]]

_GAUGES: Final = {
    "database_up": "1 if the database answers.",
    "redis_up": "1 if Redis answers.",
    "processors": "Processes of process_events with a heartbeat in the last 30 seconds.",
    "outbox_events": "Committed events that are not in their stream yet.",
    "outbox_age_seconds": "Age of the oldest of them.",
    "streams": "Streams in Redis.",
    "streams_behind": "Streams with events that are not archived.",
    "archive_age_seconds": "Age of the oldest event that is not archived.",
    "redis_used_bytes": "Memory of Redis in use, as it compares it with maxmemory.",
    "redis_limit_bytes": "maxmemory of Redis; 0 without a limit.",
    "stalled_logs": "Logs that cannot be archived.",
    "lost_event_gaps": "Gaps in logs, of events that Redis lost in the last 24 hours.",
    "inputs_pending": f"Open input requests; {MAX_COUNT + 1} if there are more.",
}
_LABELLED_GAUGES: Final[Mapping[str, tuple[str, Labels]]] = {
    "problem": (
        "1 if process_events --status reports the problem; operations.md has a heading for each.",
        {"code": PROBLEM_CODES},
    ),
    "heartbeat_age_seconds": (
        "Time since the heartbeat of a processor that was alive in the last hour.",
        {"processor": ()},
    ),
    "loop_failing_seconds": (
        "Time for which a loop of a processor has failed; 0 if it succeeds.",
        {"processor": (), "loop": ()},
    ),
    "jobs": (
        f"Jobs that are not finished, among the newest {MAX_COUNT} of each status.",
        {"task_type": (), "status": _OPEN},
    ),
    "alerts": (
        "Alerts that are pending or firing.",
        {"rule": (), "state": ("pending", "firing")},
    ),
}
_LOOP_COUNTERS: Final[Mapping[str, tuple[str, Labels]]] = {
    "loop_events": ("What a loop of a processor has done.", {"processor": (), "loop": ()}),
    "loop_failures": (
        "Rounds of a loop of a processor that failed.",
        {"processor": (), "loop": ()},
    ),
}
# The counters by the figures that they sum up.
_SUMS: Final[Mapping[str, tuple[str, str, Labels]]] = {
    figures.EVENTS_APPENDED: ("appended_events", "Events by the time of their append.", {}),
    figures.EVENTS_ARCHIVED: ("archived_events", "Events that processors archived.", {}),
    figures.JOBS_CREATED: ("jobs_created", "Jobs that were created.", {"task_type": ()}),
    figures.ATTEMPTS_ENDED: (
        "attempts_ended",
        "Attempts of jobs that ended.",
        {"task_type": (), "status": figures.ENDED},
    ),
    figures.FAILURES: (
        "failed_attempts",
        "Attempts that failed, by reason; `error` for an exception of the task.",
        {"reason": ()},
    ),
    figures.TOKENS: (
        "tokens",
        "Tokens of language models.",
        {"task_type": (), "direction": ("input", "output")},
    ),
    figures.COST: ("cost", "Cost of the tokens in CURRENCY.", {"task_type": ()}),
}
_HISTOGRAMS: Final[Mapping[str, tuple[str, str, Labels]]] = {
    "queue_wait": (
        "queue_wait_seconds",
        "Time from the creation of an attempt until a worker started it.",
        {"task_type": ()},
    ),
    "duration": (
        "duration_seconds",
        "Time from the start of an attempt to its end.",
        {"task_type": ()},
    ),
    "first_event": (
        "first_event_seconds",
        "Time from the creation of a job to the first event of its first attempt.",
        {"task_type": ()},
    ),
}


def _definitions() -> Iterator[Definition]:
    for name, description in _GAUGES.items():
        yield Definition("gauge", PREFIX + name, description)
    for name, (description, labels) in _LABELLED_GAUGES.items():
        yield Definition("gauge", PREFIX + name, description, labels)
    for name, (description, labels) in _LOOP_COUNTERS.items():
        yield Definition("counter", PREFIX + name, description, labels)
    for name, description, labels in _SUMS.values():
        yield Definition("counter", PREFIX + name, description, labels)
    for name, description, labels in _HISTOGRAMS.values():
        yield Definition("histogram", PREFIX + name, description, labels)


DEFINITIONS: Final = {each.name: each for each in _definitions()}


class _Samples:
    """The samples of an exposition by metric."""

    def __init__(self) -> None:
        self._samples: defaultdict[str, list[FamilySample]] = defaultdict(list)

    def add(self, metric: str, value: float | None, suffix: str = "", /, **labels: str) -> None:
        """Add a value, unless it is unknown."""
        if value is not None:
            name = PREFIX + metric
            self._samples[name].append(FamilySample(suffix, labels, float(value)))

    def families(self) -> list[MetricFamily]:
        return [MetricFamily(DEFINITIONS[name], each) for name, each in self._samples.items()]


def collect() -> list[MetricFamily]:
    """Return the metrics; without the database, those that are known."""
    samples = _Samples()
    try:
        _add_status(samples, status_cache.get())
        _add_rows(samples)
        _add_sums(samples, sample_totals.read())
    except django.db.Error as error:
        samples = _Samples()
        _add_status(samples, status_without_database(error))
    return samples.families()


def _add_status(samples: _Samples, status: LogStatus) -> None:
    redis, archive = status.redis, status.archive
    samples.add("database_up", not status.database_error)
    samples.add("redis_up", not redis.error)
    problems = {each.code for each in status.problems}
    for code in PROBLEM_CODES:
        samples.add("problem", code in problems, code=code)
    if redis.policy:  # otherwise its memory is unknown
        samples.add("redis_used_bytes", redis.used)
        samples.add("redis_limit_bytes", redis.limit)
    samples.add("streams", archive.streams)
    samples.add("streams_behind", archive.behind)
    if archive.behind is not None:
        samples.add("archive_age_seconds", archive.oldest_age or 0)
    if not status.database_error:
        samples.add("outbox_events", status.outbox.depth)
        samples.add("outbox_age_seconds", status.outbox.oldest_age or 0)
        samples.add("stalled_logs", status.stalled_count)
        samples.add("lost_event_gaps", status.loss_count)
        _add_processors(samples, status)


def _add_processors(samples: _Samples, status: LogStatus) -> None:
    samples.add("processors", sum(each.alive for each in status.processors))
    for each in status.processors[:MAX_PROCESSORS]:
        age = max((status.at - each.heartbeat_at).total_seconds(), 0)
        samples.add("heartbeat_age_seconds", age, processor=each.name)
        for loop, stats in each.loops.items():
            labels = {"processor": each.name, "loop": loop}
            samples.add("loop_events", stats.get("events"), "_total", **labels)
            samples.add("loop_failures", stats.get("failures"), "_total", **labels)
            samples.add("loop_failing_seconds", stats.get("failing_seconds"), **labels)


def _add_rows(samples: _Samples) -> None:
    for status in _OPEN:
        rows = Job.objects.filter(status=status).order_by("-created_at", "-id")
        counts = Counter(rows.values_list("task_type", flat=True)[:MAX_COUNT])
        for task_type, count in figures.limited(counts).items():
            samples.add("jobs", count, task_type=task_type, status=status)
    samples.add("inputs_pending", capped_count(InputRequest.objects.filter(answered_at=None)))
    alerts = Alert.objects.filter(resolved_at=None).order_by("rule", "state")
    counted = alerts.values_list("rule", "state").annotate(Count("pk"))
    for rule, state, count in counted[: figures.MAX_LABELS]:
        samples.add("alerts", count, rule=rule, state=state)


# Sums of samples


def _add_sums(samples: _Samples, sums: Mapping[str, Any]) -> None:
    for figure, (metric, _, labels) in _SUMS.items():
        for values, number in _leaves(sums.get(figure, 0 if not labels else {})):
            samples.add(metric, number, "_total", **dict(zip(labels, values, strict=True)))
    for figure, (metric, _, _) in _HISTOGRAMS.items():
        for task_type, buckets in sums.get(figure, {}).items():
            _add_histogram(samples, metric, task_type, buckets)


def _leaves(value: Any) -> Iterator[tuple[tuple[str, ...], float]]:
    if not isinstance(value, Mapping):
        yield (), value
        return
    for label, each in value.items():
        for labels, number in _leaves(each):
            yield (label, *labels), number


def _add_histogram(
    samples: _Samples, metric: str, task_type: str, buckets: Mapping[str, int]
) -> None:
    """Add cumulative buckets; a duration counts as the middle of its bucket in the sample."""
    middles = sorted((bucket_middle(bucket), count) for bucket, count in buckets.items())
    for bound in DURATION_BOUNDS_SECONDS:
        count = sum(count for middle, count in middles if middle <= bound)
        samples.add(metric, count, "_bucket", task_type=task_type, le=str(bound))
    count = sum(buckets.values())
    samples.add(metric, count, "_bucket", task_type=task_type, le="+Inf")
    samples.add(metric, count, "_count", task_type=task_type)
    total = sum(middle * count for middle, count in middles)
    samples.add(metric, total, "_sum", task_type=task_type)
