"""Writing the archive: event rows, archive checkpoints and the errors of stalled logs."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from django.db import OperationalError
from django.db.models import F, Q, QuerySet

from events.archive.terms import terms_of
from events.conf import event_settings
from events.database import atomic, now_expression, write_connection
from events.fields import pack, pack_id
from events.models import ArchiveCheckpoint, ArchivedEvent, EventLog
from events.streams.commands import Keys
from events.streams.keys import StreamKeys
from events.types import OUTBOX, START, Cursor, Event

logger = logging.getLogger(__name__)

_OUTBOX_PREFIX: Final = f"{OUTBOX}:"
_MAX_ERROR_CHARS: Final = 1000
_LOCK_TIMEOUT_MS: Final = 50
_LOCK_NOT_AVAILABLE: Final = "55P03"  # SQLSTATE lock_not_available of PostgreSQL

# Events with the primary key of their log.
LogEvents = list[tuple[int, Event]]


@dataclass(slots=True, eq=False)
class StreamState:
    """A stream and its archive checkpoint as of the archiver's last read.

    Times are of `time.monotonic()`: `retry_at` is the next attempt after an error,
    `completion_check_at` the next query whether the job is over.
    """

    job_id: str
    log_id: int
    position: Cursor
    stalled: bool
    retry_at: float = 0.0
    expiring: bool = False
    completion_check_at: float = 0.0

    @property
    def keys(self) -> Keys:
        return StreamKeys(event_settings.STREAM_PREFIX).pair(self.job_id)

    def advance(self, position: Cursor) -> None:
        """Record that the stream is archived up to a position."""
        self.position = position
        self.stalled = self.expiring = False

    def clear_error(self) -> None:
        """Clear the error of a stalled log if its stream and its outbox have no more events."""
        if not self.stalled:
            return
        self.stalled = False
        if not ArchivedEvent.objects.filter(log_id=self.log_id, event_id=None).exists():
            checkpoint = ArchiveCheckpoint.objects.filter(log_id=self.log_id)
            checkpoint.update(error="", failed_at=None)


def get_or_create_checkpoints(job_ids: Collection[str]) -> dict[str, StreamState]:
    """The streams of these jobs with their archive checkpoints; missing rows are created.

    Omits deleted logs, and a log that another transaction is creating.
    """
    found = _checkpoints(job_ids)
    missing = set(job_ids) - found.keys()
    for job_id in missing:
        _create_log(job_id)
    return found | _checkpoints(missing)


def _create_log(job_id: str) -> None:
    try:
        with atomic():
            if write_connection().vendor == "postgresql":
                # A long transaction may be creating the log. Do not wait for its commit.
                with write_connection().cursor() as cursor:
                    cursor.execute(f"SET LOCAL lock_timeout = {_LOCK_TIMEOUT_MS}")
            log, _ = EventLog.objects.select_for_update().get_or_create(job_id=job_id)
            if log.deleted_at is None:
                ArchiveCheckpoint.objects.get_or_create(log=log)
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
            raise
        logger.info("log_creation_locked", extra={"job_id": job_id})


def _checkpoints(job_ids: Collection[str]) -> dict[str, StreamState]:
    return _states(ArchiveCheckpoint.objects.filter(log__job_id__in=job_ids))


def unreleased_checkpoints() -> dict[str, StreamState]:
    """The streams that Redis must have: their logs are partly archived, and not released."""
    return _states(ArchiveCheckpoint.objects.filter(released=False).exclude(position=START))


def _states(rows: QuerySet[ArchiveCheckpoint]) -> dict[str, StreamState]:
    columns = ("log__job_id", "log_id", "position", "error")
    return {
        job_id: StreamState(job_id, log_id, position, stalled=bool(error))
        for job_id, log_id, position, error in rows.values_list(*columns)
    }


def restart_erasure(job_ids: Collection[str]) -> None:
    """Erase logs again that have a stream although they were erased."""
    erased = EventLog.objects.filter(job_id__in=job_ids, erased_at__isnull=False)
    if job_ids and erased.update(erased_at=None):
        logger.warning("erased_stream_found", extra={"job_ids": sorted(job_ids)})


def logs_in_outbox(
    after: int, *, limit: int, min_age: timedelta | None = None
) -> list[tuple[int, str]]:
    """The logs that have events in the outbox: primary key and job_id, in key order after `after`.

    With `min_age`, only logs with events of this age by the database's clock.
    """
    rows = ArchivedEvent.objects.filter(event_id=None, log_id__gt=after)
    if min_age is not None:
        # A row dated in the future was written before the clock was adjusted backwards.
        now = now_expression()
        rows = rows.filter(Q(written_at__lt=now - min_age) | Q(written_at__gt=now))
    return list(rows.order_by("log_id").values_list("log_id", "log__job_id").distinct()[:limit])


def stalled_job_ids() -> set[str]:
    """The jobs whose logs are stalled."""
    return set(ArchiveCheckpoint.objects.exclude(error="").values_list("log__job_id", flat=True))


def lock_checkpoints(log_ids: Sequence[int]) -> dict[int, Cursor]:
    """Lock archive checkpoints until the transaction ends; return their positions by log.

    Omits checkpoints that another transaction has locked.
    """
    rows = ArchiveCheckpoint.objects.filter(log_id__in=log_ids)
    if write_connection().features.has_select_for_update_skip_locked:
        rows = rows.select_for_update(skip_locked=True)
    else:
        # SQLite has one lock for all writers; the first writing statement waits for it.
        rows.update(error=F("error"))
    return dict(rows.values_list("log_id", "position"))


def advance_checkpoints(positions: Mapping[int, Cursor]) -> None:
    """Set the archived positions of logs, which Redis has; clear their errors."""
    with write_connection().cursor() as cursor:
        cursor.executemany(
            "UPDATE job_events_archivecheckpoint SET position = %s, released = %s, error = '',"
            " failed_at = NULL WHERE log_id = %s",
            [(pack(position), False, log_id) for log_id, position in positions.items()],
        )


def release(positions: Mapping[int, Cursor]) -> None:
    """Record that Redis need not have the streams of logs that are still archived up to there."""
    with write_connection().cursor() as cursor:
        cursor.executemany(
            "UPDATE job_events_archivecheckpoint SET released = %s"
            " WHERE log_id = %s AND position = %s",
            [(True, log_id, pack(positions[log_id])) for log_id in sorted(positions)],
        )


def report_error(log_id: int, job_id: str, error: Exception) -> None:
    """Record why a log cannot be archived or appended to; the log is stalled until it can be."""
    text = f"{type(error).__name__}: {error}".replace("\x00", "\ufffd")[:_MAX_ERROR_CHARS]
    checkpoint = ArchiveCheckpoint.objects.filter(log_id=log_id)
    if checkpoint.filter(error=text).exists():
        return
    with atomic():
        if log_id not in lock_checkpoints([log_id]):
            return  # an archiver has locked it; the caller reports again at its next step
        newly_stalled = checkpoint.filter(error="").update(failed_at=now_expression())
        checkpoint.update(error=text)
    if newly_stalled:
        logger.error("log_stalled", exc_info=error, extra={"job_id": job_id})


def insert_batch(batch: Mapping[int, Sequence[Event]]) -> set[tuple[int, str]]:
    """Archive events by log; return log and id of those that are archived under another id.

    A transactional event has a row already; it is assigned the id. If Redis lost an archived event
    and received it again, the unique `producer` identifies it.
    """
    events = [(log_id, event) for log_id, of_log in batch.items() for event in of_log]
    from_outbox = [pair for pair in events if pair[1].producer.startswith(_OUTBOX_PREFIX)]
    others = [pair for pair in events if not pair[1].producer.startswith(_OUTBOX_PREFIX)]
    duplicates = set[tuple[int, str]]()
    if _assign_ids(from_outbox) < len(from_outbox):
        others += _resolve_conflicts(from_outbox, duplicates)
    if _insert(others) < len(others):
        # An external producer may reuse one producer id for different events.
        _insert(_resolve_conflicts(others, duplicates))
    return duplicates


def _assign_ids(pairs: LogEvents) -> int:
    """Assign ids to rows of the outbox; return how many rows were updated."""
    if not pairs:
        return 0
    terms = "%s::tsvector" if write_connection().vendor == "postgresql" else "%s"
    with write_connection().cursor() as cursor:
        cursor.executemany(
            f"UPDATE job_events_archivedevent SET event_id = %s, terms = {terms}"  # noqa: S608
            " WHERE log_id = %s AND producer = %s AND event_id IS NULL AND data = %s",
            [
                (pack_id(event.id), _terms(event), log_id, event.producer, event.raw.decode())
                for log_id, event in pairs
            ],
        )
        return int(cursor.rowcount)


def _resolve_conflicts(pairs: LogEvents, duplicates: set[tuple[int, str]]) -> LogEvents:
    """Return the events of external producers; add those archived under another id to `duplicates`.

    An event is external if no archived row has the same producer and data; its claim to that
    producer is removed.
    """
    external: LogEvents = []
    for log_id, event in pairs:
        rows = ArchivedEvent.objects.filter(log_id=log_id, producer=event.producer)
        row = rows.values_list("event_id", "data").first() if event.producer else None
        if row is None or row[1] != event.raw.decode():
            external.append((log_id, event._replace(producer="")))
        elif row[0] != event.cursor:
            duplicates.add((log_id, event.id))
    return external


_COLUMNS: Final = "log_id, event_id, event_type, timestamp, data, producer, terms"
_INSERT: Final = f"INSERT INTO job_events_archivedevent ({_COLUMNS})"
_ARRAYS: Final = (
    "%b::bigint[], %b::bytea[], %b::text[], %b::text[], %b::text[], %b::text[],"
    " %b::text[]::tsvector[]"
)


def _insert(pairs: LogEvents) -> int:
    """Insert events whose id and producer are not archived; return how many were inserted."""
    rows = [
        (
            log_id,
            pack_id(event.id),
            event.event_type,
            event.timestamp,
            event.raw.decode(),
            event.producer or None,
            _terms(event),
        )
        for log_id, event in pairs
    ]
    if not rows:
        return 0
    if write_connection().vendor == "postgresql":
        query = f"{_INSERT} SELECT * FROM unnest({_ARRAYS}) ON CONFLICT DO NOTHING"  # noqa: S608
        return _execute_with_arrays(query, [list(column) for column in zip(*rows, strict=True)])
    query = f"{_INSERT} VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING"
    with write_connection().cursor() as cursor:
        cursor.executemany(query, rows)
        return int(cursor.rowcount)


def _execute_with_arrays(query: str, arrays: list[list[Any]]) -> int:
    """Execute one statement for all rows: a third of the time of executemany on PostgreSQL.

    Django's cursor interpolates parameters into the query text, which dominates the cost.
    psycopg's own cursor sends them in binary.
    """
    connection = write_connection()
    psycopg = connection.Database
    with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as cursor:
        cursor.execute(query, arrays)
        return int(cursor.rowcount)


def _terms(event: Event) -> str:
    return " ".join(terms_of(event))
