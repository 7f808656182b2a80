"""Erasure of logs: a deleted log accepts and returns no events, and its events are removed.

`delete_log` marks the log in the transaction that deletes its job. The other steps follow the
commit, may be repeated after a crash at any point, and are finished by `manage.py process_events`.
The row of the log remains as a tombstone for TOMBSTONE_TTL; docs/explanation.md shows the states.
"""

import logging
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Final

from django.db.models import Exists, OuterRef, QuerySet

from events.archive.maintenance import Throttle
from events.conf import event_settings
from events.database import atomic, database_now, now_expression, on_commit, write_connection
from events.exceptions import EventsError
from events.models import ArchiveCheckpoint, ArchivedEvent, EventLog, LogGap
from events.outbox.writer import deferred_on_error, redis_breaker
from events.streams import commands
from events.streams.clients import get_redis, send_pipeline
from events.streams.keys import StreamKeys
from events.types import MAX_CURSOR, check_job_id

logger = logging.getLogger(__name__)

MAX_BATCH_EVENTS: Final = 1000
MAX_BATCH_LOGS: Final = 100
# The tombstone in Redis expires first: a new log of that job_id must not find it.
_EXPIRY_MARGIN: Final = timedelta(hours=1)


def delete_log(job_id: str) -> None:
    """Delete the log of a job when the current transaction commits; without one, at once.

    The job_id is refused from then on, also if it has no log. Up to 1,000 events are removed before
    the commit returns. Waits for transactions that publish to the log. Raises InvalidJobId.
    """
    log = EventLog.objects.filter(job_id=check_job_id(job_id))
    # A page is read with `truncated_before`, in one statement: its reader sees the deletion.
    mark = {"deleted_at": now_expression(), "erased_at": None, "truncated_before": MAX_CURSOR}
    with atomic(savepoint=False):
        if not log.update(**mark):
            EventLog.objects.get_or_create(job_id=job_id)
            log.update(**mark)
        # Waits for an archiver that inserts events; without a checkpoint none inserts any later.
        ArchiveCheckpoint.objects.filter(log__job_id=job_id).delete()
        on_commit(partial(_start_erasure, job_id))


def erase_log(job_id: str) -> None:
    """Remove the stream and all events of a deleted log.

    Raises RedisUnavailable, RedisCommandError, django.db.Error; call it again, or leave the rest to
    `process_events`.
    """
    while _erase_batch(_deleted_logs().filter(job_id=job_id)):
        pass


def _deleted_logs() -> QuerySet[EventLog]:
    return EventLog.objects.filter(deleted_at__isnull=False, erased_at=None)


def _start_erasure(job_id: str) -> None:
    """Erase a batch after the commit, unless Redis does not respond.

    A transaction that deletes many logs calls this for each; the first calls erase most of them.
    """
    if redis_breaker.is_open:
        return
    with deferred_on_error(logger, "log_erasure_deferred", job_id=job_id):
        if _deleted_logs().filter(job_id=job_id).exists():
            _erase_batch(_deleted_logs().order_by("-deleted_at"))


def _erase_batch(logs: QuerySet[EventLog]) -> int:
    """Remove the streams and a batch of the events of deleted logs; return the number of logs.

    The step may be repeated. Raises an error of Redis after the other logs of the batch.
    """
    found = dict(logs.values_list("job_id", "pk")[:MAX_BATCH_LOGS])
    errors = _erase_streams(list(found))
    pks = [pk for job_id, pk in found.items() if job_id not in errors]
    _erase_events(EventLog.objects.filter(pk__in=pks, deleted_at__isnull=False))
    for error in errors.values():
        raise error
    return len(pks)


def _erase_streams(job_ids: Sequence[str]) -> dict[str, EventsError]:
    """Replace streams by tombstones; return the errors by job_id. Raises RedisUnavailable."""
    keys = StreamKeys(event_settings.STREAM_PREFIX)
    milliseconds = int(event_settings.TOMBSTONE_TTL * 1000)
    erase = [commands.erase(keys.pair(job_id), milliseconds) for job_id in job_ids]
    watched = [("DEL", keys.watched(job_id)) for job_id in job_ids]
    replies = zip([*job_ids, *job_ids], send_pipeline(get_redis(), [*erase, *watched]), strict=True)
    return {job_id: reply for job_id, reply in replies if isinstance(reply, EventsError)}


def _erase_events(logs: QuerySet[EventLog]) -> None:
    """Delete a batch of events; mark the logs that have no more as erased."""
    with atomic():
        if write_connection().features.has_select_for_update:
            list(logs.select_for_update().order_by("pk"))  # in the same order in all processes
        logs.update(sequence=0)  # the first statement locks an SQLite database
        LogGap.objects.filter(log__in=logs).delete()
        _delete_events(ArchivedEvent.objects.filter(log__in=logs))
        remaining = ArchivedEvent.objects.filter(log=OuterRef("pk"))
        logs.filter(~Exists(remaining)).update(erased_at=now_expression())


def _delete_events(events: QuerySet[ArchivedEvent]) -> None:
    """Delete a batch, in any order: no page of a deleted log is returned."""
    pks = list(events.values_list("pk", flat=True)[:MAX_BATCH_EVENTS])
    ArchivedEvent.objects.filter(pk__in=pks).delete()


class Eraser:
    """Step of `process_events`: erases deleted logs, and removes expired tombstones."""

    def __init__(self) -> None:
        self._expiry = Throttle()

    def step(self) -> int:
        """Erase a batch of the deleted logs; return the number of logs in it.

        Raises RedisUnavailable, RedisCommandError, django.db.Error.
        """
        if self._expiry.due:
            with self._expiry:
                _remove_expired_tombstones()
        return _erase_batch(_deleted_logs().order_by("deleted_at"))


def _remove_expired_tombstones() -> None:
    lifetime = timedelta(seconds=event_settings.TOMBSTONE_TTL) + _EXPIRY_MARGIN
    expired = EventLog.objects.filter(erased_at__lt=database_now() - lifetime)
    pks = list(expired.values_list("pk", flat=True)[:MAX_BATCH_EVENTS])
    EventLog.objects.filter(pk__in=pks).delete()
