"""Cutting logs: the oldest events go, for good, and readers are told (`CursorExpired`).

By batches, each a transaction of its own that also says where the log begins from then on; so it
may be stopped at any line. Nothing goes that is not archived.
"""

from collections.abc import Sequence
from typing import Final

from django.db import transaction

from events.archive.store import archived_log, between, id_before_last
from events.models import ArchivedEvent, EventLog
from events.types import Cursor

_BATCH: Final = 1000


def logs_after(pk: int, limit: int) -> Sequence[tuple[int, str]]:
    """The logs after one, by their keys: each with its job_id."""
    logs = EventLog.objects.filter(pk__gt=pk).order_by("pk")
    return list(logs.values_list("pk", "job_id")[:limit])


def cut_point(
    log_id: int, job_id: str, *, before: Cursor | None, keep: int | None
) -> Cursor | None:
    """The id of the last event that is to go: those before a cursor, and all but the latest `keep`.

    None if nothing is to go.
    """
    log = archived_log(job_id)
    if log is None:
        return None
    points = list[Cursor | None]()
    if keep is not None:
        points.append(id_before_last(log_id, log.position, keep))
    if before is not None:
        rows = between(ArchivedEvent.objects.filter(log_id=log_id), None, before)
        old = rows.filter(event_id__lte=log.position).order_by("-event_id")
        points.append(old.values_list("event_id", flat=True).first())
    return max((point for point in points if point is not None), default=None)


def count_upto(log_id: int, point: Cursor) -> int:
    """How many events are up to an id."""
    return ArchivedEvent.objects.filter(log_id=log_id, event_id__lte=point).count()


def cut(log_id: int, point: Cursor, *, batch: int = _BATCH) -> int:
    """Remove a batch of the events up to an id, the oldest first; returns how many went."""
    rows = ArchivedEvent.objects.filter(log_id=log_id, event_id__lte=point).order_by("event_id")
    oldest = list(rows.values_list("pk", "event_id")[:batch])
    if not oldest:
        return 0
    last = Cursor.parse(oldest[-1][1])
    with transaction.atomic():
        ArchivedEvent.objects.filter(pk__in=[pk for pk, _ in oldest]).delete()
        # Who has read the last of them has missed nothing.
        EventLog.objects.filter(pk=log_id).update(truncated_before=last.next() or last)
    return len(oldest)
