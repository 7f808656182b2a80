"""View of the job list: rows, counts of the facets, and jobs and failures over time."""

import hashlib
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import OuterRef, QuerySet, Subquery
from django.db.models.functions import Left
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.formats import number_format
from django.views.decorators.http import conditional_page

from events.counts import MAX_COUNT
from events.database import aware_time
from events.durations import span_text
from jobs.conf import job_settings
from jobs.models import Attempt, Job
from jobs.monitoring.activity import activity_from_rows, activity_from_samples
from jobs.monitoring.tables import states_of
from jobs.pages.facets import FACETS, count_text, facet_counts, select_facet
from jobs.pages.forms import RANGE_SECONDS, JobFilterForm
from jobs.pages.pagination import read_page
from jobs.pages.strings import list_page_strings
from jobs.pages.views import PageView, socket_url
from jobs.selectors import (
    list_rows,
    may_change,
    newest_task_types,
    sees_every_job,
    sees_monitor,
    sees_others,
    startable_task_types,
    visible_jobs,
)
from jobs.usage import tokens_of

REFRESH_MS: Final = 1500
# Of counts and of jobs and failures over time.
SUMMARY_REFRESH_MS: Final = 8000
MAX_ERROR_CHARACTERS: Final = 200
# Parameters that select a part of the page, or a page of the list.
_PARTS: Final = ("rows", "summary", "cursor")
_DEFAULT_RANGE: Final = "24h"


class JobListPage(PageView):
    """The jobs that the user may see.

    `?rows=1` selects the table alone and `?summary=1` the figures, for the live refresh.
    """

    section = "list"

    @method_decorator(conditional_page)
    def get(self, request: HttpRequest) -> HttpResponse:
        form = JobFilterForm(request.GET, request.user)
        jobs = form.restrict(visible_jobs(request.user))
        if request.GET.get("summary"):
            return JsonResponse(_summary(form, jobs, request.user))
        found = select_facet(form.in_interval(jobs), form.facet)
        is_part = bool(request.GET.get("rows"))
        page = _job_page(request, found, form.ordering, has_clocks=not is_part)
        context = {
            "page": page,
            "filtered": form.is_narrowing,
            "sees_others": sees_others(request.user),
        }
        if is_part:
            return self.page("job_events_jobs/_job_table.html", context)
        counts = facet_counts(form.in_interval(jobs))
        context |= {
            "form": form,
            "facets": [_facet(request, name, form.facet, counts[name]) for name in FACETS],
            "types": _type_choices(request.user, form, page["rows"]),
            "page_config": self._config(),
        }
        return self.page("job_events_jobs/job_list.html", context)

    def _config(self) -> dict[str, Any]:
        return {
            "refreshMs": REFRESH_MS,
            "summaryMs": SUMMARY_REFRESH_MS,
            "maxCount": MAX_COUNT,
            "socketUrl": socket_url("ws/events/"),
            "apiUrl": reverse("job_events:api-job-list"),
            "csrfHeader": job_settings.CSRF_HEADER,
            "now": aware_time(timezone.now()),
            "timeZone": timezone.get_current_timezone_name(),
            "strings": list_page_strings(),
        }


def _summary(form: JobFilterForm, jobs: QuerySet[Job], user: Any) -> dict[str, Any]:
    """Return the counts of the facets, and the number of jobs and failures over time."""
    now = aware_time(timezone.now())
    since, until = form.interval(now)
    end = until or now
    start = since or end - timedelta(seconds=RANGE_SECONDS[_DEFAULT_RANGE])
    is_sampled = now - start < timedelta(days=job_settings.SAMPLE_DAYS) and not form.has_conditions
    if is_sampled and sees_every_job(user) and sees_monitor(user):
        activity = activity_from_samples(start, end, form.task_type)
    else:
        activity = activity_from_rows(jobs, start, end)
    return {
        "counts": facet_counts(form.in_interval(jobs)),
        "start": activity.start,
        "step": activity.step,
        "created": activity.created,
        "failed": activity.failed,
    }


def _facet(request: HttpRequest, name: str, chosen: str, count: int) -> dict[str, Any]:
    return {
        "name": name,
        "label": FACETS[name],
        "count": count_text(count),
        "link": _link(request, status=name),
        "is_chosen": name == chosen,
        "is_empty": count == 0,
    }


def _type_choices(user: Any, form: JobFilterForm, rows: list[Any]) -> list[str]:
    """Return task types: those of runners, of the newest jobs and the rows, and the chosen one."""
    names = {*startable_task_types(user), *(row["job"].task_type for row in rows)}
    names |= newest_task_types(visible_jobs(user))
    return sorted(names | {form.task_type} - {""})


def _job_page(
    request: HttpRequest, jobs: QuerySet[Job], ordering: str, *, has_clocks: bool
) -> dict[str, Any]:
    """Return the rows of the requested page, and links to its neighbours or "".

    Without clocks, the texts that change with the time are left to the script: the response is the
    same until a job changes.
    """
    if "finished_at" in ordering:
        jobs = jobs.filter(finished_at__isnull=False)
    short = list_rows(jobs).defer("error", "payload", "result", "terms")
    current = Attempt.objects.filter(job=OuterRef("pk"), number=OuterRef("attempt"))
    rows = short.annotate(
        short_error=Left("error", MAX_ERROR_CHARACTERS),
        queued_at=Subquery(current.values("created_at")),
    )
    page = read_page(rows, ordering, request.GET.get("cursor", ""))
    states, user = states_of(page.jobs), request.user
    return {
        "rows": [
            _job_row(job, states.get(job.pk), may_change(user, job), has_clocks)
            for job in page.jobs
        ],
        "previous_link": page.previous and _link(request, cursor=page.previous),
        "next_link": page.next and _link(request, cursor=page.next),
    }


def _link(request: HttpRequest, **changes: str) -> str:
    """Return a link to the page with other values of some parameters, "" for none."""
    query = request.GET.copy()
    for name in _PARTS:
        query.pop(name, None)
    for name, value in changes.items():
        query[name] = value
        if not value:
            del query[name]
    return f"?{query.urlencode()}"


def _job_row(job: Any, state: str | None, is_own: bool, has_clocks: bool) -> dict[str, Any]:
    """Return the cells of a job with the columns `short_error` and `queued_at`.

    `row_hash` changes when the job does, but not with the clock.
    """
    tokens = tokens_of(job.usage)
    cells = {
        "state": state or job.status,
        "label": FACETS[state] if state else job.get_status_display(),
        "percent": round(job.progress),
        "error": _first_line(job.short_error) if job.status == Job.Status.FAILED else "",
        "created_at": aware_time(job.created_at),
        "started_at": job.started_at and aware_time(job.started_at),
        "last_event_at": job.last_event_at and aware_time(job.last_event_at),
        "queued": _span(job.queued_at, job.started_at),
        "duration": _span(job.started_at, job.finished_at),
        "tokens": number_format(tokens, force_grouping=True) if tokens else "",
        "may_change": is_own,
    }
    shown = (str(job), job.attempt, job.phase, *cells.values())
    row_hash = hashlib.blake2b(repr(shown).encode(), digest_size=8).hexdigest()
    clock = _clock(job.started_at) if has_clocks and job.started_at and not job.finished_at else ""
    return {"job": job, "row_hash": row_hash, "clock": clock, **cells}


def _clock(start: datetime) -> str:
    """Return the time since the start as "1:02:03"."""
    minutes, seconds = divmod(max(0, int((timezone.now() - start).total_seconds())), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]


def _span(start: datetime | None, end: datetime | None) -> str:
    return span_text((end - start).total_seconds()) if start and end else ""
