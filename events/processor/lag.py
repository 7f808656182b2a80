"""How far the archive is behind the streams in Redis, whoever wrote them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, TypeVar

from events.codec import text_of
from events.conf import event_settings
from events.exceptions import EventsError
from events.models import EventLog
from events.streams import commands
from events.streams.clients import get_redis, run, send_pipeline
from events.streams.keys import StreamKeys
from events.streams.scripts import Command
from events.types import START, Cursor

T = TypeVar("T")

_SCAN: Final = 1000
_ROUNDS: Final = 1000
_STREAMS: Final = 10_000
_AT_ONCE: Final = 500
_IN_A_CALL: Final = 20
_COUNTED: Final = 1000
# 2018, when Redis learned streams: a smaller number in an id is not the time of anything.
_FIRST_MS: Final = 1_514_764_800_000

# KEYS: streams. ARGV: for each the first id that is not in the archive; how many entries to count
# at most. Answers for each the id of the first entry from there on, how many there are, and the
# stream's length; no command counts entries without sending them. A stream that begins there is
# counted by its length.
_BEHIND: Final = """\
local most = tonumber(ARGV[#KEYS + 1])
local function behind(stream, from)
    local oldest = redis.call('XRANGE', stream, from, '+', 'COUNT', 1)[1]
    if not oldest then return false end
    local length = redis.call('XLEN', stream)
    if redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1][1] == oldest[1] then
        return {oldest[1], length, length}
    end
    local count = 0
    while count < most do
        local page = redis.call('XRANGE', stream, from, '+', 'COUNT', 100)
        count = count + #page
        if #page < 100 then break end
        from = '(' .. page[100][1]
    end
    return {oldest[1], count, length}
end
local answer = {}
for i, stream in ipairs(KEYS) do answer[i] = behind(stream, ARGV[i]) end
return answer
"""


@dataclass(frozen=True, slots=True)
class ArchiveLag:
    """Entries in Redis that are not in the archive.

    `streams` is how many there are in Redis, `behind` how many of them have such entries, `unknown`
    those of which the archive has no log yet. `entries` is exact up to 1,000 a stream; beyond, a
    stream that also has archived entries is taken to have STREAM_TAIL of them. `oldest_ms` is when
    the oldest such entry was appended. `complete` is False if there were more than 10,000 streams,
    or a million keys, to look at.
    """

    streams: int = 0
    behind: int = 0
    unknown: int = 0
    entries: int = 0
    oldest_ms: int | None = None
    complete: bool = True


def archive_lag() -> ArchiveLag:
    """Look at every stream, in Redis and in the archive.

    Costs a SCAN for each 1,000 keys in Redis, and for each 500 streams one query and one pipeline,
    with 10 µs of Redis's time for a stream, 1 ms for one that is far behind. Raises EventsError.
    """
    job_ids, complete = _streams()
    behind, unknown = [], 0
    for some in _chunks(sorted(job_ids), _AT_ONCE):
        positions = _positions(some)
        unknown += len(some) - len(positions)
        behind += _behind(some, positions)
    return ArchiveLag(
        streams=len(job_ids),
        behind=len(behind),
        unknown=unknown,
        entries=sum(entries for entries, _ in behind),
        oldest_ms=min((ms for _, ms in behind if ms >= _FIRST_MS), default=None),
        complete=complete,
    )


def _streams() -> tuple[set[str], bool]:
    """The jobs that have a stream, and whether these are all."""
    client, keys = get_redis(), StreamKeys(event_settings.STREAM_PREFIX)
    job_ids: set[str] = set()
    cursor = "0"
    for _ in range(_ROUNDS):
        cursor, names = commands.scanned(run(client, commands.scan(cursor, keys.pattern, _SCAN)))
        job_ids.update(filter(None, map(keys.job_id, names)))
        if cursor == "0" or len(job_ids) > _STREAMS:
            break
    return set(islice(job_ids, _STREAMS)), cursor == "0" and len(job_ids) <= _STREAMS


def _chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _positions(job_ids: Sequence[str]) -> dict[str, Cursor]:
    """Up to where the logs are archived, of those that the archive knows."""
    logs = EventLog.objects.filter(job_id__in=job_ids)
    found: Any = logs.values_list("job_id", "archived__position")
    return {job_id: position or START for job_id, position in found}


def _behind(job_ids: Sequence[str], positions: dict[str, Cursor]) -> list[tuple[int, int]]:
    """The number of entries and the time of the first, for each stream that is behind."""
    keys = StreamKeys(event_settings.STREAM_PREFIX)
    starts = [
        (keys.stream(job_id), str(start))
        for job_id in job_ids
        if (start := positions.get(job_id, START).next()) is not None
    ]
    replies = send_pipeline(get_redis(), [_measure(some) for some in _chunks(starts, _IN_A_CALL)])
    return [_measured(*found) for reply in replies for found in _raised(reply) if found]


def _measure(starts: Sequence[tuple[str, str]]) -> Command:
    streams, ids = zip(*starts, strict=True)
    return ("EVAL", _BEHIND, len(streams), *streams, *ids, _COUNTED)


def _raised(reply: Any) -> Any:
    if isinstance(reply, EventsError):
        raise reply
    return reply


def _measured(oldest: Any, count: int, length: int) -> tuple[int, int]:
    if _COUNTED <= count < length:
        count = max(count, length - event_settings.STREAM_TAIL)
    return count, Cursor.parse(text_of(oldest)).ms
