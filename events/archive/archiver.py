"""The archiver: copies streams into the archive, and cleans up behind itself.

Everybody may run it, several at once, and be stopped at any line. A batch and the position after
it are one transaction, which holds only if the position is where the batch was read from.
Whatever is removed from Redis is in the archive by then.
"""

import logging
from collections.abc import Iterator, Mapping
from itertools import islice
from time import monotonic
from typing import Final

from django.db import InterfaceError, OperationalError, transaction

from events.archive import store
from events.archive.maintenance import Pace, Stream, tend
from events.archive.projections import projections
from events.conf import event_settings
from events.exceptions import EventsError, NotAStream, RedisUnavailable
from events.streams import commands
from events.streams.clients import ask_many, ask_once, get_redis, run
from events.streams.keys import StreamKeys
from events.types import Event

logger = logging.getLogger(__name__)

_STREAMS: Final = 200
_LOGS: Final = 1000
_EVENTS: Final = 2000
_BYTES: Final = 8 * 1024 * 1024
_SCANNED: Final = 1000
# Seconds after which a log is tried again that could not be archived.
_RETRY: Final = 5.0

Batch = Mapping[Stream, list[Event]]


class _Lost(Exception):
    """Redis has lost the streams of these jobs, or their ends, since they were read."""

    def __init__(self, jobs: set[str]) -> None:
        super().__init__()
        self.jobs = jobs


