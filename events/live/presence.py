"""Presence: when a job was last watched by a subscriber of any server process.

The key of a watched log is set again while it has subscribers; its TTL shows when that was last.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

from events.conf import event_settings
from events.streams.clients import get_redis, send_pipeline
from events.streams.keys import StreamKeys
from events.streams.retry import raised

PRESENCE_TTL_SECONDS: Final = 24 * 60 * 60


def mark_watched(job_ids: Collection[str]) -> None:
    """Record that these logs are watched now; raises RedisUnavailable, RedisCommandError.

    A Redis that is out of memory refuses SET, but not PEXPIRE.
    """
    milliseconds = PRESENCE_TTL_SECONDS * 1000
    is_set = zip(job_ids, _send("PEXPIRE", job_ids, milliseconds), strict=True)
    _send("SET", [job_id for job_id, found in is_set if not found], "1", "PX", milliseconds)


def clear_watched(job_id: str) -> None:
    """Forget when a log was watched; raises RedisUnavailable, RedisCommandError."""
    _send("DEL", [job_id])


def seconds_since_watched(job_ids: Sequence[str]) -> dict[str, float]:
    """Return the seconds since each log was watched, without those not watched for a day.

    Raises RedisUnavailable, RedisCommandError.
    """
    remaining_ms = zip(job_ids, _send("PTTL", job_ids), strict=True)
    return {job_id: PRESENCE_TTL_SECONDS - ms / 1000 for job_id, ms in remaining_ms if ms > 0}


def _send(command: str, job_ids: Iterable[str], *arguments: str | int) -> list[Any]:
    keys = StreamKeys(event_settings.STREAM_PREFIX)
    commands = [(command, keys.watched(job_id), *arguments) for job_id in job_ids]
    return [raised(reply) for reply in send_pipeline(get_redis(), commands)]
