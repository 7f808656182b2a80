"""Presence: when a job was last watched by a subscriber of any server process.

A key per watched log is set again while it has subscribers; its remaining time to live in Redis
tells how long ago that was.
"""

from collections.abc import Collection, Sequence
from typing import Final

from events.conf import event_settings
from events.exceptions import EventsError
from events.streams.clients import get_redis, send_pipeline
from events.streams.keys import StreamKeys
from events.streams.scripts import Command

PRESENCE_TTL_SECONDS: Final = 24 * 60 * 60


def mark_watched(job_ids: Collection[str]) -> None:
    """Record that these logs are watched now; raises RedisUnavailable, RedisCommandError."""
    keys = StreamKeys(event_settings.STREAM_PREFIX)
    ttl = PRESENCE_TTL_SECONDS * 1000
    _replies([("SET", keys.watched(job_id), "1", "PX", ttl) for job_id in job_ids])


def clear_watched(job_id: str) -> None:
    """Forget when a log was watched; raises RedisUnavailable, RedisCommandError."""
    _replies([("DEL", StreamKeys(event_settings.STREAM_PREFIX).watched(job_id))])


def seconds_since_watched(job_ids: Sequence[str]) -> dict[str, float]:
    """Return the seconds since each log was watched, without those not watched for a day.

    Raises RedisUnavailable, RedisCommandError.
    """
    keys = StreamKeys(event_settings.STREAM_PREFIX)
    remaining_ms = _replies([("PTTL", keys.watched(job_id)) for job_id in job_ids])
    return {
        job_id: PRESENCE_TTL_SECONDS - ms / 1000
        for job_id, ms in zip(job_ids, remaining_ms, strict=True)
        if ms > 0
    }


def _replies(commands: Sequence[Command]) -> list[int]:
    replies = send_pipeline(get_redis(), commands)
    for reply in replies:
        if isinstance(reply, EventsError):
            raise reply
    return replies
