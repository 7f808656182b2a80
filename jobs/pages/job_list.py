"""Pages and rows of the job list."""

import hashlib
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


class JobPagePagination(CursorPagination):
    """Cursor pages, the newest jobs first. An invalid cursor selects the first page."""

    # Unique, so that a cursor needs no offset among jobs with the same time.
    ordering = "-id"
    page_size = 30

    def decode_cursor(self, request: Request) -> Cursor | None:
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
        "rows": [_job_row(job) for job in found],
        "newer_link": _relative(pages.get_previous_link()),
        "older_link": _relative(pages.get_next_link()),
    }


def _relative(link: str | None) -> str:
    """Return the link without host and without `rows`, which selects the table alone."""
    if link is None:
        return ""
    parts = urlsplit(remove_query_param(link, "rows"))
    return f"{parts.path}?{parts.query}"


def _job_row(job: Job) -> dict[str, Any]:
    """Return the cells of a job. `row_hash` changes when the job does, but not with the clock."""
    percent = round(job.progress)
    shown = (str(job), job.status, job.attempt, percent, job.started_at, job.finished_at)
    row_hash = hashlib.blake2b(repr(shown).encode(), digest_size=8).hexdigest()
    return {"job": job, "percent": percent, "duration": duration_clock(job), "row_hash": row_hash}


def duration_clock(job: Job) -> str:
    """Return the time since the start, or until the end, as "1:02:03"; a dash before the start."""
    if job.started_at is None:
        return "\N{EN DASH}"
    end = job.finished_at or timezone.now()
    minutes, seconds = divmod(max(0, int((end - job.started_at).total_seconds())), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
