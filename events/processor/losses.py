"""Reports of losses: for each gap an event in its log and a line of log output."""

import logging
from datetime import timedelta
from typing import Any, Final

from django.db.models import OuterRef, QuerySet, Subquery

from events.database import atomic, now_expression
from events.models import ArchivedEvent, LogGap
from events.outbox import publish_event
from events.types import EVENTS_LOST

logger = logging.getLogger(__name__)

# Until then, the next event is archived, and producers and subscribers have reported lost ids.
REPORT_DELAY: Final = timedelta(seconds=5)
_MAX_STEP_GAPS: Final = 500
_MAX_EVENT_IDS: Final = 100


def with_next_event(gaps: "QuerySet[LogGap]") -> "QuerySet[Any, Any]":
    """Annotate gaps with `before`, the id of the first archived event after the gap."""
    later = ArchivedEvent.objects.filter(log=OuterRef("log"), event_id__gt=OuterRef("after"))
    return gaps.annotate(before=Subquery(later.order_by("event_id").values("event_id")[:1]))


def report_losses(delay: timedelta = REPORT_DELAY) -> int:
    """Report the gaps that are older than `delay`; return their number."""
    unreported = LogGap.objects.filter(reported=False).order_by("pk")
    due = unreported.filter(detected_at__lte=now_expression() - delay)
    return sum(map(_report, due.values_list("pk", flat=True)[:_MAX_STEP_GAPS]))


def _report(pk: int) -> bool:
    """Publish a gap to its log, unless another processor has, or the log was deleted."""
    with atomic():
        if not LogGap.objects.filter(pk=pk, reported=False).update(reported=True):
            return False
        gap = with_next_event(LogGap.objects.select_related("log")).get(pk=pk)
        if gap.log.deleted_at is not None:
            return False
        loss = {
            "after": str(gap.after),
            "before": None if gap.before is None else str(gap.before),
            "count": len(gap.ids) or None,
            "ids": gap.ids[:_MAX_EVENT_IDS],
        }
        known = f"{len(gap.ids)} or more events" if gap.ids else "an unknown number of events"
        message = f"Redis lost {known} after {gap.after}."
        publish_event(gap.log.job_id, {"event_type": EVENTS_LOST, "message": message, **loss})
    logger.error(EVENTS_LOST, extra={"job_id": gap.log.job_id, **loss})
    return True
