"""Losses: events that Redis lost before they were archived.

A stream continues if it has the event at its archive checkpoint, or has deleted it. Otherwise Redis
was wiped or restored to an older state, or the stream was deleted or evicted: what was appended
after the checkpoint may be lost. Redis need not have the stream of a released checkpoint.

Streams are trimmed up to their checkpoints. One that is trimmed further shows that the database was
restored to an older state, which lacks the trimmed events.
"""

import logging
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final, NamedTuple

from events.archive import store
from events.archive.reader import archived_data, archived_log, latest_ids
from events.archive.store import StreamState
from events.codec import text_of
from events.database import atomic, database_now
from events.exceptions import EventsError
from events.models import ArchiveCheckpoint, LogGap
from events.streams import commands
from events.streams.clients import get_redis, send_command, send_pipeline
from events.types import START, Cursor

logger = logging.getLogger(__name__)

MAX_LOST_IDS: Final = 1000


class Loss(NamedTuple):
    """Events of a log that were lost after a cursor; `ids` are those that are known."""

    log_id: int
    after: Cursor
    ids: Sequence[Cursor] = ()


def record_breaks(streams: Collection[StreamState]) -> None:
    """Record a loss for each stream that does not continue at its archive checkpoint."""
    entries = [commands.entry(stream.keys[0], stream.position) for stream in streams]
    replies = zip(streams, send_pipeline(get_redis(), entries), strict=True)
    missing = [stream for stream, entry in replies if not entry]
    infos = [commands.info(stream.keys[0]) for stream in missing]
    states = [commands.state_fields(stream.keys) for stream in missing]
    found = send_pipeline(get_redis(), [*infos, *states])
    broken = dict[int, tuple[Cursor, bool]]()
    for stream, info, state in zip(missing, found, found[len(missing) :], strict=False):
        is_restored = trimmed_id(state) > stream.position
        if is_restored or (stream.position > START and not _has_deleted(info, stream.position)):
            broken[stream.log_id] = stream.position, is_restored
    if broken:
        # Another archiver may have advanced or released the checkpoint, or the log was deleted.
        current = ArchiveCheckpoint.objects.filter(log_id__in=broken)
        record_losses(
            Loss(log_id, position)
            for log_id, position, released in current.values_list("log_id", "position", "released")
            if broken[log_id] in ((position, True), (position, released))
        )


def _has_deleted(info: Any, event_id: Cursor) -> bool:
    """Whether a stream has had this event: XDEL records the greatest deleted id, XTRIM none."""
    if isinstance(info, EventsError):
        return commands.NO_STREAM not in str(info)  # the key holds another type
    deleted = commands.fields_of_info(info)["max-deleted-entry-id"]
    return Cursor.parse(text_of(deleted)) >= event_id


def trimmed_id(state: Any) -> Cursor:
    """Return the id up to which a stream was trimmed, from the reply to `state_fields`."""
    trimmed = None if isinstance(state, EventsError) else state[2]
    return Cursor.parse(text_of(trimmed)) if trimmed else START


def skip_trimmed(stream: StreamState, trimmed: Cursor) -> None:
    """Advance the checkpoint of a restored database past what was trimmed, and record the loss.

    Until then, events of the outbox count as appended and not archived, and wait.
    """
    left = commands.xrange(
        stream.keys[0], after=stream.position, before=trimmed.next(), limit=1, order="asc"
    )
    if left and send_command(get_redis(), left):
        return  # the archiver copies these first
    with atomic():
        position = store.lock_checkpoints([stream.log_id]).get(stream.log_id)
        if position != stream.position:  # another archiver advanced it before it trimmed
            stream.position = position or stream.position
            return
        record_losses([Loss(stream.log_id, stream.position)])
        store.advance_checkpoints({stream.log_id: trimmed})
        store.release({stream.log_id: trimmed})
    logger.warning("trimmed_events_lost", extra={"job_id": stream.job_id})
    stream.advance(trimmed)


def record_missing(stream: StreamState, missing: Sequence[Cursor]) -> None:
    """Record which events that producers published are neither in the stream nor archived."""
    log = archived_log(stream.job_id)
    if log is None or log.position < max(missing):
        return  # until the event before the gap is archived
    archived = archived_data(log.pk, [str(cursor) for cursor in missing])
    lost = [each for each in missing if str(each) not in archived and each >= log.truncated_before]
    record_losses(Loss(log.pk, latest_ids(log.pk, each).first() or START, [each]) for each in lost)
    send_pipeline(get_redis(), [commands.forget_missing(stream.keys)])


def record_delivered(job_id: str, after: Cursor, ids: Sequence[Cursor]) -> None:
    """Record events that subscribers received and that are no longer in the log."""
    log = archived_log(job_id)
    if log is not None and not log.is_deleted:
        record_losses([Loss(log.pk, after, ids)])


def record_losses(losses: Iterable[Loss]) -> None:
    """Record the gap of each loss once; further ids are added, and the gap is reported again."""
    found, now = sorted(losses), database_now()
    gaps = [LogGap(log_id=log_id, after=after, detected_at=now) for log_id, after, _ in found]
    with atomic():
        LogGap.objects.bulk_create(gaps, ignore_conflicts=True)
        for loss in found:
            if loss.ids:
                _add_ids(loss)


def _add_ids(loss: Loss) -> None:
    gap = LogGap.objects.select_for_update().get(log_id=loss.log_id, after=loss.after)
    ids = sorted({*map(Cursor.parse, gap.ids), *loss.ids})[:MAX_LOST_IDS]
    if len(ids) > len(gap.ids):
        gap.ids, gap.reported = [str(cursor) for cursor in ids], False
        gap.save(update_fields=["ids", "reported"])
