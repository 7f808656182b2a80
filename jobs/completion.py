"""When a job's log is over for its viewers: the rule that `events.live.follow` is given."""

import logging
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.db import connection
from django.utils import timezone

from events.exceptions import EventsError
from events.outbox.relay import append_pending
from events.types import Event
from jobs.models import Job
from jobs.projection import COMPLETION_GRACE, reported_status
from jobs.selectors import job_states

logger = logging.getLogger(__name__)


class JobCompletion:
    """The job is over once its log has its last event, or when that has long been due."""

    def is_terminal(self, event: Event) -> bool:
        """Whether the event says that its job is over."""
        return _told(event) in Job.TERMINAL_STATUSES

    async def completed(self, last: Mapping[str, Event | None]) -> Collection[str]:
        """Those whose rows say so, or who have none; what services said is in their logs then."""
        return await sync_to_async(_over, thread_sensitive=False)(last)


job_completion: Final = JobCompletion()


def _told(event: Event) -> Job.Status | None:
    return reported_status(event.event_type, event.data)


def _over(last: Mapping[str, Event | None]) -> Collection[str]:
    """Asked now and then for viewers who wait for long, and who keep no connection meanwhile."""
    try:
        return set(_over_of(last))
    finally:
        connection.close()


def _over_of(last: Mapping[str, Event | None]) -> Iterator[str]:
    states = job_states(last)
    for job_id in last:
        state = states.get(job_id)
        if state is None or (_has_ended(state, last[job_id]) and _all_appended(job_id)):
            yield job_id


def _has_ended(state: dict[str, Any], last: Event | None) -> bool:
    """Whether the row says so, and the log does or could have."""
    if state["status"] not in Job.TERMINAL_STATUSES:
        return False
    told = last is not None and _told(last) == state["status"]
    if last is not None and told and last.data.get("attempt") in (None, state["attempt"]):
        return True
    return bool(timezone.now() - state["finished_at"] > COMPLETION_GRACE)


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
