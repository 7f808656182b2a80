"""When a job's log is over for a viewer: the rule that `events.live.follow` is given."""

import logging
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connection
from django.utils import timezone

from events.exceptions import EventsError
from events.live import IsOver
from events.relay import append_pending
from events.types import Event
from jobs.models import Job
from jobs.projection import SETTLED, status_told
from jobs.selectors import job_state

logger = logging.getLogger(__name__)


def over_when_finished(job_id: str) -> IsOver:
    """The job is over once a viewer has its last event, or when that has long been due."""

    async def is_over(last: Event | None, idle: bool) -> bool:
        data = last.data if last is not None else {}
        told = status_told(last.event_type, data) if last is not None else None
        if told not in Job.OVER and not idle:
            return False
        over = sync_to_async(_is_over, thread_sensitive=False)
        return await over(job_id, told, data.get("attempt"))

    return is_over


def _is_over(job_id: str, told: Job.Status | None, attempt: object) -> bool:
    """Asked now and then by viewers who wait for long, and who keep no connection meanwhile.

    `told` and `attempt` are what the viewer's last event says.
    """
    try:
        state = job_state(job_id)
        if not state:
            return True
        return _has_ended(state, told, attempt) and _all_appended(job_id)
    finally:
        connection.close()


def _has_ended(state: dict[str, Any], told: Job.Status | None, attempt: object) -> bool:
    """Whether the row says so, and the viewer has been told or could have been."""
    if state["status"] not in Job.OVER:
        return False
    if told == state["status"] and attempt in (None, state["attempt"]):
        return True
    return bool(timezone.now() - state["finished_at"] > SETTLED)


def _all_appended(job_id: str) -> bool:
    """See to it that what services said is in the stream: the last events of all may be.

    When Redis was down as the job finished, the relay may not have come to it yet.
    """
    try:
        append_pending(job_id)
    except EventsError as error:
        logger.warning("end_deferred", extra={"job_id": job_id, "error": str(error)})
        return False
    return True
