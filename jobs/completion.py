"""Completion rule of jobs, for `events.live`."""

import logging
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final

from events.database import database_now
from events.exceptions import EventsError
from events.history import read_events
from events.live.threads import in_database_thread
from events.outbox.relay import append_pending
from events.types import START, Cursor, Event
from jobs.models import Job
from jobs.projection import COMPLETION_GRACE, reported_status
from jobs.selectors import job_states

logger = logging.getLogger(__name__)


class JobCompletion:
    """A log is complete with the last event of its job, or when that event is long overdue."""

    def is_terminal(self, event: Event) -> bool:
        return _status(event) in Job.TERMINAL_STATUSES

    async def completed(self, last: Mapping[str, Event | None]) -> Collection[str]:
        """Return the jobs whose rows are terminal or do not exist, and whose outbox is empty."""
        return await in_database_thread(_completed, last)


job_completion: Final = JobCompletion()


def _status(event: Event) -> Job.Status | None:
    return reported_status(event.event_type, event.data)


def end_of_log(job_id: str) -> Cursor | None:
    """Return the position of the last event of a complete log; None if it is not complete.

    Later events follow a retry, or were in the outbox. Raises the errors of `read_events`.
    """
    newest = next(iter(read_events(job_id, limit=1, order="desc")), None)
    is_complete = job_id in _completed({job_id: newest})
    return (newest.cursor if newest else START) if is_complete else None


def _completed(last: Mapping[str, Event | None]) -> Collection[str]:
    states, now = job_states(last), database_now()
    complete = [job_id for job_id in states if _is_complete(states[job_id], last[job_id], now)]
    return (last.keys() - states.keys()) | set(filter(_append_pending, complete))


def _is_complete(state: dict[str, Any], last: Event | None, now: datetime) -> bool:
    """Return whether the row is terminal, and its last event is in the log or overdue."""
    if state["status"] not in Job.TERMINAL_STATUSES:
        return False
    is_reported = last is not None and _status(last) == state["status"]
    if last is not None and is_reported and last.data.get("attempt") in (None, state["attempt"]):
        return True
    return bool(now - state["finished_at"] > COMPLETION_GRACE)


def _append_pending(job_id: str) -> bool:
    """Append events that are still in the outbox: the last ones, if Redis was unavailable."""
    try:
        append_pending(job_id)
    except EventsError as error:
        logger.warning("completion_deferred", extra={"job_id": job_id, "error": str(error)})
        return False
    return True
