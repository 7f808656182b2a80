"""Facets of the job list: the statuses, and jobs that wait for input or are stuck."""

from typing import Final

from django.db.models import QuerySet
from django.utils.formats import number_format
from django.utils.translation import gettext_lazy as _

from events.counts import MAX_COUNT, capped_counts
from jobs.models import Job
from jobs.monitoring.tables import jobs_awaiting_input, jobs_without_signs

FACETS: Final = {
    "": _("All"),
    "running": _("Running"),
    "waiting": _("Waiting for input"),
    "failed": _("Failed"),
    "stuck": _("Stuck"),
    "pending": _("Pending"),
    "completed": _("Completed"),
    "cancelled": _("Cancelled"),
}


def select_facet(jobs: QuerySet[Job], name: str) -> QuerySet[Job]:
    """Return the jobs of a facet."""
    if name == "waiting":
        return jobs_awaiting_input(jobs)
    if name == "stuck":
        return jobs_without_signs(jobs)
    return jobs.filter(status=name) if name else jobs


def facet_counts(jobs: QuerySet[Job]) -> dict[str, int]:
    """Return the number of jobs of each facet, at most MAX_COUNT + 1, with one query."""
    return capped_counts({name: select_facet(jobs, name) for name in FACETS})


def count_text(count: int) -> str:
    """Return a count with "+" if there are more."""
    text = number_format(min(count, MAX_COUNT), force_grouping=True)
    return f"{text}+" if count > MAX_COUNT else text
