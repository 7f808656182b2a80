"""Checks of the keys under our prefix: streams without a log, keys of others, consumer groups."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from events.codec import text_of
from events.conf import event_settings
from events.doctor.checks import Check, Examination
from events.doctor.findings import Finding, ok, skipped, warning
from events.doctor.key_scan import MAX_KEYS, KeysFound, batches
from events.exceptions import EventsError
from events.models import EventLog
from events.processor.lag import LATE_SECONDS
from events.streams import commands
from events.streams.clients import get_redis, send_command, send_pipeline
from events.streams.keys import StreamKeys
from events.types import Cursor

_MAX_NAMES: Final = 3
_NO_EXPIRY: Final = -1
_FORBIDDEN: Final = skipped("The Redis user may not run TYPE.")


def check_orphans(examination: Examination) -> Finding:
    """Every stream has a log, which `process_events` archives, and every state a stream."""
    if (found := examination.keys) is None:
        return _FORBIDDEN
    orphans = sorted({*_streams_without_log(found), *_states_without_stream(found)})
    if orphans:
        return warning(f"Without a log: {_listed(orphans)}, {found.scope}.")
    return ok(f"None {found.scope}.")


def _streams_without_log(found: KeysFound) -> Iterator[str]:
    keys, now = StreamKeys(event_settings.STREAM_PREFIX), _redis_seconds()
    for batch in batches(sorted(found.streams)):
        logs = EventLog.objects.filter(job_id__in=batch, deleted_at=None)
        unknown = sorted({*batch} - set(logs.values_list("job_id", flat=True)))
        for job_id, reply in _replies(unknown, lambda job_id: commands.info(keys.stream(job_id))):
            last = text_of(commands.fields_of_info(reply)["last-generated-id"])
            if Cursor.parse(last).ms / 1000 < now - LATE_SECONDS:
                yield job_id


def _states_without_stream(found: KeysFound) -> Iterator[str]:
    """A state expires with its stream, unless the stream was deleted alone."""
    keys = StreamKeys(event_settings.STREAM_PREFIX)
    for batch in batches(sorted(found.states - found.streams)):
        for job_id, remaining in _replies(batch, lambda job_id: ("PTTL", keys.pair(job_id)[1])):
            if remaining == _NO_EXPIRY and not _exists(keys.stream(job_id)):
                yield job_id


def _replies(job_ids: Sequence[str], request: Callable[[str], Any]) -> Iterator[tuple[str, Any]]:
    """Yield the replies that are no errors: a stream may be removed meanwhile."""
    replies = send_pipeline(get_redis(), [request(job_id) for job_id in job_ids])
    for job_id, reply in zip(job_ids, replies, strict=True):
        if not isinstance(reply, EventsError):
            yield job_id, reply


def _exists(key: str) -> bool:
    return bool(send_command(get_redis(), ("EXISTS", key)))


def _redis_seconds() -> int:
    return int(send_command(get_redis(), ("TIME",))[0])


def check_foreign(examination: Examination) -> Finding:
    """No other program uses our prefix."""
    if (found := examination.keys) is None:
        return _FORBIDDEN
    if found.foreign:
        return warning(f"Not ours: {_listed(found.foreign)}.")
    return ok("None." if found.complete else f"None of {MAX_KEYS} keys; there are more.")


def check_groups(examination: Examination) -> Finding:
    """No other program consumes our streams: trimming does not wait for it."""
    if (found := examination.keys) is None:
        return _FORBIDDEN
    keys = StreamKeys(event_settings.STREAM_PREFIX)
    consumed = [
        job_id
        for batch in batches(sorted(found.streams))
        for job_id, groups in _replies(
            batch, lambda job_id: ("XINFO", "GROUPS", keys.stream(job_id))
        )
        if groups
    ]
    if consumed:
        return warning(f"With consumer groups: {_listed(consumed)}, {found.scope}.")
    return ok(f"None {found.scope}.")


def _listed(names: Sequence[str]) -> str:
    """The number of names, and the first of them."""
    more = ", …" if len(names) > _MAX_NAMES else ""
    return f"{len(names)} ({', '.join(names[:_MAX_NAMES])}{more})"


_NEEDS: Final = ("redis-connection", "database-migrations")

CHECKS: Final = (
    Check(
        "orphaned-streams",
        check_orphans,
        "Run process_events; then delete what `manage.py delete_job` does not know.",
        _NEEDS,
    ),
    Check(
        "foreign-keys",
        check_foreign,
        "Use another STREAM_PREFIX, or let the other program use other keys.",
        ("redis-connection",),
    ),
    Check(
        "consumer-groups",
        check_groups,
        "Read events with the API or `read_events`; delete the groups.",
        ("redis-connection",),
    ),
)
