"""Queries of rows of jobs, attempts and events, and the figures of a period from them."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson
from django.db.models import QuerySet

from events.database import column_time
from events.models import ArchivedEvent
from events.types import UNKNOWN, Cursor, EventType
from jobs.models import Attempt, Job
from jobs.monitoring.figures import (
    COLUMNS,
    EVENTS_APPENDED,
    EndedAttempt,
    PeriodFigures,
    Values,
)
from jobs.selectors import fetch_in_chunks
from jobs.usage import Usage, add_usage

_CHUNK_EVENTS: Final = 500


def floor_time(time: datetime, seconds: int) -> datetime:
    """Return the start of the period of an aware time; periods are aligned to the epoch."""
    timestamp = int(time.timestamp())
    return datetime.fromtimestamp(timestamp - timestamp % seconds, UTC)


def period_starts(start: datetime, end: datetime, seconds: int) -> list[datetime]:
    """Return the starts of the periods from `start` to `end`."""
    count = int((end - start).total_seconds()) // seconds
    return [start + timedelta(seconds=seconds * number) for number in range(count)]


def created_jobs(jobs: QuerySet[Job], start: datetime, end: datetime) -> QuerySet[Any, Any]:
    """Return task_type and creation time of the jobs created in an interval, the newest first."""
    interval = {"created_at__gte": column_time(start), "created_at__lt": column_time(end)}
    rows = jobs.filter(**interval).order_by("-created_at", "-id")
    return rows.values_list("task_type", "created_at")


def ended_attempts(start: datetime, end: datetime) -> QuerySet[Attempt]:
    """Return the attempts that ended in an interval, the newest first."""
    interval = {"finished_at__gte": column_time(start), "finished_at__lt": column_time(end)}
    return Attempt.objects.filter(**interval).order_by("-finished_at")


def figures_from_rows(start: datetime, seconds: int) -> Values:
    """Compute the figures of all jobs and events for a period."""
    figures, end = PeriodFigures(), start + timedelta(seconds=seconds)
    for task_type, _ in created_jobs(Job.objects.all(), start, end):
        figures.add_job(task_type)
    for row in ended_attempts(start, end).values_list(*COLUMNS):
        figures.add_attempt(EndedAttempt(*row))
    events = _events(start, end)
    for task_type, usage in _usage(events).items():
        figures.add_usage(task_type, usage)
    return {EVENTS_APPENDED: events.count(), **figures.values()}


def _events(start: datetime, end: datetime) -> QuerySet[ArchivedEvent]:
    first, last = (Cursor(int(time.timestamp() * 1000), 0) for time in (start, end))
    return ArchivedEvent.objects.filter(event_id__gte=first, event_id__lt=last)


def _usage(events: QuerySet[ArchivedEvent]) -> dict[str, Usage]:
    """Return what the models used according to events, by the task_type of the job."""
    found: dict[str, Usage] = {}
    for chunk in _model_results(events):
        types = _task_types({job_id for _, _, job_id, _ in chunk})
        for _, _, job_id, data in chunk:
            add_usage(found.setdefault(types.get(job_id, UNKNOWN), {}), orjson.loads(data))
    return found


def _model_results(events: QuerySet[ArchivedEvent]) -> Iterator[list[Any]]:
    """Yield id, log, job_id and data of the `model_result` events, which may be large, in pages."""
    rows = events.filter(event_type=EventType.MODEL_RESULT).order_by("event_id", "log_id")
    page = rows.values_list("event_id", "log_id", "log__job_id", "data")
    while chunk := list(page[:_CHUNK_EVENTS]):
        yield chunk
        event_id, log_id, *_ = chunk[-1]
        page = page.filter(event_id__gte=event_id).exclude(event_id=event_id, log_id__lte=log_id)


def _task_types(job_ids: Iterable[str]) -> dict[str, str]:
    jobs = Job.objects.order_by().values_list("job_id", "task_type")
    return fetch_in_chunks(job_ids, lambda chunk: jobs.filter(job_id__in=chunk))
