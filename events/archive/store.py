"""The archive in SQL: reading pages of it, and writing batches into it."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from django.db import IntegrityError, OperationalError, connection, transaction
from django.db.models import BinaryField, ExpressionWrapper, F, Model, Q
from django.db.models.expressions import RawSQL
from django.utils import timezone

from events.archive.filters import EventFilter, terms_of
from events.archive.lookups import Rows, matching
from events.fields import pack, pack_id, unpack, unpack_id
from events.models import ArchiveCheckpoint, ArchivedEvent, EventLog
from events.types import OUTBOX, START, Cursor, Event, Order

logger = logging.getLogger(__name__)

# As it is stored: pages have thousands, and Django would call a function of its own for each.
EVENT_ID: Final = ExpressionWrapper(F("event_id"), output_field=BinaryField())
_OUTBOX_MARK: Final = f"{OUTBOX}:"
_MAX_ERROR_CHARS: Final = 1000
_LONGEST_WAIT_MS: Final = 50
_LOCK_NOT_AVAILABLE: Final = "55P03"  # PostgreSQL's lock_not_available


@dataclass(frozen=True, slots=True)
class ArchivedLog:
    """What the archive has of a log: from `truncated_before`, 0-0 if it was not cut,
    to `position`."""

    pk: int
    truncated_before: Cursor
    position: Cursor


def archived_log(job_id: str) -> ArchivedLog | None:
    """A job's log; None if the archive does not know it."""
    row = (
        EventLog.objects.filter(job_id=job_id)
        .values_list("pk", "truncated_before", "archived__position")
        .first()
    )
    return ArchivedLog(row[0], row[1], row[2] or START) if row else None


def archived_page(
    log: ArchivedLog,
    job_id: str,
    *,
    after: Cursor | None,
    before: Cursor | None,
    limit: int,
    order: Order,
    wanted: EventFilter,
) -> tuple[ArchivedLog, list[Event]]:
    """Up to `limit` events of the archive, up to its position, and the log as it was then.

    It may be cut at any time: where it begins is read by the same statement.
    """
    rows = ArchivedEvent.objects.filter(log_id=log.pk, event_id__lte=log.position)
    rows = matching(between(rows, after, before), wanted)
    rows = rows.order_by("event_id" if order == "asc" else "-event_id")
    first = RawSQL(f'SELECT "truncated_before" FROM {_table(EventLog)} WHERE "id" = %s', (log.pk,))  # noqa: S611, S608
    columns = rows.values_list(EVENT_ID, "event_type", "timestamp", "data", "producer", first)
    found = list(columns[:limit])
    if not found:
        now = archived_log(job_id)  # of which only where it begins counts: the rows are of before
        return replace(
            log, truncated_before=now.truncated_before if now else log.truncated_before
        ), []
    return replace(log, truncated_before=unpack(found[0][-1])), [
        Event(unpack_id(packed), job_id, event_type, timestamp, data.encode(), producer or "")
        for packed, event_type, timestamp, data, producer, _ in found
    ]


def between(rows: Rows, after: Cursor | None, before: Cursor | None) -> Rows:
    """Those of the rows that are between two cursors, both exclusive."""
    if after is not None:
        rows = rows.filter(event_id__gt=after)
    return rows if before is None else rows.filter(event_id__lt=before)


Known = tuple[int, Cursor, bool]


def known_logs(job_ids: Iterable[str]) -> dict[str, Known]:
    """The logs of these jobs, made if need be: by job_id, the log, its position, and whether it
    stands still. Without those that somebody's transaction is about to make."""
    wanted = set(job_ids)
    if not wanted:
        return {}
    found = _positions(wanted)
    for job_id in wanted - found.keys():
        _make_log(job_id)
    return found if wanted <= found.keys() else _positions(wanted)


def _make_log(job_id: str) -> None:
    try:
        with transaction.atomic():
            if connection.vendor == "postgresql":
                # Somebody's transaction may be making it, and take long: nobody waits for that.
                with connection.cursor() as cursor:
                    cursor.execute(f"SET LOCAL lock_timeout = {_LONGEST_WAIT_MS}")
            log, _ = EventLog.objects.get_or_create(job_id=job_id)
            ArchiveCheckpoint.objects.get_or_create(log=log)
    except IntegrityError:  # somebody else makes it at the same time
        logger.info("log_made_twice", extra={"job_id": job_id})
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
            raise
        logger.info("log_being_made", extra={"job_id": job_id})


