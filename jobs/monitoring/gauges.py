"""Gauges: the figures of a moment, from the status of the log and counts of rows."""

from events.counts import capped_count
from events.processor import LogStatus, get_status
from jobs.models import InputRequest, Job
from jobs.monitoring.figures import ARCHIVE_AGE, Values


def read_gauges() -> Values:
    """Return the gauges without those that are unknown. Raises django.db.Error."""
    status = get_status()
    found = {
        "processors": sum(each.alive for each in status.processors),
        "outbox_depth": status.outbox.depth,
        "outbox_age": status.outbox.oldest_age or 0.0,
        "stalled_logs": status.stalled_count,
        **_redis_gauges(status),
        "jobs_pending": capped_count(Job.objects.filter(status=Job.Status.PENDING)),
        "jobs_running": capped_count(Job.objects.filter(status=Job.Status.RUNNING)),
        "inputs_pending": capped_count(InputRequest.objects.filter(answered_at=None)),
    }
    return {name: value for name, value in found.items() if value is not None}


def _redis_gauges(status: LogStatus) -> Values:
    redis, archive = status.redis, status.archive
    is_known = bool(redis.policy) and not redis.error  # not if the user may not run INFO
    return {
        "archive_behind": archive.behind,
        ARCHIVE_AGE: None if archive.behind is None else archive.oldest_age or 0.0,
        "streams": archive.streams,
        "redis_used": redis.used if is_known else None,
        "redis_limit": redis.limit if is_known else None,
    }
