"""Queries of rows of jobs, attempts and events, and the figures of periods from them."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson
from django.db.models import FloatField, Func, QuerySet

from events.database import aware_time, column_time
from events.models import ArchivedEvent
from events.types import UNKNOWN, Cursor, EventType
from jobs.models import Attempt, Job
from jobs.monitoring.figures import (
    EVENTS_APPENDED,
    EndedAttempt,
    PeriodFigures,
    Values,
)
from jobs.selectors import fetch_in_chunks
from jobs.usage import Usage, add_usage

_PAGE_EVENTS: Final = 500


def floor_time(time: datetime, seconds: int) -> datetime:
    """Return the start of the period of an aware time; periods are aligned to the epoch."""
    timestamp = int(time.timestamp())
    return datetime.fromtimestamp(timestamp - timestamp % seconds, UTC)


def period_starts(start: datetime, end: datetime, seconds: int) -> list[datetime]:
    """Return the starts of the periods from `start` to `end`."""
    count = int((end - start).total_seconds()) // seconds
    return [start + timedelta(seconds=seconds * number) for number in range(count)]


class FiguresByPeriod:
    """Adds rows up to the figures of periods of the same length."""

    def __init__(self, seconds: int) -> None:
        self._seconds = seconds
        self._figures: defaultdict[int, PeriodFigures] = defaultdict(PeriodFigures)

    def at(self, time: datetime) -> PeriodFigures:
        """Return the figures of the period of a time, which is that of a column."""
        return self._figures[int(aware_time(time).timestamp()) // self._seconds]

    def add_jobs(self, rows: Iterable[tuple[str, datetime]]) -> None:
        """Count jobs: task_type and time of creation."""
        for task_type, created_at in rows:
            self.at(created_at).add_job(task_type)

    def values(self) -> dict[datetime, Values]:
        """Return the figures by the start of the period, without periods that have none."""
        return {
            datetime.fromtimestamp(number * self._seconds, UTC): figures.values()
            for number, figures in self._figures.items()
        }


def created_jobs(jobs: QuerySet[Job], start: datetime, end: datetime) -> QuerySet[Any, Any]:
    """Return task_type and creation time of the jobs created in an interval, the newest first."""
    interval = {"created_at__gte": column_time(start), "created_at__lt": column_time(end)}
    rows = jobs.filter(**interval).order_by("-created_at", "-id")
    return rows.values_list("task_type", "created_at")


class Seconds(Func):
    """The seconds from one time to another: a number, which takes less time than two times."""

    output_field = FloatField()
    arity = 2

    def as_sqlite(self, compiler: Any, connection: Any, **extra_context: Any) -> Any:
        (start, first), (end, second) = map(compiler.compile, self.source_expressions)
        return f"((julianday({end}) - julianday({start})) * 86400.0)", (*second, *first)

    def as_postgresql(self, compiler: Any, connection: Any, **extra_context: Any) -> Any:
        (start, first), (end, second) = map(compiler.compile, self.source_expressions)
        return f"EXTRACT(EPOCH FROM {end} - {start})::float8", (*second, *first)


# Those of an EndedAttempt.
_COLUMNS: Final = (
    "finished_at", "job__task_type", "status", "reason", "number",
    Seconds("created_at", "started_at"), Seconds("started_at", "finished_at"),
    Seconds("created_at", "job__first_event_at"),
)  # fmt: skip


def ended_attempts(start: datetime, end: datetime) -> QuerySet[Attempt]:
    """Return the attempts that ended in an interval, the newest first."""
    interval = {"finished_at__gte": column_time(start), "finished_at__lt": column_time(end)}
    return Attempt.objects.filter(**interval).order_by("-finished_at")


def attempt_rows(attempts: QuerySet[Attempt], *others: Any) -> QuerySet[Any, Any]:
    """Return the fields of an EndedAttempt, and other columns."""
    return attempts.values_list(*_COLUMNS, *others)


def figures_from_rows(start: datetime, end: datetime, seconds: int) -> dict[datetime, Values]:
    """Compute the figures of all jobs and events for each period of an interval."""
    periods = FiguresByPeriod(seconds)
    periods.add_jobs(created_jobs(Job.objects.all(), start, end))
    for row in attempt_rows(ended_attempts(start, end)):
        attempt = EndedAttempt(*row)
        periods.at(attempt.finished_at).add_attempt(attempt)
    for (time, task_type), usage in _usage(start, end, seconds).items():
        periods.at(column_time(time)).add_usage(task_type, usage)
    values = periods.values()
    return {
        each: {EVENTS_APPENDED: _appended(each, seconds), **values.get(each, {})}
        for each in period_starts(start, end, seconds)
    }


def _appended(start: datetime, seconds: int) -> int:
    return _events(start, start + timedelta(seconds=seconds)).count()


def _events(start: datetime, end: datetime) -> QuerySet[ArchivedEvent]:
    first, last = (Cursor(int(time.timestamp() * 1000), 0) for time in (start, end))
    return ArchivedEvent.objects.filter(event_id__gte=first, event_id__lt=last)


def _usage(start: datetime, end: datetime, seconds: int) -> dict[tuple[datetime, str], Usage]:
    """Return what models used according to events, by period and task_type of the job."""
    found: dict[tuple[datetime, str], Usage] = {}
    for page in _model_results(start, end):
        types = _task_types({job_id for _, _, job_id, _ in page})
        for event_id, _, job_id, data in page:
            time = floor_time(datetime.fromtimestamp(event_id.ms / 1000, UTC), seconds)
            usage = found.setdefault((time, types.get(job_id, UNKNOWN)), {})
            add_usage(usage, orjson.loads(data))
    return found


def _model_results(start: datetime, end: datetime) -> Iterator[list[Any]]:
    """Yield id, log, job_id and data of `model_result` events in pages: they may be large."""
    rows = _events(start, end).filter(event_type=EventType.MODEL_RESULT)
    columns = ("event_id", "log_id", "log__job_id", "data")
    rest = rows.order_by("event_id", "log_id").values_list(*columns)
    while page := list(rest[:_PAGE_EVENTS]):
        yield page
        event_id, log_id, *_ = page[-1]
        rest = rest.filter(event_id__gte=event_id).exclude(event_id=event_id, log_id__lte=log_id)


def _task_types(job_ids: Iterable[str]) -> dict[str, str]:
    jobs = Job.objects.order_by().values_list("job_id", "task_type")
    return fetch_in_chunks(job_ids, lambda chunk: jobs.filter(job_id__in=chunk))