class Archiver:
    """Goes through all streams again and again; remembers no more of them than where they stand."""

    def __init__(self) -> None:
        self._streams: dict[str, Stream] = {}
        self._search, self._tending = Pace(), Pace()
        self._together = _EVENTS
        self._after = 0
        self._untended = True
        self._strange: set[str] = set()
        self._doubted: set[str] = set()

    def step(self) -> int:
        """Copy what is new in all streams; returns how many events.

        Raises RedisUnavailable and django.db.Error; a log that cannot be archived is reported,
        and holds up nobody else.
        """
        self._find()
        copied = sum(self._copy(group) for group in self._groups())
        self._untended = self._untended or copied > 0
        if self._tending.due or (self._untended and not copied):
            with self._tending:
                for stream in tend(list(self._streams.values())):
                    del self._streams[stream.job_id]
            self._untended = False
        return copied

    def _find(self) -> None:
        """Find the streams: by their keys now and then, and at once those of the outbox."""
        logs = store.logs_in_outbox(self._after, limit=_LOGS)
        self._after = logs[-1][0] if len(logs) == _LOGS else 0
        found = {job_id for _, job_id in logs}
        if self._search.due:
            with self._search:
                found |= self._scanned() | store.stalled_logs()
        for job_id, known in store.known_logs(found - self._streams.keys()).items():
            self._streams[job_id] = Stream(job_id, *known)

    def _scanned(self) -> set[str]:
        keys, client = StreamKeys(event_settings.STREAM_PREFIX), get_redis()
        found, cursor = set[str](), "0"
        while True:
            reply = run(client, commands.scan(cursor, keys.pattern, _SCANNED))
            cursor, names = commands.scanned(reply)
            for name in names:
                job_id = keys.job_id(name)
                if job_id is None:
                    self._tell_of(name)
                else:
                    found.add(job_id)
            if cursor == "0":
                return found

    def _tell_of(self, name: str) -> None:
        """No job can have this stream, so nobody could read it: it is left alone."""
        if name not in self._strange:
            self._strange.add(name)
            logger.warning("stream_of_no_job", extra={"key": name})

    def _groups(self) -> Iterator[list[Stream]]:
        now = monotonic()
        due = iter([stream for stream in self._streams.values() if stream.retry_at <= now])
        while group := list(islice(due, _STREAMS)):
            yield group

    def _copy(self, group: list[Stream]) -> int:
        batch = self._read(group)
        return self._store(batch) if batch else 0

    def _read(self, group: list[Stream]) -> dict[Stream, list[Event]]:
        keys = StreamKeys(event_settings.STREAM_PREFIX)
        by_key = {keys.stream(stream.job_id): stream for stream in group}
        limit = max(self._together // len(group), 1)
        command = commands.tails({key: by_key[key].position for key in by_key}, limit)
        try:
            reply = commands.entries_of_tails(ask_once(get_redis(), command))
        except NotAStream as error:
            if len(group) == 1:
                self._stall(group[0], error)
                return {}
            half = len(group) // 2
            return {**self._read(group[:half]), **self._read(group[half:])}
        for key in by_key.keys() - reply.keys():
            by_key[key].clear_error()
        batch = {
            by_key[key]: commands.entries_of_page(by_key[key].job_id, entries)
            for key, entries in reply.items()
        }
        self._adapt(sum(len(event.raw) for events in batch.values() for event in events))
        return batch

    def _adapt(self, size: int) -> None:
        """Read fewer events together where they are large: memory is bounded by bytes."""
        if size > _BYTES:
            self._together = max(self._together // 2, 1)
        elif size < _BYTES // 4:
            self._together = min(self._together * 2, _EVENTS)

    def _store(self, batch: Batch) -> int:
        try:
            return self._commit(batch)
        except (OperationalError, InterfaceError, RedisUnavailable):
            raise  # it is the database or Redis that fails, not these events
        except _Lost as lost:
            rest = {stream: batch[stream] for stream in batch if stream.job_id not in lost.jobs}
            return self._store(rest) if rest else 0
        except Exception as error:  # noqa: BLE001 - it is reported
            # Anything: the events are strangers', and so are the rows that follow them.
            if len(batch) > 1:
                return sum(self._store({stream: batch[stream]}) for stream in batch)
            for stream in batch:
                self._stall(stream, error)
            return 0

    def _commit(self, batch: Batch) -> int:
        with transaction.atomic():
            positions = store.lock_positions([stream.log_id for stream in batch])
            mine = {s: batch[s] for s in batch if positions.get(s.log_id) == s.position}
            told = {stream.job_id: mine[stream] for stream in mine}
            busy = {job_id for owner in projections for job_id in owner.lock(told)}
            mine = {stream: mine[stream] for stream in mine if stream.job_id not in busy}
            repeated = store.store({stream.log_id: mine[stream] for stream in mine})
            news = {
                stream.job_id: [e for e in mine[stream] if (stream.log_id, e.id) not in repeated]
                for stream in mine
            }
            for owner in projections:
                owner.apply(news)
            store.move_positions({s.log_id: mine[s][-1].cursor for s in mine})
            self._see_that_it_is_there(mine)
            # Within the transaction: behind the position, nobody would look for them any more.
            self._remove(mine, repeated)
        for stream in batch:
            if stream in mine:
                stream.move(mine[stream][-1].cursor)
            elif stream.log_id in positions:
                stream.position = positions[stream.log_id]  # another archiver was first
            else:
                self._streams.pop(stream.job_id, None)  # locked by another, or deleted
        return sum(map(len, mine.values()))

    def _see_that_it_is_there(self, batch: Batch) -> None:
        """Raise _Lost if Redis has lost what was read of it since.

        Others may have appended anew since, and readers be past it: nothing may come before what
        they have seen. Whose entries are gone twice in a row has a stream that others cut short.
        """
        keys = StreamKeys(event_settings.STREAM_PREFIX)
        last = [commands.entry(keys.stream(s.job_id), batch[s][-1].cursor) for s in batch]
        replies = zip(batch, ask_many(get_redis(), last), strict=True)
        gone = {s.job_id for s, reply in replies if not reply or isinstance(reply, EventsError)}
        lost = gone - self._doubted
        self._doubted = (self._doubted - {stream.job_id for stream in batch}) | lost
        if lost:
            logger.warning("stream_lost_while_archived", extra={"streams": len(lost)})
            raise _Lost(lost)

    def _remove(self, batch: Batch, repeated: set[tuple[int, str]]) -> None:
        """Remove from the streams what the archive has under another id."""
        keys = StreamKeys(event_settings.STREAM_PREFIX)
        ids = {s: [e.id for e in batch[s] if (s.log_id, e.id) in repeated] for s in batch}
        doomed = [commands.delete(keys.stream(s.job_id), ids[s]) for s in ids if ids[s]]
        if not doomed:
            return
        logger.warning("events_repeated", extra={"events": len(repeated)})
        for reply in ask_many(get_redis(), doomed):
            if isinstance(reply, EventsError):
                raise reply

    def _stall(self, stream: Stream, error: Exception) -> None:
        stream.retry_at = monotonic() + _RETRY
        stream.faulty = True
        store.report_error(stream.log_id, stream.job_id, error)
