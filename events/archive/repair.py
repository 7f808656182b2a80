"""Repair of streams that were rewound: Redis lost entries, and its clock may run behind.

New ids must exceed the archived position. Entries that were appended below it and are not archived
are appended again above it.
"""

import logging
from collections.abc import Iterator
from typing import Final

from events.archive import reader, store
from events.archive.store import StreamState
from events.streams import commands
from events.streams.clients import get_redis, send_command
from events.types import START, Cursor

logger = logging.getLogger(__name__)

_PAGE_EVENTS: Final = 1000


def repair_stream(stream: StreamState, last: Cursor, rewound_at: str) -> None:
    """Append unarchived entries below the archived position again, above it.

    `last` is the stream's last generated id, `rewound_at` the value that its state had with it.
    """
    found = store.get_or_create_checkpoints([stream.job_id])
    if stream.job_id not in found:  # deleted, or locked
        return
    stream.position = found[stream.job_id].position
    ids = list(_unarchived_ids(stream))
    command = commands.resequence(stream.keys, stream.position, rewound_at, last, ids)
    moved = send_command(get_redis(), command)
    logger.warning("stream_rewound", extra={"job_id": stream.job_id, "moved": moved})


def _unarchived_ids(stream: StreamState) -> Iterator[str]:
    """The ids of entries up to the archived position that the archive does not contain."""
    after, before = START, stream.position.next()
    log = reader.archived_log(stream.job_id)
    # Retention deleted older events after they were archived.
    truncated_before = log.truncated_before if log is not None else START
    while command := commands.xrange(
        stream.keys[0], after=after, before=before, limit=_PAGE_EVENTS, order="asc"
    ):
        events = commands.events_of_xrange(stream.job_id, send_command(get_redis(), command))
        archived = reader.archived_data(stream.log_id, [event.id for event in events])
        for event in events:
            if event.cursor >= truncated_before and archived.get(event.id) != event.raw.decode():
                yield event.id
        if len(events) < _PAGE_EVENTS:
            return
        after = events[-1].cursor
