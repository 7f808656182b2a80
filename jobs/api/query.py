"""Query parameters, read strictly: a wrong one is a 400 that says what is allowed."""

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

from django.http import QueryDict
from django.utils.timezone import make_aware
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from events.archive.filters import MAX_CONDITIONS, EventFilter
from events.conf import event_settings
from events.exceptions import InvalidCursor
from events.history import SearchCursor
from events.types import Cursor, Order, shown
from jobs.exceptions import InvalidSpeed
from jobs.live.protocol import replay_speed
from jobs.validators import number_of

_MAX_DIGITS: Final = 10
_DATA: Final = "data."
CONDITIONS: Final = frozenset({"event_type", "search", "since", "until", _DATA})
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NAME: Final = re.compile(r"[\w.-]{1,60}", re.ASCII)
_BARE_PLUS: Final = re.compile(r" (\d{2}:?\d{2})\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class HistoryParams:
    """Which events, from which end, and how many."""

    after: Cursor | None
    before: Cursor | None
    order: Order
    limit: int
    conditions: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, query: QueryDict) -> "HistoryParams":
        """Read `after`, `before`, `order`, `limit`, and the conditions on events."""
        refuse_unknown(query, {"after", "before", "order", "limit", "format"} | CONDITIONS)
        order = order_param(query, "asc")
        return cls._of(query, order, limit_param(query, most=event_settings.PAGE_LIMIT))

    @classmethod
    def of_export(cls, query: QueryDict) -> "HistoryParams":
        """Read `after`, `before`, and the conditions on events."""
        refuse_unknown(query, {"after", "before", "format"} | CONDITIONS)
        return cls._of(query, "asc", event_settings.PAGE_LIMIT)

    @classmethod
    def _of(cls, query: QueryDict, order: Order, limit: int) -> "HistoryParams":
        since, until = times_param(query)
        return cls(
            after=_latest(cursor_param(query, "after"), since),
            before=_earliest(cursor_param(query, "before"), until),
            order=order,
            limit=limit,
            conditions=conditions_param(query),
        )

    @classmethod
    def of_poll(cls, query: QueryDict) -> "HistoryParams":
        """Read `after` and `limit`."""
        limit = limit_param(query, most=event_settings.PAGE_LIMIT)
        return cls(after=cursor_param(query, "after"), before=None, order="asc", limit=limit)


def _latest(*cursors: Cursor | None) -> Cursor | None:
    return max((cursor for cursor in cursors if cursor is not None), default=None)


def _earliest(*cursors: Cursor | None) -> Cursor | None:
    return min((cursor for cursor in cursors if cursor is not None), default=None)


def conditions_param(query: QueryDict) -> dict[str, Any]:
    """What an event has to be: `event_type`, `search` and `data.<path>`, for `EventFilter.of`."""
    types = query.getlist("event_type")
    if len(types) > MAX_CONDITIONS:
        raise ValidationError({"event_type": [f"At most {MAX_CONDITIONS} types at once."]})
    where = {name.removeprefix(_DATA): query[name] for name in query if name.startswith(_DATA)}
    conditions = {"event_types": types or None, "search": query.get("search", ""), "where": where}
    _check("search", search=conditions["search"])
    for path, value in where.items():
        _check(_DATA + path, where={path: value})
    _check("search", **conditions)
    return conditions


def _check(name: str, **conditions: Any) -> None:
    try:
        EventFilter.of(**conditions)
    except ValueError as error:
        raise ValidationError({_named(name): [str(error)]}) from error


def _named(name: str) -> str:
    """A parameter's name as an error tells it: short, and with nothing in it that does harm."""
    return name if _NAME.fullmatch(name) else shown(name)


def times_param(query: QueryDict) -> tuple[Cursor | None, Cursor | None]:
    """The cursors between which the events are that were appended from `since` to `until`."""
    since, until = (_time_param(query, name) for name in ("since", "until"))
    # The event of that very millisecond is one of them.
    return since and since.previous(), until


def _time_param(query: QueryDict, name: str) -> Cursor | None:
    if name not in query:
        return None
    try:
        time = parse_time(query.get(name, ""))
    except ValueError as error:
        raise ValidationError({name: [str(error)]}) from error
    milliseconds = (time - _EPOCH) / timedelta(milliseconds=1)
    return Cursor(max(math.ceil(milliseconds), 0), 0)


def parse_time(text: str) -> datetime:
    """A time as ISO 8601 has it, in UTC; without an offset, of the project's time zone."""
    try:
        # A plus sign that nobody encoded comes as a space.
        time = datetime.fromisoformat(_BARE_PLUS.sub(r"+\1", text))
        return (time if time.tzinfo else make_aware(time)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        words = "It is a time as ISO 8601 has it, such as 2026-11-22T10:00:00+00:00."
        raise ValueError(f"{words} Given: {shown(text)}.") from error


def refuse_unknown(query: QueryDict, allowed: Collection[str]) -> None:
    """A parameter that is not understood must not be ignored: the answer would be a wrong one."""
    for name in query:
        if name not in allowed and not (_DATA in allowed and name.startswith(_DATA)):
            known = ", ".join(sorted(allowed))
            raise ValidationError(
                {_named(name): [f"There is no such parameter; there are: {known}."]}
            )


def cursor_param(query: QueryDict, name: str) -> Cursor | None:
    """The cursor in a parameter; None without one."""
    if name not in query:
        return None
    try:
        return Cursor.parse(query[name])
    except InvalidCursor as error:
        raise ValidationError({name: [str(error)]}) from error


def position_param(query: QueryDict) -> SearchCursor | None:
    """The position in the parameter `cursor`; None without one."""
    if "cursor" not in query:
        return None
    try:
        return SearchCursor.parse(query.get("cursor", ""))
    except InvalidCursor as error:
        raise ValidationError({"cursor": [str(error)]}) from error


def link_of(request: Request, **params: object) -> str:
    """The address that was asked, with some other parameters."""
    query = request.query_params.copy()
    for name, value in params.items():
        query[name] = str(value)
    return request.build_absolute_uri(f"{request.path}?{query.urlencode()}")


def order_param(query: QueryDict, default: Order) -> Order:
    """In which order: the parameter `order`."""
    order = query.get("order", default)
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
    seconds = number_of(text, 0, most)
    if seconds is None:
        allowed = f"It is a number of seconds from 0 to {most:g}."
        raise ValidationError({name: [f"{allowed} Given: {shown(text)}."]})
    return seconds


def speed_param(query: QueryDict) -> float | None:
    """How fast the log is wanted again: `replay=1`, and `speed`; None if it is not."""
    try:
        return replay_speed(dict(query.lists()))
    except InvalidSpeed as error:
        raise ValidationError({error.field: [error.message]}) from error
