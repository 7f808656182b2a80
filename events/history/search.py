"""Searching the archive over many logs, in the order of time.

The archive follows the streams within a second or so; what it does not have yet is not found.
"""

import re
from typing import Any, Final, NamedTuple, Self

from django.db.models import Q, QuerySet

from events.archive.filters import EventFilter
from events.archive.lookups import Rows, matching
from events.archive.store import EVENT_ID, between
from events.exceptions import InvalidCursor
from events.fields import unpack_id
from events.models import ArchivedEvent, EventLog
from events.types import Cursor, Event, Order, shown

_POSITION: Final = re.compile(r"(\d{1,20}-\d{1,20})@(\d{1,18})", re.ASCII)
# Of up to so many logs the database is given the keys, so that it can tell how many rows that are.
_FEW_LOGS: Final = 200


class Position(NamedTuple):
    """A place among the events of all logs: an event's id, which several may have, and its log."""

    cursor: Cursor
    log_id: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `<ms>-<seq>@<log>`; raise InvalidCursor for all else."""
        match = _POSITION.fullmatch(text)
        if match is None:
            raise InvalidCursor(f"It is not a cursor from a link of this list: {shown(text)}.")
        return cls(Cursor.parse(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.cursor}@{self.log_id}"


class FoundEvents(NamedTuple):
    """A page of what was found; `position` is after its last event, None if there is no more."""

    events: list[Event]
    position: Position | None


def search_events(
    job_ids: QuerySet[Any, Any],
    wanted: EventFilter,
    *,
    after: Cursor | None = None,
    before: Cursor | None = None,
    position: Position | None = None,
    order: Order = "desc",
    limit: int,
) -> FoundEvents:
    """Up to `limit` events that are wanted, of the jobs whose ids a query gives.

    Between two cursors, both exclusive, which are compared over all logs: by time. `position` is
    where the page before ended, in the same order. Costs two or three queries.
    """
    rows = between(matching(_rows_of(job_ids), wanted), after, before)
    found = list(_ordered(rows, position, order)[: limit + 1])
    events = [
        Event(unpack_id(packed), job_id, event_type, timestamp, data.encode(), producer or "")
        for packed, event_type, timestamp, data, producer, job_id, _ in found[:limit]
    ]
    if len(found) <= limit:
        return FoundEvents(events, None)
    return FoundEvents(events, Position(events[-1].cursor, found[limit - 1][-1]))


def _rows_of(job_ids: QuerySet[Any, Any]) -> Rows:
    rows = ArchivedEvent.objects.filter(event_id__isnull=False)
    logs = EventLog.objects.filter(job_id__in=job_ids).values_list("pk", flat=True)
    few = list(logs[: _FEW_LOGS + 1])
    if len(few) <= _FEW_LOGS:
        return rows.filter(log_id__in=few)
    return rows.filter(log__job_id__in=job_ids)


def _ordered(rows: Rows, position: Position | None, order: Order) -> QuerySet[Any, Any]:
    """What comes after a position, in an order."""
    way, sign = ("gt", "") if order == "asc" else ("lt", "-")
    if position is not None:
        at, log_id = position
        later = Q(**{f"event_id__{way}": at}) | Q(**{f"log_id__{way}": log_id})
        rows = rows.filter(later, **{f"event_id__{way}e": at})
    columns = EVENT_ID, "event_type", "timestamp", "data", "producer", "log__job_id", "log_id"
    return rows.order_by(f"{sign}event_id", f"{sign}log_id").values_list(*columns)
