"""Search across the archived logs of several jobs, ordered by time.

Events that are not archived yet, for about a second, are not found.
"""

import re
from typing import Any, Final, NamedTuple, Self

from django.db.models import Q, QuerySet

from events.archive.filters import EventFilter
from events.archive.lookups import EventRows, apply_filter
from events.archive.reader import EVENT_ID, between
from events.error_text import ErrorText
from events.exceptions import InvalidCursor
from events.fields import unpack_id
from events.models import ArchivedEvent, EventLog
from events.types import Cursor, Event, Order, shown

_SEARCH_CURSOR: Final = re.compile(r"(\d{1,20}-\d{1,20})@(\d{1,18})", re.ASCII)
# Up to this many logs are passed to the database by key, so that it can estimate their rows.
MAX_LISTED_LOGS: Final = 200


class SearchCursor(NamedTuple):
    """A position among the events of all logs: an event id, which is not unique, and its log."""

    cursor: Cursor
    log_id: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `<ms>-<seq>@<log>`; raise InvalidCursor."""
        match = _SEARCH_CURSOR.fullmatch(text)
        if match is None:
            raise InvalidCursor(
                ErrorText("This is not a cursor of a search page: %(value)s.", value=shown(text))
            )
        return cls(Cursor.parse(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.cursor}@{self.log_id}"


class SearchPage(NamedTuple):
    """A page of search results; `position` is after its last event, None on the last page."""

    events: list[Event]
    position: SearchCursor | None


def search_events(
    job_ids: QuerySet[Any, Any],
    event_filter: EventFilter,
    *,
    after: Cursor | None = None,
    before: Cursor | None = None,
    position: SearchCursor | None = None,
    order: Order = "desc",
    limit: int,
) -> SearchPage:
    """Return up to `limit` matching events of the jobs whose ids `job_ids` selects.

    `after` and `before` are exclusive and apply to the ids, that is, the times of all logs.
    `position` continues after a previous page in the same order. Costs two or three queries.
    """
    rows = between(apply_filter(_rows_of(job_ids), event_filter), after, before)
    found = list(_ordered(rows, position, order)[: limit + 1])
    events = [
        Event(unpack_id(packed), job_id, event_type, timestamp, data.encode(), producer or "")
        for packed, event_type, timestamp, data, producer, job_id, _ in found[:limit]
    ]
    if len(found) <= limit:
        return SearchPage(events, None)
    return SearchPage(events, SearchCursor(events[-1].cursor, found[limit - 1][-1]))


def _rows_of(job_ids: QuerySet[Any, Any]) -> EventRows:
    rows = ArchivedEvent.objects.filter(event_id__isnull=False)
    logs = EventLog.objects.filter(job_id__in=job_ids).values_list("pk", flat=True)
    listed = list(logs[: MAX_LISTED_LOGS + 1])
    if len(listed) <= MAX_LISTED_LOGS:
        return rows.filter(log_id__in=listed)
    return rows.filter(log__job_id__in=job_ids)


def _ordered(rows: EventRows, position: SearchCursor | None, order: Order) -> QuerySet[Any, Any]:
    """Rows after a position, in an order."""
    comparison, sign = ("gt", "") if order == "asc" else ("lt", "-")
    if position is not None:
        cursor, log_id = position
        later = Q(**{f"event_id__{comparison}": cursor}) | Q(**{f"log_id__{comparison}": log_id})
        rows = rows.filter(later, **{f"event_id__{comparison}e": cursor})
    columns = EVENT_ID, "event_type", "timestamp", "data", "producer", "log__job_id", "log_id"
    return rows.order_by(f"{sign}event_id", f"{sign}log_id").values_list(*columns)
