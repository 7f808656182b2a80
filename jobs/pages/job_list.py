"""Pages and rows of the job list."""

from __future__ import annotations

import hashlib
from datetime import datetime
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


def job_row(job: Job) -> dict[str, Any]:
    """Return the cells of a job. `row_hash` changes when one of them changes."""
    running = job.started_at if not job.is_terminal else None
    row = {
        "title": job.title or job.job_id,
        "owner_name": job.owner.get_username() if job.owner else "",
        "percent": percent(job),
        "running_since": running.isoformat() if running else "",
    }
    values = (row, job.status, job.attempt, job.created_at, job.started_at, job.finished_at)
    row_hash = hashlib.blake2b(repr(values).encode(), digest_size=8).hexdigest()
    duration = duration_clock(job.started_at, job.finished_at)
    return {**row, "job": job, "duration": duration, "row_hash": row_hash}


def percent(job: Job) -> int:
    """Return the progress as a whole number from 0 to 100."""
    return round(min(100.0, max(0.0, job.progress or 0.0)))


def duration_clock(started: datetime | None, finished: datetime | None) -> str:
    """Return the time between both, or until now, such as "1:02:03"; a dash before the start."""
    if started is None:
        return "\N{EN DASH}"
    seconds = max(0, int(((finished or timezone.now()) - started).total_seconds()))
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
