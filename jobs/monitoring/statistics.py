"""Series of figures for a time range: from samples, or from the jobs of a user.

Each series is a list with a value for each period of the range, None where it is unknown.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple, TypeVar

from django.db.models import JSONField, QuerySet, Value
from django.db.models.functions import NullIf

from events.database import aware_time, database_now
from jobs.models import Attempt, Job
from jobs.monitoring.figures import (
    ATTEMPTS_ENDED,
    COST,
    ENDED,
    EVENTS_APPENDED,
    EVENTS_ARCHIVED,
    FAILURES,
    GAUGES,
    HISTOGRAMS,
    JOBS_CREATED,
    TOKENS,
    EndedAttempt,
    Values,
    size,
    sum_of,
)
from jobs.monitoring.histogram import quantile
from jobs.monitoring.rows import (
    FiguresByPeriod,
    attempt_rows,
    created_jobs,
    ended_attempts,
    floor_time,
    period_starts,
)
from jobs.monitoring.samples import samples_of

T = TypeVar("T")

MAX_ROWS: Final = 10_000
# Until then, the sampler has written the latest period.
_DELAY: Final = timedelta(seconds=10)
_QUANTILES: Final = {"p50": 0.5, "p95": 0.95}
_DIRECTIONS: Final = ("input", "output")


class Range(NamedTuple):
    """A time range and the length of its periods, in seconds."""

    seconds: int
    step: int


RANGES: Final[Mapping[str, Range]] = {
    "1h": Range(3600, 60),
    "24h": Range(24 * 3600, 600),
    "7d": Range(7 * 24 * 3600, 3600),
}


@dataclass(frozen=True, slots=True)
class Statistics:
    """The series of a range that starts at `start`, with a value every `step` seconds.

    `complete` is False if the range has more rows than MAX_ROWS: the values of earlier periods are
    None. `task_types` are those that the range has, the most frequent first; `ended` has the number
    of attempts by task_type and status.
    """

    range: str
    start: datetime
    step: int
    complete: bool
    series: dict[str, Any]
    task_types: list[str]
    ended: dict[str, dict[str, int]]


def series(name: str, task_type: str = "") -> Statistics:
    """Return the series of all jobs in a range of RANGES from samples, with two queries."""
    start, end, step = _interval(name)
    periods = _samples(start, end, step)
    before = _samples(start - (end - start), start, step, name=ATTEMPTS_ENDED)
    known = {at: values for at, values in periods.items() if EVENTS_APPENDED in values}
    starts = period_starts(start, end, step)
    found = {each: [periods.get(at, {}).get(each) for at in starts] for each in GAUGES}
    for each in (EVENTS_APPENDED, EVENTS_ARCHIVED):
        found[each] = [periods[at].get(each, 0) if at in known else None for at in starts]
    found |= _job_series(starts, known, before, task_type)
    return Statistics(name, start, step, True, found, *_types(known.values()))


def user_series(jobs: QuerySet[Job], name: str, task_type: str = "") -> Statistics:
    """Return the series of `jobs` in a range of RANGES, without those of the processing.

    They are computed from the newest MAX_ROWS jobs and attempts. Tokens count at the end of a job.
    """
    start, end, step = _interval(name)
    jobs, first = jobs.order_by(), start - (end - start)
    if task_type:
        jobs = jobs.filter(task_type=task_type)
    attempts = attempts_of(ended_attempts(start, end), jobs)
    earlier = attempts_of(ended_attempts(first, start), jobs)
    # None instead of {}, which takes longer to decode.
    usage = NullIf("job__usage", Value({}, JSONField()))
    created, since_created = newest_rows(created_jobs(jobs, start, end), lambda row: row[1])
    rows = attempt_rows(attempts, "job__attempt", usage)
    ended, since_ended = newest_rows(rows, lambda row: row[0])
    periods, starts = _figures(created, ended, step), period_starts(start, end, step)
    since = max(since_created or start, since_ended or start)
    known = {at: periods.get(at, {}) for at in starts if at >= since}
    before = _ended_before(earlier, task_type, step) if since_ended is None else {}
    found = _job_series(starts, known, before, task_type)
    return Statistics(name, start, step, since == start, found, *_types(known.values()))


def attempts_of(attempts: QuerySet[Attempt], jobs: QuerySet[Job]) -> QuerySet[Attempt]:
    """Return the attempts of jobs; a subquery of all jobs would read them."""
    return attempts.filter(job__in=jobs.values("pk")) if jobs.query.where else attempts


def _interval(name: str) -> tuple[datetime, datetime, int]:
    """Return start, end and step of the latest complete periods of a range."""
    seconds, step = RANGES[name]
    end = floor_time(aware_time(database_now()) - _DELAY, step)
    return end - timedelta(seconds=seconds), end, step


def _samples(start: datetime, end: datetime, step: int, **names: str) -> dict[datetime, Values]:
    rows = samples_of(step, start, end).filter(**names)
    found: defaultdict[datetime, Values] = defaultdict(dict)
    for at, name, value in rows.values_list("at", "name", "value"):
        found[aware_time(at)][name] = value
    return dict(found)


def newest_rows(
    rows: QuerySet[Any, Any], time: Callable[[Any], datetime]
) -> tuple[Sequence[Any], datetime | None]:
    """Return the newest MAX_ROWS rows, and since when they are all; None if there are no others."""
    found = list(rows[: MAX_ROWS + 1])
    if len(found) <= MAX_ROWS:
        return found, None
    return found[:MAX_ROWS], aware_time(time(found[MAX_ROWS]))


def _figures(created: Iterable[Any], ended: Iterable[Any], step: int) -> dict[datetime, Values]:
    periods = FiguresByPeriod(step)
    periods.add_jobs(created)
    for *row, attempt, usage in ended:
        each = EndedAttempt(*row)
        figures = periods.at(each.finished_at)
        figures.add_attempt(each)
        if usage and each.number == attempt:
            figures.add_usage(each.task_type, usage)
    return periods.values()


def _ended_before(attempts: QuerySet[Attempt], task_type: str, step: int) -> dict[datetime, Values]:
    """Return the numbers of attempts by period and status."""
    found: defaultdict[datetime, dict[str, Any]] = defaultdict(dict)
    rows, since = newest_rows(attempts.values_list("finished_at", "status"), lambda row: row[0])
    for finished_at, status in rows:
        counts = found[floor_time(aware_time(finished_at), step)]
        counts[status] = counts.get(status, 0) + 1
    return {
        at: {ATTEMPTS_ENDED: {task_type: counts}}
        for at, counts in found.items()
        if since is None or at >= since
    }


def _job_series(
    starts: Sequence[datetime],
    known: Mapping[datetime, Values],
    before: Mapping[datetime, Values],
    task_type: str,
) -> dict[str, Any]:
    """Return the series of figures by task_type, of one or of all."""
    periods = [_Period(known[at], task_type) if at in known else None for at in starts]
    length = (starts[1] - starts[0]) * len(starts)
    earlier = [_Period(before.get(at - length, {}), task_type) for at in starts]
    return {
        JOBS_CREATED: _each(periods, lambda each: each.number(JOBS_CREATED)),
        ATTEMPTS_ENDED: _by_label(periods, ATTEMPTS_ENDED, ENDED),
        "failure_rate": _each(periods, lambda each: each.failure_rate),
        "failure_rate_before": _each(earlier, lambda each: each.failure_rate),
        **{name: _quantiles(periods, name) for name in HISTOGRAMS},
        TOKENS: _by_label(periods, TOKENS, _DIRECTIONS),
        COST: _each(periods, lambda each: each.cost),
        **({} if task_type else {FAILURES: _failures(periods)}),
    }


class _Period:
    """The figures of one period: of a task_type, or of all if it is empty."""

    def __init__(self, values: Values, task_type: str) -> None:
        self._values = values
        self._task_type = task_type

    def total(self, name: str) -> dict[str, Any]:
        """Return the labels of a figure without the task_type."""
        by_type: Mapping[str, Any] = self._values.get(name, {})
        if self._task_type:
            return dict(by_type.get(self._task_type, {}))
        return sum_of(by_type.values())

    def number(self, name: str) -> float:
        """Return a figure that is a number by task_type."""
        by_type: Mapping[str, float] = self._values.get(name, {})
        return by_type.get(self._task_type, 0) if self._task_type else sum(by_type.values())

    @property
    def failures(self) -> Mapping[str, int]:
        """Counts by reason."""
        found: Mapping[str, int] = self._values.get(FAILURES, {})
        return found

    @property
    def failure_rate(self) -> float | None:
        ended = self.total(ATTEMPTS_ENDED)
        count = sum(ended.values())
        return ended.get(Job.Status.FAILED, 0) / count if count else None

    @property
    def cost(self) -> float | None:
        """The cost; None if the models have no price."""
        cost = self.number(COST)
        return None if not cost and self.total(TOKENS) else cost


Periods = Sequence[_Period | None]


def _each(periods: Periods, function: Callable[[_Period], T]) -> list[T | None]:
    return [None if each is None else function(each) for each in periods]


def _by_label(periods: Periods, name: str, labels: Iterable[str]) -> dict[str, list[Any]]:
    """Return a series for each label of a figure by task_type."""
    totals = _each(periods, lambda each: each.total(name))
    return {str(label): _numbers(totals, label) for label in labels}


def _failures(periods: Periods) -> dict[str, list[Any]]:
    totals = _each(periods, lambda each: each.failures)
    return {reason: _numbers(totals, reason) for reason in sum_of(filter(None, totals))}


def _numbers(totals: Iterable[Mapping[str, Any] | None], label: str) -> list[Any]:
    return [None if total is None else total.get(label, 0) for total in totals]


def _quantiles(periods: Periods, name: str) -> dict[str, list[float | None]]:
    histograms = _each(periods, lambda each: each.total(name))
    return {
        label: [quantile(each or {}, share) for each in histograms]
        for label, share in _QUANTILES.items()
    }


def _types(periods: Iterable[Values]) -> tuple[list[str], dict[str, dict[str, int]]]:
    """Return `task_types` and `ended` of Statistics."""
    known = list(periods)
    return _task_types(known), sum_of(values.get(ATTEMPTS_ENDED, {}) for values in known)


def _task_types(periods: Iterable[Values]) -> list[str]:
    counts: defaultdict[str, float] = defaultdict(float)
    for values in periods:
        for name in (JOBS_CREATED, ATTEMPTS_ENDED):
            for task_type, count in values.get(name, {}).items():
                counts[task_type] += size(count)
    return sorted(counts, key=lambda task_type: (-counts[task_type], task_type))
