"""Jobs and failures over time, for the sparkline of the job list."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import QuerySet

from events.database import aware_time
from jobs.models import Job
from jobs.monitoring.figures import ATTEMPTS_ENDED, EVENTS_APPENDED, JOBS_CREATED
from jobs.monitoring.rows import created_jobs, ended_attempts, floor_time, period_starts
from jobs.monitoring.samples import PERIODS, samples_of
from jobs.monitoring.statistics import attempts_of, newest_rows

MAX_PERIODS: Final = 60
_PERIOD_SECONDS: Final = (60, 300, 600, 1800, 3600, 3 * 3600, 4 * 3600, 6 * 3600, 12 * 3600, 86400)


@dataclass(frozen=True, slots=True)
class Activity:
    """The number of jobs created and of attempts failed in each period; None where unknown."""

    start: datetime
    step: int
    created: list[int | None]
    failed: list[int | None]


def activity_from_rows(jobs: QuerySet[Job], start: datetime, end: datetime) -> Activity:
    """Return the activity of jobs: of their newest rows, if they are more than MAX_ROWS."""
    start, end, step = _periods(start, end)
    rows = created_jobs(jobs.order_by(), start, end)
    created, since_created = newest_rows(rows, lambda row: row[1])
    attempts = attempts_of(ended_attempts(start, end), jobs.order_by())
    failures = attempts.filter(status=Job.Status.FAILED).values_list("finished_at")
    failed, since_failed = newest_rows(failures, lambda row: row[0])
    return Activity(
        start,
        step,
        _counts((at for _, at in created), start, end, step, since_created),
        _counts((at for (at,) in failed), start, end, step, since_failed),
    )


def activity_from_samples(start: datetime, end: datetime, task_type: str = "") -> Activity:
    """Return the activity of all jobs, or of a task_type."""
    start, end, step = _periods(start, end)
    part = max(seconds for seconds in PERIODS if step % seconds == 0)
    known, created, failed = set[int](), Counter[int](), Counter[int]()
    names = (EVENTS_APPENDED, JOBS_CREATED, ATTEMPTS_ENDED)
    rows = samples_of(part, start, end).filter(name__in=names)
    for at, name, value in rows.values_list("at", "name", "value"):
        period = int((aware_time(at) - start).total_seconds()) // step
        known.add(period)
        if name == EVENTS_APPENDED:
            continue
        for label, count in value.items():
            if not task_type or label == task_type:
                counts = created if name == JOBS_CREATED else failed
                counts[period] += _number(count)
    periods = range(int((end - start).total_seconds()) // step)
    return Activity(
        start,
        step,
        [created[each] if each in known else None for each in periods],
        [failed[each] if each in known else None for each in periods],
    )


def _number(value: Any) -> int:
    """Return a count, or that of failed attempts."""
    return int(value.get(Job.Status.FAILED, 0) if isinstance(value, dict) else value)


def _periods(start: datetime, end: datetime) -> tuple[datetime, datetime, int]:
    """Return start and end of at most MAX_PERIODS complete periods, and their length."""
    seconds = max(1.0, (end - start).total_seconds())
    days = -(-seconds // (MAX_PERIODS * 86400)) * 86400
    step = int(next((each for each in _PERIOD_SECONDS if seconds <= each * MAX_PERIODS), days))
    last = floor_time(end - timedelta(microseconds=1), step) + timedelta(seconds=step)
    count = min(MAX_PERIODS, int((last - floor_time(start, step)).total_seconds()) // step)
    return last - timedelta(seconds=step * count), last, step


def _counts(
    times: Iterable[datetime], start: datetime, end: datetime, step: int, since: datetime | None
) -> list[int | None]:
    counts = Counter(floor_time(aware_time(at), step) for at in times)
    return [None if since and at < since else counts[at] for at in period_starts(start, end, step)]
