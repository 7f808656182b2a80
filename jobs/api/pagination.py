"""Pages of jobs, by cursor."""

import re
from datetime import MAXYEAR, MINYEAR
from typing import Any, Final

from django.db.models import QuerySet
from django.utils.dateparse import parse_datetime
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request
from rest_framework.views import APIView

from events.types import shown
from jobs.api.query import limit_param

_BASE64: Final = re.compile(r"[A-Za-z0-9+/=]+")


class JobPagination(CursorPagination):
    """Pages of jobs, the newest first, stable while jobs are added."""

    orders = ("-created_at", "created_at", "-finished_at", "finished_at")
    ordering = ("-created_at", "-id")
    page_size = 50
    max_page_size = 200

    def get_ordering(
        self, request: Request, queryset: QuerySet[Any], view: APIView
    ) -> tuple[str, ...]:
        """The column that `ordering` names, and the key."""
        order = request.query_params.get("ordering", self.orders[0])
        if order not in self.orders:
            known = ", ".join(self.orders)
            raise ValidationError({"ordering": [f"It is one of: {known}. Given: {shown(order)}."]})
        return order, "-id" if order.startswith("-") else "id"

    def get_page_size(self, request: Request) -> int:
        """How many jobs `limit` asks for."""
        query = request.query_params
        return limit_param(query, most=self.max_page_size, default=self.page_size)

    def decode_cursor(self, request: Request) -> Cursor | None:
        """The position in `cursor`; 400 for anything that is not from a link of ours."""
        text = request.query_params.get(self.cursor_query_param)
        try:
            # Python's base64 skips what is not base64, and DRF gives any position to the database.
            cursor = super().decode_cursor(request)
            if text is not None and cursor is not None:
                _check(text, cursor)
        except (NotFound, ValueError) as error:
            sentence = "It is not a cursor from a link of this list."
            raise ValidationError({self.cursor_query_param: [sentence]}) from error
        return cursor


def _check(text: str, cursor: Cursor) -> None:
    if not _BASE64.fullmatch(text):
        raise ValueError("not base64")
    if cursor.position is None:
        return
    time = parse_datetime(str(cursor.position))
    if time is None or time.tzinfo is None or not MINYEAR < time.year < MAXYEAR:
        raise ValueError("not a time of a job")
