"""Reading the archive: one log's state, pages of its events, and single ids."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from django.db.models import BinaryField, ExpressionWrapper, F, QuerySet, Subquery

from events.archive.filters import EventFilter
from events.archive.lookups import EventRows, apply_filter
from events.fields import unpack, unpack_id
from events.models import ArchivedEvent, EventLog
from events.types import MAX_CURSOR, START, Cursor, Event, Order

# The stored bytes: CursorField.from_db_value costs a Python call for each of thousands of rows.
EVENT_ID: Final = ExpressionWrapper(F("event_id"), output_field=BinaryField())


@dataclass(frozen=True, slots=True)
class PageQuery:
    """The first, or last, `limit` matching events of a log between two cursors, both exclusive."""

    job_id: str
    after: Cursor | None
    before: Cursor | None
    limit: int
    order: Order
    event_filter: EventFilter


@dataclass(frozen=True, slots=True)
class ArchivedLog:
    """The archived part of a log: events from `truncated_before` up to `position`.

    `truncated_before` is 0-0 if nothing was deleted, and MAX_CURSOR if the log was.
    """

    pk: int
    truncated_before: Cursor
    position: Cursor

    @property
    def is_deleted(self) -> bool:
        return self.truncated_before == MAX_CURSOR


def archived_log(job_id: str) -> ArchivedLog | None:
    """A job's log; None if the archive has no row of it."""
    row = (
        EventLog.objects.filter(job_id=job_id)
        .values_list("pk", "truncated_before", "archived__position")
        .first()
    )
    return ArchivedLog(row[0], row[1], row[2] or START) if row else None


def is_deleted(job_id: str) -> bool:
    """Return whether the log of a job was deleted, until its tombstone expires."""
    log = archived_log(job_id)
    return log is not None and log.is_deleted


def archived_page(log: ArchivedLog, query: PageQuery) -> tuple[ArchivedLog, list[Event]]:
    """Read a page up to `log.position`; return the log as of this read.

    Retention may delete events at any time, so the same statement reads `truncated_before`.
    """
    rows = ArchivedEvent.objects.filter(log_id=log.pk, event_id__lte=log.position)
    rows = apply_filter(between(rows, query.after, query.before), query.event_filter)
    rows = rows.order_by("event_id" if query.order == "asc" else "-event_id")
    truncated_before = Subquery(
        EventLog.objects.filter(pk=log.pk).values("truncated_before"), output_field=BinaryField()
    )
    columns = (EVENT_ID, "event_type", "timestamp", "data", "producer", truncated_before)
    found = list(rows.values_list(*columns)[: query.limit])
    if not found:
        # Only `truncated_before` is taken from this later read: the rows belong to `log`.
        now = archived_log(query.job_id) or log
        return replace(log, truncated_before=now.truncated_before), []
    job_id = query.job_id
    return replace(log, truncated_before=unpack(found[0][-1])), [
        Event(unpack_id(packed), job_id, event_type, timestamp, data.encode(), producer or "")
        for packed, event_type, timestamp, data, producer, _ in found
    ]


def between(rows: EventRows, after: Cursor | None, before: Cursor | None) -> EventRows:
    """Restrict rows to those between two cursors, both exclusive."""
    if after is not None:
        rows = rows.filter(event_id__gt=after)
    return rows if before is None else rows.filter(event_id__lt=before)


def archived_data(log_id: int, ids: Sequence[str]) -> dict[str, str]:
    """The JSON of archived events, by id; ids that are not archived are missing."""
    rows = ArchivedEvent.objects.filter(log_id=log_id, event_id__in=ids)
    return {str(event_id): data for event_id, data in rows.values_list("event_id", "data")}


def latest_ids(log_id: int, up_to: Cursor) -> QuerySet[ArchivedEvent, Any]:
    """The ids of archived events up to a cursor, the latest first."""
    rows = ArchivedEvent.objects.filter(log_id=log_id, event_id__lte=up_to).order_by("-event_id")
    return rows.values_list("event_id", flat=True)
