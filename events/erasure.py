"""Erasure of logs: a deleted log accepts and returns no events, and its events are removed.

`delete_log` marks the log in the transaction that deletes its job. The other steps follow the
commit, may be repeated after a crash at any point, and are finished by `manage.py process_events`.
The row of the log remains as a tombstone for TOMBSTONE_TTL; docs/explanation.md shows the states.
"""

import logging
from datetime import timedelta
from functools import partial
from typing import Final

from django.db import DatabaseError, InterfaceError, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from events.archive.maintenance import Throttle
from events.conf import event_settings
from events.exceptions import EventsError, RedisUnavailable
from events.models import ArchiveCheckpoint, ArchivedEvent, EventLog
from events.outbox.writer import redis_breaker
from events.streams import commands
from events.streams.clients import get_redis, send_pipeline
from events.streams.keys import StreamKeys
from events.streams.retry import raised
from events.types import MAX_CURSOR, check_job_id

logger = logging.getLogger(__name__)

MAX_BATCH_EVENTS: Final = 1000
_MAX_STEP_LOGS: Final = 100
# The tombstone in Redis expires first: a new log of that job_id must not find it.
_EXPIRY_MARGIN: Final = timedelta(hours=1)


def delete_log(job_id: str) -> None:
    """Delete the log of a job when the current transaction commits; without one, at once.

    The job_id is refused from then on, also if it has no log. Up to 1,000 events are removed before
    the commit returns. Waits for transactions that publish to the log. Raises InvalidJobId.
    """
    log = EventLog.objects.filter(job_id=check_job_id(job_id))
    # A page is read with `truncated_before`, in one statement: its reader sees the deletion.
    mark = {"deleted_at": Now(), "erased_at": None, "truncated_before": MAX_CURSOR}
    with transaction.atomic():
        if not log.update(**mark):
            EventLog.objects.get_or_create(job_id=job_id)
            log.update(**mark)
        # Waits for an archiver that inserts events; without a checkpoint none inserts any later.
        ArchiveCheckpoint.objects.filter(log__job_id=job_id).delete()
        transaction.on_commit(partial(_start_erasure, job_id))


def erase_log(job_id: str) -> None:
    """Remove the stream and all events of a deleted log.

    Raises RedisUnavailable, RedisCommandError, django.db.Error; call it again, or leave the rest to
    `process_events`.
    """
    while _erase_batch(job_id) == MAX_BATCH_EVENTS:
        pass


def _start_erasure(job_id: str) -> None:
    """Erase a small log of a committed transaction, which a failure must not report as failed."""
    if redis_breaker.is_open:
        return
    try:
        _erase_batch(job_id)
    except (EventsError, DatabaseError, InterfaceError) as error:
        if isinstance(error, RedisUnavailable):
            redis_breaker.record_failure()
        logger.warning("log_erasure_deferred", extra={"job_id": job_id, "error": str(error)})


def _erase_batch(job_id: str) -> int:
    """Remove the stream and a batch of events; return their number. The last batch is smaller."""
    log = EventLog.objects.filter(job_id=job_id, deleted_at__isnull=False)
    if not log.exists():
        return 0
    _erase_stream(job_id)
    with transaction.atomic():
        log.update(sequence=0)  # locks the row
        count = _delete_oldest(ArchivedEvent.objects.filter(log__in=log))
        if count < MAX_BATCH_EVENTS:
            log.update(erased_at=Now())
    return count


def _delete_oldest(events: QuerySet[ArchivedEvent]) -> int:
    """Delete a batch of events, oldest first, so that a page that is read meanwhile has no gap."""
    pks = list(events.order_by("event_id").values_list("pk", flat=True)[:MAX_BATCH_EVENTS])
    ArchivedEvent.objects.filter(pk__in=pks).delete()
    return len(pks)


def _erase_stream(job_id: str) -> None:
    keys = StreamKeys(event_settings.STREAM_PREFIX)
    milliseconds = int(event_settings.TOMBSTONE_TTL * 1000)
    erase = commands.erase(keys.pair(job_id), milliseconds)
    for reply in send_pipeline(get_redis(), [erase, ("DEL", keys.watched(job_id))]):
        raised(reply)


class Eraser:
    """Step of `process_events`: erases deleted logs, and removes expired tombstones."""

    def __init__(self) -> None:
        self._expiry = Throttle()

    def step(self) -> int:
        """Erase a batch of each deleted log; return the number of batches.

        Raises RedisUnavailable and django.db.Error. An error of one log does not delay the others.
        """
        deleted = EventLog.objects.filter(deleted_at__isnull=False, erased_at=None)
        job_ids = deleted.order_by("deleted_at").values_list("job_id", flat=True)
        count = sum(map(_is_batch_erased, list(job_ids[:_MAX_STEP_LOGS])))
        if self._expiry.due:
            with self._expiry:
                _remove_expired_tombstones()
        return count


def _is_batch_erased(job_id: str) -> bool:
    try:
        _erase_batch(job_id)
    except RedisUnavailable:
        raise
    except EventsError as error:
        logger.warning("log_erasure_failed", exc_info=error, extra={"job_id": job_id})
        return False
    return True


def _remove_expired_tombstones() -> None:
    expiry = Now() - timedelta(seconds=event_settings.TOMBSTONE_TTL) - _EXPIRY_MARGIN
    expired = EventLog.objects.filter(erased_at__lt=expiry).order_by("erased_at")
    pks = list(expired.values_list("pk", flat=True)[:MAX_BATCH_EVENTS])
    EventLog.objects.filter(pk__in=pks).delete()
