"""Jobs that nobody watches any more are cancelled, where the setting CANCEL_UNWATCHED says so.

Server processes say every few seconds which jobs are watched (`events.live.presence`), and this
step of `process_events` looks for those that were, and are not any more. After Redis was away, or
this process, nobody could say anything: then all have their time once more.
"""

import logging
from collections.abc import Collection, Iterator
from time import monotonic
from typing import Any, Final

from events.live.presence import clear_watched, mark_watched, seconds_since_watched
from jobs import services
from jobs.conf import job_settings
from jobs.exceptions import JobError
from jobs.models import Job

logger = logging.getLogger(__name__)

_AT_ONCE: Final = 1000
_LOOK_SECONDS: Final = 1.0
_AWAY_SECONDS: Final = 10.0


def say_watched(job_ids: Collection[str]) -> None:
    """Somebody watches these jobs; asks nobody where no job is cancelled for that."""
    if job_settings.CANCEL_UNWATCHED and job_ids:
        mark_watched(job_ids)


def begin_anew(job: Job, new_status: str, **_given: Any) -> None:
    """Receiver of the signal of a job's status: one that is tried again was not watched yet."""
    if new_status == Job.Status.PENDING and job.task_type in job_settings.CANCEL_UNWATCHED:
        clear_watched(job.job_id)


class Unwatched:
    """Looks for jobs whose last viewer has left."""

    def __init__(self) -> None:
        self._looked_at = self._listens_since = float("-inf")
        self._after = 0

    def step(self) -> int:
        """Cancel those; returns how many. Raises django.db.Error, RedisUnavailable."""
        now = monotonic()
        patience = job_settings.CANCEL_UNWATCHED
        if not patience or now < self._looked_at + _LOOK_SECONDS:
            return 0
        if now > self._looked_at + _AWAY_SECONDS:
            self._listens_since = now
        left = sum(1 for job_id in self._left(now - self._listens_since) if _cancelled(job_id))
        self._looked_at = monotonic()
        return left

    def _left(self, listened: float) -> Iterator[str]:
        patience = job_settings.CANCEL_UNWATCHED
        jobs = Job.objects.filter(
            pk__gt=self._after, task_type__in=patience, status=Job.Status.RUNNING
        )
        rows = list(jobs.order_by("pk").values_list("pk", "job_id", "task_type")[:_AT_ONCE])
        self._after = rows[-1][0] if len(rows) == _AT_ONCE else 0
        unviewed = seconds_since_watched([job_id for _, job_id, _ in rows])
        for _, job_id, task_type in rows:
            if patience[task_type] <= min(unviewed.get(job_id, 0.0), listened):
                yield job_id


def _cancelled(job_id: str) -> bool:
    try:
        services.job_cancel(job_id=job_id, reason="unwatched")
    except JobError as error:
        logger.info("job_unwatched_over", extra={"job_id": job_id, "why": str(error)})
        return False
    logger.info("job_unwatched", extra={"job_id": job_id})
    return True
