"""Retention of events, as the setting RETENTION defines."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from django.utils import timezone

from events.archive.retention import count_before, delete_before, logs_after, retention_point
from events.types import Cursor
from jobs.conf import job_settings
from jobs.models import Job
from jobs.selectors import fetch_in_chunks

DEFAULT: Final = "*"
_MAX_LOGS: Final = 500


@dataclass(frozen=True, slots=True)
class Truncation:
    """A log whose oldest events, before `point`, are to be removed."""

    log_id: int
    job_id: str
    task_type: str
    point: Cursor

    def count(self) -> int:
        """Return the number of these events."""
        return count_before(self.log_id, self.point)

    def apply(self) -> Iterator[int]:
        """Remove the events in batches; yield the size of each."""
        while removed := delete_before(self.log_id, self.point):
            yield removed


def due_truncations() -> Iterator[Truncation]:
    """Yield the logs that exceed RETENTION; the rule `*` applies to logs without a job."""
    rules, now = job_settings.RETENTION, timezone.now()
    last = 0
    jobs = Job.objects.values_list("job_id", "task_type")
    while rules and (logs := logs_after(last, _MAX_LOGS)):
        job_ids = [job_id for _, job_id in logs]
        types = fetch_in_chunks(job_ids, lambda chunk: jobs.filter(job_id__in=chunk))
        for log_id, job_id in logs:
            task_type = types.get(job_id, DEFAULT)
            rule = rules.get(task_type, rules.get(DEFAULT, {}))
            before = _before(rule, now)
            point = retention_point(log_id, job_id, before=before, keep=rule.get("events"))
            if point is not None:
                yield Truncation(log_id, job_id, task_type, point)
        last = logs[-1][0]


def _before(rule: Mapping[str, Any], now: Any) -> Cursor | None:
    if rule.get("days") is None:
        return None
    time = now - timedelta(days=rule["days"])
    return Cursor(max(int(time.timestamp() * 1000), 0), 0)
