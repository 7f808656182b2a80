"""Which jobs are wanted, by the parameters of a request."""

from collections.abc import Sequence
from datetime import datetime
from functools import reduce
from operator import or_
from typing import Final

import django_filters
from django import forms
from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from events.archive.filters import MAX_CONDITIONS
from jobs.api.query import parse_time
from jobs.models import Job
from jobs.selectors import visible_jobs

_LONGEST: Final = 200


class TextsField(forms.Field):
    """Each of a repeated parameter, as text."""

    widget = forms.SelectMultiple

    def clean(self, value: Sequence[str]) -> list[str]:
        """Refuse NUL, what is longer than any of it may be, and very many."""
        if len(value) > MAX_CONDITIONS:
            raise forms.ValidationError(f"At most {MAX_CONDITIONS} at once.")
        return [forms.CharField(max_length=_LONGEST, strip=False).clean(text) for text in value]


class TextsFilter(django_filters.Filter):
    """One of those."""

    field_class = TextsField

    def filter(self, qs: QuerySet[Job], value: list[str]) -> QuerySet[Job]:
        """Those of which the column is one of the texts."""
        return qs.filter(**{f"{self.field_name}__in": value}) if value else qs


class TimeField(forms.CharField):
    """A time as ISO 8601 has it."""

    def clean(self, value: str | None) -> datetime | None:
        """The time; None without one."""
        try:
            return None if value is None else parse_time(value)
        except ValueError as error:
            raise forms.ValidationError(str(error)) from error


class TimeFilter(django_filters.Filter):
    """Before or after a time."""

    field_class = TimeField


class JobFilter(django_filters.FilterSet):
    """The parameters; what they say holds at once, and of a repeated one, one."""

    status = django_filters.MultipleChoiceFilter(
        choices=Job.Status.choices,
        distinct=False,
        error_messages={"invalid_choice": f"It is one of: {', '.join(Job.Status)}."},
    )
    task_type = TextsFilter()
    owner = TextsFilter(field_name=f"owner__{get_user_model().USERNAME_FIELD}")


class JobListFilter(JobFilter):
    """Those of the list of jobs; there, `search` is for what jobs are called."""

    created_after = TimeFilter(field_name="created_at", lookup_expr="gte")
    created_before = TimeFilter(field_name="created_at", lookup_expr="lt")
    search = django_filters.CharFilter(method="with_text", max_length=_LONGEST)

    def with_text(self, jobs: QuerySet[Job], _name: str, text: str) -> QuerySet[Job]:
        """Those with this text in their title, job_id or task_type."""
        columns = ("title", "job_id", "task_type")
        return jobs.filter(reduce(or_, (Q(**{f"{name}__icontains": text}) for name in columns)))


JOB_FILTERS: Final = frozenset(JobFilter.base_filters)
JOB_LIST_FILTERS: Final = frozenset(JobListFilter.base_filters)


def filtered_jobs(request: Request, kind: type[JobFilter] = JobFilter) -> QuerySet[Job]:
    """The jobs that the caller may see and wants; raises ValidationError."""
    found = kind(request.query_params, visible_jobs(request.user))
    if not found.is_valid():
        raise ValidationError(found.errors)
    jobs: QuerySet[Job] = found.qs
    return jobs
