"""Import of exported logs into the archive."""

from collections.abc import Iterable
from itertools import groupby, islice, pairwise
from operator import attrgetter
from typing import Final

import orjson

from events.archive import store
from events.archive.reader import archived_data, is_deleted
from events.conf import event_settings
from events.database import atomic
from events.exceptions import EventsError, LogDeleted
from events.streams import commands
from events.streams.clients import get_redis, send_command
from events.streams.keys import StreamKeys
from events.types import START, Cursor, Event

_BATCH_EVENTS: Final = 1000


class ImportConflict(EventsError):
    """The log has other events than those to be imported."""


def import_events(events: Iterable[Event]) -> int:
    """Insert events into the archive; return how many were new.

    The events of a log must be in log order. Each batch is one transaction. Events that are
    archived already are skipped, so an import may be repeated. Raises ImportConflict if the log
    has different events at their ids, or a stream with entries that are not archived; LogDeleted.
    """
    imported = 0
    for job_id, of_job in groupby(events, attrgetter("job_id")):
        while batch := list(islice(of_job, _BATCH_EVENTS)):
            imported += _import_batch(job_id, batch)
    return imported


def _import_batch(job_id: str, batch: list[Event]) -> int:
    _check_order(batch)
    with atomic():
        log = store.get_or_create_checkpoints([job_id]).get(job_id)
        position = store.lock_checkpoints([log.log_id]).get(log.log_id) if log else None
        if log is None or position is None:
            if is_deleted(job_id):
                raise LogDeleted
            raise ImportConflict(f"The log of {job_id} is locked by another process. Try again.")
        new = [event for event in batch if event.cursor > position]
        _check_equal(log.log_id, [event for event in batch if event.cursor <= position])
        if new:
            _check_stream(job_id, position)
            store.insert_batch({log.log_id: new})
            store.advance_checkpoints({log.log_id: new[-1].cursor})
            store.release({log.log_id: new[-1].cursor})
    return len(new)


def _check_order(batch: list[Event]) -> None:
    cursors = [event.cursor for event in batch]
    if cursors[0] <= START or any(a >= b for a, b in pairwise(cursors)):
        raise ImportConflict("The events of a log must be unique and in log order.")
    seconds, microseconds = map(int, send_command(get_redis(), ("TIME",)))
    if cursors[-1].ms >= seconds * 1000 + microseconds // 1000:
        # Redis could not append above the id until its clock has passed it.
        raise ImportConflict(f"The id {cursors[-1]} is later than the clock of Redis.")


def _check_equal(log_id: int, batch: list[Event]) -> None:
    archived = archived_data(log_id, [event.id for event in batch])
    for event in batch:
        if event.id not in archived or orjson.loads(archived[event.id]) != event.data:
            raise ImportConflict(f"The log of {event.job_id} has a different event at {event.id}.")


def _check_stream(job_id: str, position: Cursor) -> None:
    key = StreamKeys(event_settings.STREAM_PREFIX).stream(job_id)
    command = commands.xrange(key, after=position, before=None, limit=1, order="asc")
    if command and send_command(get_redis(), command):
        raise ImportConflict(f"The stream of {job_id} has events that are not archived yet.")
