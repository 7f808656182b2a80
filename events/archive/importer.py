"""Exported logs into the archive."""

from collections.abc import Iterable
from itertools import groupby, islice, pairwise
from operator import attrgetter
from typing import Final

import orjson
from django.db import transaction

from events.archive import store
from events.conf import event_settings
from events.exceptions import EventsError
from events.streams import commands
from events.streams.clients import get_redis, run
from events.streams.keys import StreamKeys
from events.types import START, Cursor, Event

_TOGETHER: Final = 1000


class ImportConflict(EventsError):
    """The log has other events than those that are to be restored."""


def restore(events: Iterable[Event]) -> int:
    """Put events into the archive, in batches, each whole or not at all; returns how many were new.

    What is there already is left as it is, so that it may be done again. The events of a log come
    in its order. Raises NotRestored for a log that has others in their place, or a stream that is
    not in the archive yet.
    """
    restored = 0
    for job_id, of_job in groupby(events, attrgetter("job_id")):
        while batch := list(islice(of_job, _TOGETHER)):
            restored += _restore(job_id, batch)
    return restored


def _restore(job_id: str, batch: list[Event]) -> int:
    _check_order(batch)
    with transaction.atomic():
        known = store.known_logs([job_id]).get(job_id)
        position = store.lock_positions([known[0]]).get(known[0]) if known else None
        if known is None or position is None:
            raise ImportConflict(f"The log of {job_id} is being written. Try again.")
        log_id = known[0]
        later = [event for event in batch if event.cursor > position]
        _check_same(log_id, [event for event in batch if event.cursor <= position])
        if later:
            _check_stream(job_id, position)
            store.store({log_id: later})
            store.move_positions({log_id: later[-1].cursor})
    return len(later)


def _check_order(batch: list[Event]) -> None:
    cursors = [event.cursor for event in batch]
    if cursors[0] <= START or any(a >= b for a, b in pairwise(cursors)):
        raise ImportConflict("The events of a log are to come in its order, each once.")
    seconds, microseconds = map(int, run(get_redis(), commands.TIME))
    if cursors[-1].ms >= seconds * 1000 + microseconds // 1000:
        raise ImportConflict(f"The event {cursors[-1]} is of the future: the log could not go on.")


def _check_same(log_id: int, batch: list[Event]) -> None:
    there = store.archived_data(log_id, [event.id for event in batch])
    for event in batch:
        if event.id not in there or orjson.loads(there[event.id]) != event.data:
            raise ImportConflict(f"The log of {event.job_id} has something else than {event.id}.")


def _check_stream(job_id: str, position: Cursor) -> None:
    key = StreamKeys(event_settings.STREAM_PREFIX).stream(job_id)
    command = commands.page(key, after=position, before=None, limit=1, order="asc")
    if command and run(get_redis(), command):
        raise ImportConflict(f"The stream of {job_id} has events that are not archived yet.")
