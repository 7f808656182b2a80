"""The outbox: events that are published by the commit of a transaction.

A row is written in the caller's transaction; committed, its event will be in the log once, and in
the order of commits; rolled back, it never was. On commit it is appended at once. If that cannot
be, the relay of `manage.py process_events` does it later, or the next commit for that job.
"""

import logging
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple, cast

from django.apps import apps
from django.db import DatabaseError, IntegrityError, InterfaceError, transaction
from django.db.models import Exists, F, OuterRef
from django.utils import timezone

from events.circuit_breaker import CircuitBreaker
from events.codec import encode_event
from events.conf import event_settings
from events.exceptions import EventsError, RedisUnavailable
from events.models import ArchiveCheckpoint, ArchivedEvent, EventLog
from events.outbox import relay
from events.streams import commands
from events.streams.clients import ask_once, get_redis
from events.streams.commands import OutboxEvent
from events.streams.keys import StreamKeys
from events.types import OUTBOX, Cursor, Producer, check_job_id

logger = logging.getLogger(__name__)


def publish_event(job_id: str, event_data: Mapping[str, Any], *, epoch: int = 0) -> None:
    """Publish an event if the current transaction commits; outside of one, now.

    A missing `event_type` and `timestamp` are filled in. `epoch` is the attempt of the job that
    the event speaks of; publishers of an earlier one are refused from then on. Until the
    transaction ends, others who publish to this job by their transactions wait.

    Raises InvalidJobId, InvalidEvent, EventTooLarge, before anything is written.
    """
    check_job_id(job_id)
    data, timestamp, event_type = encode_event(event_data, limit=event_settings.MAX_EVENT_BYTES)
    # What fails in here fails the caller's transaction: a savepoint is two more questions to ask.
    with transaction.atomic(savepoint=False):
        log_id, sequence, archive = _next_number(job_id)
        event = OutboxEvent(sequence, epoch, timestamp, str(event_type), data.decode())
        ArchivedEvent.objects.create(
            log_id=log_id,
            event_type=event.event_type,
            timestamp=event.timestamp,
            data=event.data,
            producer=str(Producer(OUTBOX, epoch, sequence)),
            sequence=sequence,
            written_at=timezone.now(),
        )
        transaction.on_commit(partial(_append, job_id, event, archive))


class _Archive(NamedTuple):
    """How far the archive has a log, and whether it has all of the outbox before an event."""

    position: Cursor | None
    complete: bool


def _next_number(job_id: str) -> tuple[int, int, _Archive]:
    """The log, the next number of its outbox, and what the archive has.

    Locks the log until the transaction ends.
    """
    if not _count_up(job_id):
        try:
            with transaction.atomic():
                log = EventLog.objects.create(job_id=job_id, sequence=1)
                ArchiveCheckpoint.objects.create(log=log)
        except IntegrityError:
            if not _count_up(job_id):  # nor has somebody else made the log meanwhile
                raise
    waiting = Exists(ArchivedEvent.objects.filter(log=OuterRef("pk"), event_id=None))
    columns = ("pk", "sequence", "archived__position", ~waiting)
    pk, sequence, *archive = EventLog.objects.values_list(*columns).get(job_id=job_id)
    return pk, sequence, _Archive(*archive)


def _count_up(job_id: str) -> bool:
    # An UPDATE, not a SELECT FOR UPDATE: its lock lets the archiver insert rows of this log.
    return bool(EventLog.objects.filter(job_id=job_id).update(sequence=F("sequence") + 1))


def _append(job_id: str, event: OutboxEvent, archive: _Archive) -> None:
    """Append an event of a transaction that is committed: whatever fails, the row is there."""
    rest = _rest()
    if rest.is_open:
        return
    keys = StreamKeys(event_settings.STREAM_PREFIX).pair(job_id)
    expected = event.sequence - 1 or None
    try:
        # What stands before this event in the outbox is committed; usually it is appended, too.
        floor = relay.floor(archive.position)
        command = commands.outbox_append(keys, expected, floor, [event], archived=archive.complete)
        reply = ask_once(get_redis(), command)
        if not reply[1]:
            relay.append_pending(job_id)
        rest.worked()
    except (EventsError, DatabaseError, InterfaceError) as error:
        if isinstance(error, RedisUnavailable):
            rest.failed()
        # The state is committed: whoever asked for it must not be told that it failed.
        logger.warning(
            "job_event_deferred",
            extra={"job_id": job_id, "event_type": event.event_type, "error": str(error)},
        )


def _rest() -> CircuitBreaker:
    return cast(CircuitBreaker, cast(Any, apps.get_app_config("job_events")).rest)