def _table(model: type[Model]) -> str:
    return connection.ops.quote_name(model._meta.db_table)  # noqa: SLF001 - Django documents it


def _positions(job_ids: Iterable[str]) -> dict[str, Known]:
    rows = ArchiveCheckpoint.objects.filter(log__job_id__in=list(job_ids))
    return {
        job_id: (pk, position, bool(error))
        for job_id, pk, position, error in rows.values_list(
            "log__job_id", "log_id", "position", "error"
        )
    }


def logs_in_outbox(
    after: int, *, limit: int, before: datetime | None = None
) -> list[tuple[int, str]]:
    """The logs that have events in the outbox, from the one after `after`: pk and job_id.

    With `before`, those with events that were written before that time.
    """
    rows = ArchivedEvent.objects.filter(event_id=None, log_id__gt=after)
    if before is not None:
        # What is dated in the future was written before the clock was set back.
        rows = rows.filter(Q(written_at__lt=before) | Q(written_at__gt=timezone.now()))
    return list(rows.order_by("log_id").values_list("log_id", "log__job_id").distinct()[:limit])


def stalled_logs() -> set[str]:
    """Jobs whose logs stand still."""
    return set(ArchiveCheckpoint.objects.exclude(error="").values_list("log__job_id", flat=True))


def lock_positions(log_ids: Sequence[int]) -> dict[int, Cursor]:
    """Lock the positions of logs that nobody else has locked, and read them."""
    rows = ArchiveCheckpoint.objects.filter(log_id__in=log_ids)
    if connection.features.has_select_for_update_skip_locked:
        rows = rows.select_for_update(skip_locked=True)
    else:
        # SQLite has one lock, for writers: taken by the first statement, it is waited for.
        rows.update(error=F("error"))
    return dict(rows.values_list("log_id", "position"))


def move_positions(positions: dict[int, Cursor]) -> None:
    """Say up to where logs are archived; if one could not be, that is over."""
    table = _table(ArchiveCheckpoint)
    with connection.cursor() as cursor:
        cursor.executemany(
            f"UPDATE {table} SET position = %s, error = '', failed_at = NULL"  # noqa: S608
            " WHERE log_id = %s",
            [(pack(position), pk) for pk, position in positions.items()],
        )


def report_error(log_id: int, job_id: str, error: Exception) -> None:
    """Say why a log cannot be archived, or appended to; the log stands still, others do not."""
    text = f"{type(error).__name__}: {error}".replace("\x00", "\ufffd")[:_MAX_ERROR_CHARS]
    position = ArchiveCheckpoint.objects.filter(log_id=log_id)
    if position.filter(error=text).exists():
        return
    with transaction.atomic():
        if log_id not in lock_positions([log_id]):
            return  # an archiver has it; the next round of whoever found the fault tells it
        began = position.filter(error="").update(failed_at=timezone.now())
        position.update(error=text)
    if began:
        logger.error("log_stalled", exc_info=error, extra={"job_id": job_id})


def clear_error(log_id: int) -> None:
    """Say that a log moves again, unless its outbox does not."""
    if ArchivedEvent.objects.filter(log_id=log_id, event_id=None).exists():
        return
    ArchiveCheckpoint.objects.filter(log_id=log_id).exclude(error="").update(
        error="", failed_at=None
    )


def archived_data(log_id: int, ids: Sequence[str]) -> dict[str, str]:
    """What the archive has under these ids."""
    rows = ArchivedEvent.objects.filter(log_id=log_id, event_id__in=ids)
    return {str(event_id): data for event_id, data in rows.values_list("event_id", "data")}


def id_before_last(log_id: int, upto: Cursor, count: int) -> Cursor | None:
    """The id after which there are `count` events up to a position; None if there are fewer."""
    rows = ArchivedEvent.objects.filter(log_id=log_id, event_id__lte=upto).order_by("-event_id")
    return rows.values_list("event_id", flat=True)[count : count + 1].first()


def first_id(log_id: int) -> Cursor | None:
    """The id of the first event that the archive has; None without any."""
    rows = ArchivedEvent.objects.filter(log_id=log_id, event_id__isnull=False)
    return rows.order_by("event_id").values_list("event_id", flat=True).first()


