"""Cursor pagination of jobs, and links to other pages."""

from collections.abc import Mapping
from datetime import MAXYEAR, MINYEAR
from typing import Any

from django.db.models import QuerySet
from django.utils.dateparse import parse_datetime
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request
from rest_framework.views import APIView

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
        self.query = query

    def get_ordering(
        self, request: Request, queryset: QuerySet[Any], view: APIView
    ) -> tuple[str, ...]:
        """Return the column of `ordering`, and the primary key to break ties."""
        order: str = self.query["ordering"]
        return order, "-id" if order.startswith("-") else "id"

    def get_page_size(self, request: Request) -> int:
        """Return `limit`."""
        limit: int = self.query["limit"]
        return limit

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
