"""Losses: events that Redis lost before they were archived.

A stream continues if it has the event at its archive checkpoint, or has deleted it. Otherwise Redis
was wiped or restored to an older state, or the stream was deleted or evicted: what was appended
after the checkpoint may be lost. Redis need not have the stream of a released checkpoint.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final, NamedTuple

from events.archive.reader import archived_data, archived_log, latest_ids
from events.archive.store import StreamState
from events.codec import text_of
from events.database import atomic, database_now
from events.exceptions import EventsError
from events.models import ArchiveCheckpoint, LogGap
from events.streams import commands
from events.streams.clients import get_redis, send_pipeline
from events.types import START, Cursor

MAX_LOST_IDS: Final = 1000


class Loss(NamedTuple):
    """Events of a log that were lost after a cursor; `ids` are those that are known."""

    log_id: int
    after: Cursor
    ids: Sequence[Cursor] = ()


def record_breaks(streams: Collection[StreamState]) -> None:
    """Record a loss for each stream that does not continue at its archive checkpoint."""
    archived = [stream for stream in streams if stream.position > START]
    entries = [commands.entry(stream.keys[0], stream.position) for stream in archived]
    replies = zip(archived, send_pipeline(get_redis(), entries), strict=True)
    missing = [stream for stream, entry in replies if not entry]
    infos = send_pipeline(get_redis(), [commands.info(stream.keys[0]) for stream in missing])
    broken = {
        stream.log_id: stream.position
        for stream, info in zip(missing, infos, strict=True)
        if not _has_deleted(info, stream.position)
    }
    if broken:
        # Another archiver may have advanced or released the checkpoint, or the log was deleted.
        current = ArchiveCheckpoint.objects.filter(log_id__in=broken, released=False)
        positions = current.values_list("log_id", "position")
        record_losses(Loss(*each) for each in positions if each[1] == broken[each[0]])


def _has_deleted(info: Any, event_id: Cursor) -> bool:
    """Whether a stream has had this event: XDEL records the greatest deleted id, XTRIM none."""
    if isinstance(info, EventsError):
        return commands.NO_STREAM not in str(info)  # the key holds another type
    deleted = commands.fields_of_info(info)["max-deleted-entry-id"]
    return Cursor.parse(text_of(deleted)) >= event_id


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
