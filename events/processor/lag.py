"""Archive lag: how many streams have entries that are not archived, and the age of the oldest."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Final

from events.archive.archiver import scan_streams
from events.codec import text_of
from events.conf import event_settings
from events.exceptions import EventsError
from events.models import EventLog
from events.streams import commands
from events.streams.clients import get_redis, send_command, send_pipeline
from events.streams.keys import StreamKeys
from events.types import Cursor

LATE_SECONDS: Final = 60
MAX_STREAMS: Final = 10_000
_MAX_SCANS: Final = 1000
_PIPELINE_STREAMS: Final = 500
# Streams were introduced in 2018 (Redis 5). A smaller id was not assigned by a clock.
_MIN_ID_MS: Final = 1_514_764_800_000


@dataclass(frozen=True, slots=True)
class ArchiveLag:
    """How far the archive is behind the streams.

    `streams` is the number of streams in Redis, `behind` of those that have entries which are not
    archived; `oldest_age` is the age of the oldest such entry in seconds. `complete` is False if
    Redis has more than 10,000 streams or a million keys: the others were not inspected. If Redis
    does not respond, all are None and `error` says why.
    """

    streams: int | None = None
    behind: int | None = None
    oldest_age: float | None = None
    complete: bool | None = None
    error: str = ""

    @property
    def late(self) -> bool:
        return (self.oldest_age or 0.0) > LATE_SECONDS


def archive_lag() -> ArchiveLag:
    """Compare every stream with its archive checkpoint.

    Costs one SCAN per 1,000 keys, and one query and one pipeline per 500 streams; an entry is
    transferred only for a stream that is behind. Raises EventsError.
    """
    job_ids, complete = _scan()
    ordered = sorted(job_ids)[:MAX_STREAMS]
    oldest: list[Cursor] = []
    for start in range(0, len(ordered), _PIPELINE_STREAMS):
        oldest += _first_unarchived(ordered[start : start + _PIPELINE_STREAMS])
    first_ms = min((cursor.ms for cursor in oldest if cursor.ms >= _MIN_ID_MS), default=None)
    age = None if first_ms is None else max(_redis_time() - first_ms / 1000, 0.0)
    return ArchiveLag(len(ordered), len(oldest), age, complete)


def _redis_time() -> float:
    """The time of the clock that assigns ids."""
    seconds, microseconds = send_command(get_redis(), ("TIME",))
    return int(seconds) + int(microseconds) / 1_000_000


def _scan() -> tuple[set[str], bool]:
    """The jobs that have a stream, and whether these are all."""
    keys, job_ids = StreamKeys(event_settings.STREAM_PREFIX), set[str]()
    replies = scan_streams()
    for names in islice(replies, _MAX_SCANS):
        job_ids.update(filter(None, map(keys.job_id, names)))
        if len(job_ids) > MAX_STREAMS:
            return job_ids, False
    return job_ids, next(replies, None) is None


def _first_unarchived(job_ids: Sequence[str]) -> list[Cursor]:
    """The id of the first entry after the archive checkpoint, for each stream that has one."""
    keys = StreamKeys(event_settings.STREAM_PREFIX)
    rows: Any = EventLog.objects.filter(job_id__in=job_ids)
    positions = dict(rows.values_list("job_id", "archived__position"))
    first = partial(commands.xrange, before=None, limit=1, order="asc")
    pages = [first(keys.stream(job_id), after=positions.get(job_id)) for job_id in job_ids]
    replies = send_pipeline(get_redis(), [page for page in pages if page])
    for reply in replies:
        if isinstance(reply, EventsError):
            raise reply
    return [Cursor.parse(text_of(reply[0][0])) for reply in replies if reply]
