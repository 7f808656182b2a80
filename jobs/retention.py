"""Retention of events, as the setting RETENTION defines."""

from collections.abc import Iterator
from typing import Final

from events.archive.retention import logs_after, retention_point
from events.conf import DAY_SECONDS
from events.database import aware_time, database_now
from events.types import Cursor
from jobs.conf import job_settings
from jobs.models import Job
from jobs.selectors import fetch_in_chunks

DEFAULT: Final = "*"
_MAX_LOGS: Final = 500


def due_truncations() -> Iterator[tuple[int, str, Cursor]]:
    """Yield primary key, task_type and first event to keep of each log that exceeds RETENTION.

    The rule and the task_type of logs without a job are DEFAULT.
    """
    rules, now = job_settings.RETENTION, aware_time(database_now()).timestamp()
    last = 0
    jobs = Job.objects.values_list("job_id", "task_type")
    while rules and (logs := logs_after(last, _MAX_LOGS)):
        job_ids = [job_id for _, job_id in logs]
        types = fetch_in_chunks(job_ids, lambda chunk: jobs.filter(job_id__in=chunk))
        for log_id, job_id in logs:
            task_type = types.get(job_id, DEFAULT)
            rule = rules.get(task_type, rules.get(DEFAULT, {}))
            before = None
            if "days" in rule:
                before = Cursor(max(int((now - rule["days"] * DAY_SECONDS) * 1000), 0), 0)
            point = retention_point(job_id, before=before, keep=rule.get("events"))
            if point is not None:
                yield log_id, task_type, point
        last = logs[-1][0]
