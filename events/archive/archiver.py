"""The archiver: copies streams to the archive, then trims what is archived.

Several archivers may run at once and stop anywhere. A batch and its archive checkpoint are written
in one transaction, only if the checkpoint is still where the batch was read from.
"""

import logging
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from time import monotonic
from typing import Final

from events.archive import store
from events.archive.losses import record_breaks
from events.archive.maintenance import Throttle, maintain
from events.archive.projections import projections
from events.archive.store import StreamState
from events.conf import event_settings
from events.database import atomic, is_unavailable
from events.exceptions import EventsError, NotAStream, RedisUnavailable
from events.streams import commands
from events.streams.clients import get_redis, read_streams, scan_keys, send_pipeline
from events.streams.keys import StreamKeys
from events.streams.memory import read_memory
from events.streams.retry import raised
from events.types import Event

logger = logging.getLogger(__name__)

MAX_BATCH_EVENTS: Final = 2000
_MAX_BATCH_BYTES: Final = 8 * 1024 * 1024
_MAX_BATCH_STREAMS: Final = 200
_MAX_OUTBOX_LOGS: Final = 1000
_RETRY_SECONDS: Final = 5.0
_SCAN_COUNT: Final = 1000

ArchiveBatch = Mapping[StreamState, list[Event]]


def scan_streams() -> Iterator[list[str]]:
    """Yield the keys of streams with the configured prefix; see `scan_keys`."""
    pattern = StreamKeys(event_settings.STREAM_PREFIX).pattern
    return scan_keys(get_redis(), pattern, _SCAN_COUNT)


class _StreamsLost(Exception):
    """Redis has lost entries of streams since they were read; the argument is their job_ids."""


