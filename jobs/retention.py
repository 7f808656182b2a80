"""How long which logs are kept: the setting RETENTION, and what it takes away."""

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
_LOGS: Final = 500


@dataclass(frozen=True, slots=True)
class Truncation:
    """A log of which the oldest events are to go, before `point`."""

    log_id: int
    job_id: str
    task_type: str
    point: Cursor

    def count(self) -> int:
        """How many events these are."""
        return count_before(self.log_id, self.point)

    def carry_out(self) -> Iterator[int]:
        """Remove them, batch by batch: how many each was."""
        while removed := delete_before(self.log_id, self.point):
            yield removed


def due_cuts() -> Iterator[Truncation]:
    """What is to go by RETENTION, log by log; logs without a job are kept as `*` says."""
    rules, now = job_settings.RETENTION, timezone.now()
    last = 0
    while rules and (logs := logs_after(last, _LOGS)):
        types = fetch_in_chunks(
            [job_id for _, job_id in logs],
            lambda some: Job.objects.filter(job_id__in=some).values_list("job_id", "task_type"),
        )
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
