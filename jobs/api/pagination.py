"""Cursor pagination of jobs, and links to other pages."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from django.utils.dateparse import parse_datetime
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request
from rest_framework.utils.urls import replace_query_param

from events.database import aware_time, column_time
from jobs.api.query import EPOCH, PAGE_CURSOR_PATTERN

_MAX_OFFSET: Final = 999


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

    def encode_cursor(self, cursor: Cursor) -> str:
        """Return the URL of a page; see PAGE_CURSOR_PATTERN."""
        time = parse_datetime(str(cursor.position))
        # No position: all jobs of the first page have the same time.
        since = "" if time is None else (aware_time(time) - EPOCH) // timedelta(microseconds=1)
        text = f"{'-' * cursor.reverse}{since}.{min(cursor.offset, _MAX_OFFSET)}"
        return replace_query_param(str(self.base_url), self.cursor_query_param, text)

    def decode_cursor(self, request: Request) -> Cursor | None:
        """Parse `cursor`, which the query has validated."""
        text = request.query_params.get(self.cursor_query_param, "")
        if (match := re.fullmatch(PAGE_CURSOR_PATTERN, text)) is None:
            return None
        position: Any = None  # a text, as DRF's own cursors have
        if match[2]:
            position = str(column_time(EPOCH + timedelta(microseconds=int(match[2]))))
        return Cursor(offset=int(match[3]), reverse=bool(match[1]), position=position)
