"""What the list page shows: one page of jobs by keyset, and each job as a row."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Q, QuerySet
from django.utils import timezone

from events.exceptions import InvalidJobId
from events.types import check_job_id
from jobs.models import Job

PAGE_SIZE = 30


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job as a row of the list."""

    job: Job
    title: str
    owner_name: str
    percent: int
    duration: str
    running_since: str
    row_hash: str


@dataclass(frozen=True, slots=True)
class JobSlice:
    """Neighbouring jobs, newest first; `newer` and `older`: the job id to go on from, if any."""

    jobs: list[Job]
    newer: str = ""
    older: str = ""


def job_slice(
    jobs: QuerySet[Job],
    visible: QuerySet[Job],
    *,
    before: str = "",
    after: str = "",
    size: int = PAGE_SIZE,
) -> JobSlice:
    """The newest jobs, or those before (older than) or after (newer than) the job of that id.

    That job is one of the `visible` ones; it may have left `jobs`, which are filtered, meanwhile.

    By keyset, not by offset: new jobs do not shift a page, and a late page costs no more than
    the first.
    """
    ordered = jobs.order_by("-created_at", "-pk")
    if after and (anchor := _anchor(visible, after)):
        found = list(_newer_than(jobs, anchor)[: size + 1])
        if len(found) > size:
            page = found[:size][::-1]
            return JobSlice(page, newer=page[0].job_id, older=page[-1].job_id)
    elif before and (anchor := _anchor(visible, before)):
        page = list(_older_than(ordered, anchor)[: size + 1])
        first = page[0].job_id if page else before
        return JobSlice(page[:size], newer=first, older=_last(page, size))
    page = list(ordered[: size + 1])
    return JobSlice(page[:size], older=_last(page, size))


def _anchor(visible: QuerySet[Job], job_id: str) -> Job | None:
    try:
        return visible.filter(job_id=check_job_id(job_id)).first()
    except InvalidJobId:
        return None


def _last(page: list[Job], size: int) -> str:
    return page[size - 1].job_id if len(page) > size else ""


def _older_than(jobs: QuerySet[Job], anchor: Job) -> QuerySet[Job]:
    at = anchor.created_at
    return jobs.filter(Q(created_at__lt=at) | Q(created_at=at, pk__lt=anchor.pk))


def _newer_than(jobs: QuerySet[Job], anchor: Job) -> QuerySet[Job]:
    at = anchor.created_at
    newer = jobs.filter(Q(created_at__gt=at) | Q(created_at=at, pk__gt=anchor.pk))
    return newer.order_by("created_at", "pk")


def job_row(job: Job) -> JobRow:
    """The job as a row; its hash changes when anything in the row does."""
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
    """The progress as a whole number, 0 to 100."""
    return round(min(100.0, max(0.0, job.progress or 0.0)))


def duration(started: datetime | None, finished: datetime | None) -> str:
    """The time between the two, or until now, as a clock ("1:02:03"); a dash before the start."""
    if started is None:
        return "\N{EN DASH}"
    return clock((finished or timezone.now()) - started)


def clock(span: timedelta) -> str:
    """Hours, minutes and seconds as digits, the same in every language."""
    seconds = max(0, int(span.total_seconds()))
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
