"""When a job's log is over for a viewer: the rule that `events.live.follow` is given."""

from datetime import timedelta
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.db import connection
from django.utils import timezone

from events.live import IsOver
from events.types import Event
from jobs.models import Job
from jobs.selectors import job_state

# An event is appended just after the commit that it speaks of; after so long, it has been.
_SETTLED: Final = timedelta(seconds=5)


def _state(job_id: str) -> dict[str, Any]:
    """Asked now and then by viewers who wait for long, and who keep no connection meanwhile."""
    try:
        return job_state(job_id)
    finally:
        connection.close()


def over_when_finished(job_id: str) -> IsOver:
    """The job is over once a viewer has its last event, or when that has long been due."""

    async def is_over(last: Event | None, idle: bool) -> bool:
        ended = last is not None and last.data.get("job_status") in list(Job.OVER)
        if not ended and not idle:
            return False
        state = await sync_to_async(_state, thread_sensitive=False)(job_id)
        if not state:
            return True
        if state["status"] not in Job.OVER:
            return False
        if ended and last is not None and last.data.get("attempt") == state["attempt"]:
            return True
        return bool(timezone.now() - state["finished_at"] > _SETTLED)

    return is_over
