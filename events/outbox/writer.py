"""The outbox: writes the row of an event in a transaction, and appends the event on commit.

If the append fails, the relay of `manage.py process_events` or the job's next commit makes it.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from django.db import DatabaseError, IntegrityError, InterfaceError
from django.db.models import Exists, F, OuterRef

from events.archive.reader import is_deleted
from events.circuit_breaker import CircuitBreaker
from events.codec import encode_event
from events.conf import event_settings
from events.database import atomic, now_expression, on_commit
from events.exceptions import EventsError, LogDeleted, RedisUnavailable
from events.metrics.instruments import PUBLISHED
from events.models import ArchiveCheckpoint, ArchivedEvent, EventLog
from events.outbox import relay
from events.streams import commands
from events.streams.clients import get_redis, send_command
from events.streams.commands import OutboxEvent
from events.streams.keys import StreamKeys
from events.streams.pubsub import mirror_channel
from events.streams.scripts import mirrored
from events.types import OUTBOX, START, Cursor, Producer, check_job_id

logger = logging.getLogger(__name__)

# While it is open, commits leave their events to the relay.
redis_breaker: Final = CircuitBreaker()


def publish_event(job_id: str, event_data: Mapping[str, Any], *, epoch: int = 0) -> None:
    """Publish an event when the current transaction commits; without a transaction, at once.

    A missing `event_type` and `timestamp` are filled in. `epoch` is the job's attempt that the
    event belongs to; producers of earlier attempts are fenced once it is appended. Other
    transactions that publish to this job wait until this one ends.

    Raises InvalidJobId, InvalidEvent, EventTooLarge, LogDeleted, before the row is written.
    """
    check_job_id(job_id)
    data, timestamp, event_type = encode_event(event_data, limit=event_settings.MAX_EVENT_BYTES)
    # Without a savepoint an error here aborts the caller's transaction, and two queries are saved.
    with atomic(savepoint=False):
        log_id, sequence, position, is_archived = _next_sequence(job_id)
        event = OutboxEvent(sequence, epoch, timestamp, str(event_type), data.decode())
        ArchivedEvent.objects.create(
            log_id=log_id,
            event_type=event.event_type,
            timestamp=event.timestamp,
            data=event.data,
            producer=str(Producer(OUTBOX, epoch, sequence)),
            sequence=sequence,
            written_at=now_expression(),
        )
        on_commit(partial(_append, job_id, event, position, is_archived))


def _next_sequence(job_id: str) -> tuple[int, int, Cursor, bool]:
    """Return the log's key, next outbox sequence and archived position; lock the log.

    The last value is True if all earlier events of the outbox are archived.
    """
    if not _increment(job_id):
        try:
            with atomic():
                log = EventLog.objects.create(job_id=job_id, sequence=1)
                ArchiveCheckpoint.objects.create(log=log)
        except IntegrityError as error:
            if is_deleted(job_id):
                raise LogDeleted from error
            if not _increment(job_id):  # else another transaction created the log meanwhile
                raise
    waiting = Exists(ArchivedEvent.objects.filter(log=OuterRef("pk"), event_id=None))
    columns = ("pk", "sequence", "archived__position", ~waiting)
    values = EventLog.objects.values_list(*columns).get(job_id=job_id)
    log_id, sequence, position, is_archived = values
    return log_id, sequence, position or START, is_archived


def _increment(job_id: str) -> bool:
    # The lock of an UPDATE, unlike SELECT FOR UPDATE, lets the archiver insert rows of this log.
    log = EventLog.objects.filter(job_id=job_id, deleted_at=None)
    return bool(log.update(sequence=F("sequence") + 1))


def _append(job_id: str, event: OutboxEvent, position: Cursor, is_archived: bool) -> None:
    """Append the event of a committed transaction; the row outlives every failure."""
    if redis_breaker.is_open:
        return
    keys = StreamKeys(event_settings.STREAM_PREFIX).pair(job_id)
    # Earlier events of the outbox are committed, and usually appended.
    expected = event.sequence - 1 or None
    command = commands.outbox_append(keys, expected, str(position), [event], archived=is_archived)
    command = mirrored(command, mirror_channel(job_id))
    with deferred_on_error(
        logger, "job_event_deferred", job_id=job_id, event_type=event.event_type
    ):
        if send_command(get_redis(), command)[1]:
            PUBLISHED.add(1, "outbox")
        else:
            relay.append_pending(job_id)
        redis_breaker.record_success()


@contextmanager
def deferred_on_error(log: logging.Logger, message: str, **extra: Any) -> Iterator[None]:
    """Log an error of the body, which `process_events` repeats.

    The body follows a commit: an exception would report the transaction as failed.
    """
    try:
        yield
    except (EventsError, DatabaseError, InterfaceError) as error:
        if isinstance(error, RedisUnavailable):
            redis_breaker.record_failure()
        log.warning(message, extra={**extra, "error": str(error)})