def store(batch: dict[int, list[Event]]) -> set[tuple[int, str]]:
    """Write the events of logs into the archive; returns those that it had under another id.

    Of a transactional event there is a row already, which gets its id. Redis may have lost an
    event after it was archived, and been given it again: `producer` tells.
    """
    events = [(pk, event) for pk, log in batch.items() for event in log]
    from_outbox = [pair for pair in events if pair[1].producer.startswith(_OUTBOX_MARK)]
    others = [pair for pair in events if not pair[1].producer.startswith(_OUTBOX_MARK)]
    repeated = set[tuple[int, str]]()
    if _number(from_outbox) < len(from_outbox):
        strangers, again = _examined(from_outbox)
        others += [(pk, event._replace(producer="")) for pk, event in strangers]
        repeated |= again
    if _insert(others) < len(others):
        strangers, again = _examined(others)
        # Whoever is none of ours may name the same producer in all that they append.
        _insert([(pk, event._replace(producer="")) for pk, event in strangers])
        repeated |= again
    return repeated


Pairs = list[tuple[int, Event]]


def _number(pairs: Pairs) -> int:
    """Give ids to rows of the outbox; returns how many got theirs now."""
    if not pairs:
        return 0
    table = _table(ArchivedEvent)
    with connection.cursor() as cursor:
        cursor.executemany(
            f"UPDATE {table} SET event_id = %s, terms = {_as_terms()}"  # noqa: S608 - our own
            " WHERE log_id = %s AND producer = %s AND event_id IS NULL AND data = %s",
            [
                (pack_id(event.id), _terms(event), pk, event.producer, event.raw.decode())
                for pk, event in pairs
            ],
        )
        return int(cursor.rowcount)


def _examined(pairs: Pairs) -> tuple[Pairs, set[tuple[int, str]]]:
    """Those of which the archive has nothing, and those that it has under another id."""
    strangers: Pairs = []
    repeated = set[tuple[int, str]]()
    for pk, event in pairs:
        rows = ArchivedEvent.objects.filter(log_id=pk, producer=event.producer or None)
        there = rows.values_list("event_id", "data").first() if event.producer else None
        if there is None or there[1] != event.raw.decode():
            strangers.append((pk, event))
        elif there[0] != event.cursor:
            repeated.add((pk, event.id))
    return strangers, repeated


def _insert(pairs: Pairs) -> int:
    """Insert rows, leaving out those that are there; returns how many were inserted."""
    rows = [
        (
            pk,
            pack_id(event.id),
            event.event_type,
            event.timestamp,
            event.raw.decode(),
            event.producer or None,
            _terms(event),
        )
        for pk, event in pairs
    ]
    return _run_insert(rows) if rows else 0


def _terms(event: Event) -> str:
    return " ".join(terms_of(event))


def _as_terms() -> str:
    return "%s::tsvector" if connection.vendor == "postgresql" else "%s"


_COLUMNS: Final = '"log_id", "event_id", "event_type", "timestamp", "data", "producer", "terms"'
_ARRAYS: Final = (
    "%s::bigint[], %s::bytea[], %s::text[], %s::text[], %s::text[], %s::text[],"
    " %s::text[]::tsvector[]"
)


def _run_insert(rows: Sequence[tuple[Any, ...]]) -> int:
    into = f"INSERT INTO {_table(ArchivedEvent)} ({_COLUMNS})"
    if connection.vendor == "postgresql":
        query = f"{into} SELECT * FROM unnest({_ARRAYS}) ON CONFLICT DO NOTHING"  # noqa: S608
        return _run_with_arrays(query, [list(column) for column in zip(*rows, strict=True)])
    query = f"{into} VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING"
    with connection.cursor() as cursor:
        cursor.executemany(query, rows)
        return int(cursor.rowcount)


def _run_with_arrays(query: str, arrays: list[list[Any]]) -> int:
    """One statement for all rows: a third of the time that executemany takes on PostgreSQL.

    Django's cursors write values into the text of the query; of these that takes longer than all
    else. psycopg's own send them as they are.
    """
    psycopg: Any = connection.Database  # type: ignore[attr-defined]
    with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as cursor:
        cursor.execute(query.replace("%s", "%b"), arrays)
        return int(cursor.rowcount)
