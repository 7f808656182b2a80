"""Retention: deletes the oldest archived events of a log; readers of them get `CursorExpired`."""

from collections.abc import Sequence
from typing import Final

from events.archive.reader import archived_log, latest_ids
from events.database import atomic
from events.models import ArchivedEvent, EventLog
from events.types import Cursor

_BATCH_EVENTS: Final = 1000


def logs_after(pk: int, limit: int) -> Sequence[tuple[int, str]]:
    """The primary key and job_id of logs in key order, after one key."""
    logs = EventLog.objects.filter(pk__gt=pk).order_by("pk")
    return list(logs.values_list("pk", "job_id")[:limit])


def retention_point(job_id: str, *, before: Cursor | None, keep: int | None) -> Cursor | None:
    """The cursor to pass to `delete_before`; None if there is nothing to delete.

    Events to delete are archived, and before the cursor `before` or not among the latest `keep`.
    """
    log = archived_log(job_id)
    if log is None:
        return None
    ids = latest_ids(log.pk, log.position)
    too_many = [] if keep is None else ids[keep : keep + 1]
    too_old = [] if before is None else ids.filter(event_id__lt=before)[:1]
    last = max([*too_many, *too_old], default=None)
    return last and (last.next() or last)


def count_before(log_id: int, point: Cursor) -> int:
    """The number of archived events before a cursor."""
    return ArchivedEvent.objects.filter(log_id=log_id, event_id__lt=point).count()


def delete_before(log_id: int, point: Cursor, *, batch: int = _BATCH_EVENTS) -> int:
    """Delete one batch of the oldest events before a cursor; return how many were deleted.

    A batch is one transaction, which also updates `EventLog.truncated_before`.
    """
    rows = ArchivedEvent.objects.filter(log_id=log_id, event_id__lt=point).order_by("event_id")
    oldest = list(rows.values_list("pk", "event_id")[:batch])
    if not oldest:
        return 0
    last = Cursor.parse(oldest[-1][1])
    with atomic():
        ArchivedEvent.objects.filter(pk__in=[pk for pk, _ in oldest]).delete()
        # A reader whose cursor is the last deleted event has missed nothing.
        logs = EventLog.objects.filter(pk=log_id, deleted_at=None)
        logs.update(truncated_before=last.next() or point)
    return len(oldest)