class Archiver:
    """Copies all streams repeatedly; keeps only the position of each in memory."""

    def __init__(self) -> None:
        self._streams: dict[str, StreamState] = {}
        self._discovery, self._maintenance = Throttle(), Throttle()
        self._batch_size = MAX_BATCH_EVENTS
        self._after_log = 0
        self._needs_maintenance, self._is_under_pressure = True, False
        self._is_started = False
        self._foreign_keys: set[str] = set()
        self._suspected_lost: set[str] = set()

    def step(self) -> int:
        """Copy the new entries of all streams; return the number of events.

        Raises RedisUnavailable and django.db.Error. A log that cannot be archived is reported, and
        does not delay other logs.
        """
        self._discover_streams()
        now, copied = monotonic(), 0
        due = iter([stream for stream in self._streams.values() if stream.retry_at <= now])
        while group := list(islice(due, _MAX_BATCH_STREAMS)):
            copied += self._store(self._read(group))
        self._needs_maintenance = self._needs_maintenance or copied > 0
        if self._maintenance.due or (self._needs_maintenance and not copied):
            with self._maintenance:
                self._needs_maintenance = self._maintain()
        return copied

    def _maintain(self) -> bool:
        """Maintain all streams; return whether the next step has to: Redis is out of memory."""
        memory = read_memory(get_redis())
        if memory.is_under_pressure != self._is_under_pressure:
            self._is_under_pressure = memory.is_under_pressure
            event = "redis_memory_pressure" if memory.is_under_pressure else "redis_memory_relieved"
            logger.warning(event, extra={"used": memory.used, "limit": memory.limit})
        streams = list(self._streams.values())
        for stream in maintain(streams, is_under_pressure=memory.is_under_pressure):
            del self._streams[stream.job_id]
        return memory.is_full

    def _discover_streams(self) -> None:
        """Add new streams: those of the outbox at each step, others by a throttled key scan."""
        logs = store.logs_in_outbox(self._after_log, limit=_MAX_OUTBOX_LOGS)
        self._after_log = logs[-1][0] if len(logs) == _MAX_OUTBOX_LOGS else 0
        job_ids = {job_id for _, job_id in logs}
        if self._discovery.due:
            with self._discovery:
                job_ids |= self._scan() | store.stalled_job_ids()
        new = job_ids - self._streams.keys()
        found = store.get_or_create_checkpoints(new)
        # Written by a program that does not use our scripts, or restored by Redis.
        store.restart_erasure(new - found.keys())
        self._streams |= found
        if not self._is_started:
            # Redis may have lost streams while no archiver ran.
            self._streams = store.unreleased_checkpoints() | self._streams
            self._is_started = True

    def _scan(self) -> set[str]:
        """The jobs that have a stream; a stream whose key has no valid job_id is logged once."""
        keys, job_ids = StreamKeys(event_settings.STREAM_PREFIX), set[str]()
        for name in chain.from_iterable(scan_streams()):
            if job_id := keys.job_id(name):
                job_ids.add(job_id)
            elif name not in self._foreign_keys:
                self._foreign_keys.add(name)
                logger.warning("stream_without_job_id", extra={"key": name})
        return job_ids

    def _read(self, group: list[StreamState]) -> ArchiveBatch:
        by_key = {stream.keys[0]: stream for stream in group}
        limit = max(self._batch_size // len(group), 1)
        positions = {key: by_key[key].position for key in by_key}
        try:
            reply = read_streams(get_redis(), positions, limit)
        except NotAStream as error:
            if len(group) == 1:
                self._stall(group[0], error)
                return {}
            half = len(group) // 2
            return {**self._read(group[:half]), **self._read(group[half:])}
        for key in by_key.keys() - reply.keys():
            by_key[key].clear_error()
        batch = {
            by_key[key]: commands.events_of_xrange(by_key[key].job_id, entries)
            for key, entries in reply.items()
        }
        self._adapt_batch_size(sum(len(event.raw) for events in batch.values() for event in events))
        return batch

    def _adapt_batch_size(self, batch_bytes: int) -> None:
        """Bound memory in bytes: read fewer events at once if they are large."""
        if batch_bytes > _MAX_BATCH_BYTES:
            self._batch_size = max(self._batch_size // 2, 1)
        elif batch_bytes < _MAX_BATCH_BYTES // 4:
            self._batch_size = min(self._batch_size * 2, MAX_BATCH_EVENTS)

    def _store(self, batch: ArchiveBatch) -> int:
        """Archive a batch; return the number of events."""
        try:
            return self._commit(batch) if batch else 0
        except RedisUnavailable:
            raise
        except _StreamsLost as lost:
            return self._store({s: batch[s] for s in batch if s.job_id not in lost.args[0]})
        except Exception as error:
            if is_unavailable(error):
                raise  # the database fails, not these events
            # Archive each stream by itself to find the one that fails.
            if len(batch) > 1:
                return sum(self._store({stream: batch[stream]}) for stream in batch)
            for stream in batch:
                self._stall(stream, error)
            return 0

    def _commit(self, batch: ArchiveBatch) -> int:
        with atomic():
            positions = store.lock_checkpoints([stream.log_id for stream in batch])
            applicable = {s: batch[s] for s in batch if positions.get(s.log_id) == s.position}
            events = {stream.job_id: applicable[stream] for stream in applicable}
            locked = {job_id for each in projections for job_id in each.lock(events)}
            archived = {s: applicable[s] for s in applicable if s.job_id not in locked}
            record_breaks(archived)  # the checkpoints are locked, and advanced below
            duplicates = store.insert_batch({s.log_id: archived[s] for s in archived})
            new_events = {
                s.job_id: [e for e in archived[s] if (s.log_id, e.id) not in duplicates]
                for s in archived
            }
            for projection in projections:
                projection.apply(new_events)
            store.advance_checkpoints({s.log_id: archived[s][-1].cursor for s in archived})
            self._verify_still_in_redis(archived)
            # Before the commit: entries below the checkpoint are not read again.
            self._delete_duplicates(archived, duplicates)
        for stream in batch:
            if stream in archived:
                stream.advance(archived[stream][-1].cursor)
            elif stream.log_id in positions:
                stream.position = positions[stream.log_id]  # another archiver was faster
            else:
                self._streams.pop(stream.job_id, None)  # locked elsewhere, or deleted
        return sum(map(len, archived.values()))

    def _verify_still_in_redis(self, batch: ArchiveBatch) -> None:
        """Raise _StreamsLost if Redis no longer has the last entry of a stream in the batch.

        Producers may have appended since the loss, and subscribers may have read that; events must
        not be inserted before what they read. A stream whose entry is missing twice in a row was
        trimmed by another client, and is archived.
        """
        last = [commands.entry(stream.keys[0], batch[stream][-1].cursor) for stream in batch]
        replies = zip(batch, send_pipeline(get_redis(), last), strict=True)
        missing = {s.job_id for s, reply in replies if not reply or isinstance(reply, EventsError)}
        lost = missing - self._suspected_lost
        checked = {stream.job_id for stream in batch}
        self._suspected_lost = (self._suspected_lost - checked) | lost
        if lost:
            logger.warning("streams_lost_while_archiving", extra={"streams": len(lost)})
            raise _StreamsLost(lost)

    def _delete_duplicates(self, batch: ArchiveBatch, duplicates: set[tuple[int, str]]) -> None:
        """Delete the stream entries that are archived under another id."""
        keys = {stream.log_id: stream.keys[0] for stream in batch}
        deletions = [("XDEL", keys[log_id], event_id) for log_id, event_id in duplicates]
        if deletions:
            logger.warning("duplicate_events_deleted", extra={"events": len(deletions)})
        for reply in send_pipeline(get_redis(), deletions):
            raised(reply)

    def _stall(self, stream: StreamState, error: Exception) -> None:
        stream.retry_at = monotonic() + _RETRY_SECONDS
        stream.stalled = True
        store.report_error(stream.log_id, stream.job_id, error)
