"""When a log was viewed last, as all server processes say it together in Redis.

Redis keeps the time by itself: a key of a log that was viewed is set anew as long as somebody views
it, and what is left of its time to live says how long ago that was.
"""

from collections.abc import Collection, Sequence
from typing import Final

from events.conf import event_settings
from events.exceptions import EventsError
from events.streams.clients import get_redis, send_pipeline
from events.streams.keys import StreamKeys

REMEMBERED_SECONDS: Final = 24 * 60 * 60


def mark_watched(job_ids: Collection[str]) -> None:
    """These logs are viewed now; raises RedisUnavailable, RedisCommandError."""
    keys = StreamKeys(event_settings.STREAM_PREFIX)
    ttl = REMEMBERED_SECONDS * 1000
    _answers([("SET", keys.watched(job_id), "1", "PX", ttl) for job_id in job_ids])


def clear_watched(job_id: str) -> None:
    """Nobody has viewed this log yet; raises RedisUnavailable, RedisCommandError."""
    _answers([("DEL", StreamKeys(event_settings.STREAM_PREFIX).watched(job_id))])


def seconds_since_watched(job_ids: Sequence[str]) -> dict[str, float]:
    """How long ago these logs were viewed, without those that never were, or not for a day.

    Raises RedisUnavailable, RedisCommandError.
    """
    keys = StreamKeys(event_settings.STREAM_PREFIX)
    left = _answers([("PTTL", keys.watched(job_id)) for job_id in job_ids])
    return {
        job_id: REMEMBERED_SECONDS - ms / 1000
        for job_id, ms in zip(job_ids, left, strict=True)
        if ms > 0
    }


def _answers(commands: Sequence[tuple[str | int, ...]]) -> list[int]:
    answers = send_pipeline(get_redis(), commands)
    for answer in answers:
        if isinstance(answer, EventsError):
            raise answer
    return answers
