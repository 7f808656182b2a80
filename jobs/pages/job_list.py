"""Pages and rows of the job list."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from rest_framework.exceptions import NotFound
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request
from rest_framework.utils.urls import remove_query_param

from jobs.models import Job

PAGE_SIZE = 30


class JobPagePagination(CursorPagination):
    """Cursor pages, the newest jobs first. An invalid cursor selects the first page."""

    # Unique, so that a cursor needs no offset among jobs with the same time.
    ordering = "-id"
    page_size = PAGE_SIZE

    def decode_cursor(self, request: Request) -> Cursor | None:
        """Return the position of the page, or None for the first page."""
        try:
            cursor = super().decode_cursor(request)
        except (NotFound, ValueError):
            return None
        is_valid = cursor is not None and str(cursor.position or 0).isdecimal()
        return cursor if is_valid else None


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job as a row of the list. `row_hash` changes when a value of the row changes."""

    job: Job
    title: str
    owner_name: str
    percent: int
    duration: str
    running_since: str
    row_hash: str


def job_page(request: HttpRequest, jobs: QuerySet[Job]) -> dict[str, Any]:
    """Return the rows of the requested page, and relative links to its neighbours or ""."""
    pages = JobPagePagination()
    found = pages.paginate_queryset(jobs, Request(request)) or []
    return {
        "rows": [job_row(job) for job in found],
        "newer_link": _relative(pages.get_previous_link()),
        "older_link": _relative(pages.get_next_link()),
    }


def _relative(link: str | None) -> str:
    """Return the link without host and without `rows`, which selects the table alone."""
    if link is None:
        return ""
    parts = urlsplit(remove_query_param(link, "rows"))
    return f"{parts.path}?{parts.query}"


def job_row(job: Job) -> JobRow:
    """Return the row of a job."""
    running = job.started_at if not job.is_terminal else None
    owner = job.owner.get_username() if job.owner else ""
    shown = (job.title, owner, job.task_type, job.status, job.attempt, percent(job))
    times = (job.created_at, job.started_at, job.finished_at)
    return JobRow(
        job=job,
        title=job.title or job.job_id,
        owner_name=owner,
        percent=percent(job),
        duration=duration(job.started_at, job.finished_at),
        running_since=running.isoformat() if running else "",
        row_hash=hashlib.blake2b(repr((shown, times)).encode(), digest_size=8).hexdigest(),
    )


def percent(job: Job) -> int:
    """Return the progress as a whole number from 0 to 100."""
    return round(min(100.0, max(0.0, job.progress or 0.0)))


def duration(started: datetime | None, finished: datetime | None) -> str:
    """Return the time between both, or until now, such as "1:02:03"; a dash before the start."""
    if started is None:
        return "\N{EN DASH}"
    return clock((finished or timezone.now()) - started)


def clock(span: timedelta) -> str:
    """Return hours, minutes and seconds as digits, the same in every language."""
    seconds = max(0, int(span.total_seconds()))
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
