"""Cursor pagination of jobs, and links to other pages."""

from collections.abc import Mapping
from datetime import MAXYEAR, MINYEAR
from typing import Any

from django.utils.dateparse import parse_datetime
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request

from jobs.api.query import PAGE_CURSOR


def page_link(request: Request, **params: object) -> str:
    """Return the URL of the request with other values of some parameters."""
    query = request.query_params.copy()
    for name, value in params.items():
        query[name] = str(value)
    return request.build_absolute_uri(f"{request.path}?{query.urlencode()}")


class JobPagination(CursorPagination):
    """Pages of jobs that stay stable while jobs are added; takes a validated JobListQuery."""

    def __init__(self, query: Mapping[str, Any]) -> None:
        self.page_size = query["limit"]
        order = query["ordering"]
        # The primary key breaks ties.
        self.ordering = (order, "-id" if order.startswith("-") else "id")

    def decode_cursor(self, request: Request) -> Cursor | None:
        """Decode `cursor`; raise ValidationError unless it is from a link of this list."""
        try:
            cursor = super().decode_cursor(request)
            if cursor is not None and cursor.position is not None:
                _check_time(str(cursor.position))
        except (NotFound, ValueError) as error:
            raise ValidationError({"cursor": [f"Must be {PAGE_CURSOR}."]}) from error
        return cursor


def _check_time(position: str) -> None:
    """Raise ValueError for a position that DRF would pass to the database unchecked."""
    time = parse_datetime(position)
    if time is None or time.tzinfo is None or not MINYEAR < time.year < MAXYEAR:
        raise ValueError("not the time of a job")
