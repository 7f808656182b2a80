"""Automatic cancellation of jobs without subscribers, as the setting AUTO_CANCEL_SECONDS defines.

Server processes record which jobs have subscribers. A step of `process_events` cancels running jobs
whose last subscriber has left. After an outage of Redis or of it, all have the full time again.
"""

import logging
from collections.abc import Iterator
from time import monotonic
from typing import Any, Final

from events.live.presence import clear_watched, seconds_since_watched
from jobs import services
from jobs.conf import job_settings
from jobs.exceptions import JobError
from jobs.models import Job

logger = logging.getLogger(__name__)

_MAX_JOBS: Final = 1000
_INTERVAL_SECONDS: Final = 1.0
_OUTAGE_SECONDS: Final = 10.0


def on_status_changed(job: Job, new_status: str, **_kwargs: Any) -> None:
    """Clear the record when a job is retried: the new attempt has had no subscriber yet."""
    if new_status == Job.Status.PENDING and job.task_type in job_settings.AUTO_CANCEL_SECONDS:
        clear_watched(job.job_id)


class AutoCanceller:
    """Step of `process_events` that cancels unwatched jobs."""

    def __init__(self) -> None:
        self._ran_at = self._observing_since = float("-inf")
        self._after = 0

    def step(self) -> int:
        """Cancel jobs; return how many. Raises django.db.Error, RedisUnavailable."""
        now = monotonic()
        if not job_settings.AUTO_CANCEL_SECONDS or now < self._ran_at + _INTERVAL_SECONDS:
            return 0
        if now > self._ran_at + _OUTAGE_SECONDS:
            self._observing_since = now
        count = sum(map(_cancel, self._unwatched(now - self._observing_since)))
        self._ran_at = monotonic()
        return count

    def _unwatched(self, observed_seconds: float) -> Iterator[str]:
        limits = job_settings.AUTO_CANCEL_SECONDS
        jobs = Job.objects.filter(
            pk__gt=self._after, task_type__in=limits, status=Job.Status.RUNNING
        )
        rows = list(jobs.order_by("pk").values_list("pk", "job_id", "task_type")[:_MAX_JOBS])
        self._after = rows[-1][0] if len(rows) == _MAX_JOBS else 0
        seconds = seconds_since_watched([job_id for _, job_id, _ in rows])
        for _, job_id, task_type in rows:
            if limits[task_type] <= min(seconds.get(job_id, 0.0), observed_seconds):
                yield job_id


def _cancel(job_id: str) -> bool:
    try:
        services.job_cancel(job_id=job_id, reason="unwatched")
    except JobError as error:
        extra = {"job_id": job_id, "reason": str(error)}
        logger.info("job_auto_cancel_rejected", extra=extra)
        return False
    logger.info("job_auto_cancelled", extra={"job_id": job_id})
    return True
