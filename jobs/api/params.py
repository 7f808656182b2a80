"""Query parameters, read strictly: a wrong one is a 400 that says what is allowed."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, cast

from django.http import QueryDict
from rest_framework.exceptions import ValidationError

from events.conf import event_settings
from events.exceptions import InvalidCursor
from events.types import Cursor, Order, shown

_MAX_DIGITS: Final = 10
_SECONDS: Final = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class HistoryParams:
    """Which events, from which end, and how many."""

    after: Cursor | None
    before: Cursor | None
    order: Order
    limit: int

    @classmethod
    def read(cls, query: QueryDict) -> "HistoryParams":
        """Read `after`, `before`, `order` and `limit`."""
        refuse_unknown(query, {"after", "before", "order", "limit", "format"})
        return cls(
            after=cursor_param(query, "after"),
            before=cursor_param(query, "before"),
            order=_order(query),
            limit=limit_param(query, most=event_settings.PAGE_LIMIT),
        )

    @classmethod
    def of_poll(cls, query: QueryDict) -> "HistoryParams":
        """Read `after` and `limit`."""
        limit = limit_param(query, most=event_settings.PAGE_LIMIT)
        return cls(after=cursor_param(query, "after"), before=None, order="asc", limit=limit)


def refuse_unknown(query: QueryDict, allowed: Collection[str]) -> None:
    """A parameter that is not understood must not be ignored: the answer would be a wrong one."""
    for name in query:
        if name not in allowed:
            known = ", ".join(sorted(allowed))
            raise ValidationError(
                {shown(name): [f"There is no such parameter; there are: {known}."]}
            )


def cursor_param(query: QueryDict, name: str) -> Cursor | None:
    """The cursor in a parameter; None without one."""
    if name not in query:
        return None
    try:
        return Cursor.parse(query[name])
    except InvalidCursor as error:
        raise ValidationError({name: [str(error)]}) from error


def _order(query: QueryDict) -> Order:
    order = query.get("order", "asc")
    if order in ("asc", "desc"):
        return cast(Order, order)
    raise ValidationError({"order": [f"It is asc or desc. Given: {shown(order)}."]})


def limit_param(query: QueryDict, *, most: int, default: int | None = None) -> int:
    """How many are wanted: the parameter `limit`; without it, `default` or `most`."""
    text = query.get("limit", str(default or most))
    if text.isascii() and text.isdigit() and len(text) < _MAX_DIGITS and 1 <= int(text) <= most:
        return int(text)
    raise ValidationError({"limit": [f"It is a number from 1 to {most}. Given: {shown(text)}."]})


def seconds_param(query: QueryDict, name: str, *, most: float, default: float) -> float:
    """A number of seconds, whole or not."""
    text = query.get(name, str(default))
    if _SECONDS.fullmatch(text) and float(text) <= most:
        return float(text)
    raise ValidationError(
        {name: [f"It is a number of seconds from 0 to {most:g}. Given: {shown(text)}."]}
    )
