"""Conditions of the validated query parameters as conditions on jobs."""

from collections.abc import Mapping
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.db.models import Q

_SEARCHED_COLUMNS: Final = ("title", "job_id", "task_type")


def job_conditions(query: Mapping[str, Any]) -> Q:
    """Return the conditions of JobConditions: status, task type and owner."""
    lookups = {
        "status__in": query["status"],
        "task_type__in": query["task_type"],
        f"owner__{get_user_model().USERNAME_FIELD}__in": query["owner"],
    }
    return _all_of(lookups)


def list_conditions(query: Mapping[str, Any]) -> Q:
    """Return the conditions of JobCountsQuery: also the time of creation, and a text."""
    times = {"created_at__gte": query["created_after"], "created_at__lt": query["created_before"]}
    text = Q()
    if query["search"]:
        for column in _SEARCHED_COLUMNS:
            text |= Q(**{f"{column}__icontains": query["search"]})
    return job_conditions(query) & _all_of(times) & text


def _all_of(lookups: Mapping[str, Any]) -> Q:
    return Q(**{lookup: value for lookup, value in lookups.items() if value is not None})
