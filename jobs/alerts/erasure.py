"""Erasure of alerts with the job that is their subject.

The transaction that deletes a job marks its alerts; after the commit, they are removed from stored
messages and deleted. The evaluator repeats that for alerts that a crash has left.
"""

import logging
from functools import partial
from typing import Any

from django.db.models import F, Q
from django.db.models.functions import Coalesce

from events.database import atomic, now_expression, on_commit
from events.outbox.writer import deferred_on_error
from jobs.models import Alert, AlertMatch, AlertMessage, Job

logger = logging.getLogger(__name__)

# The mark: other alerts have fired before they resolve.
_ERASED = Q(fired_at=None, resolved_at__isnull=False)


def erase_alerts(instance: Job, **_kwargs: Any) -> None:
    """Receiver of `pre_delete`: remove a job from alerts, matches and messages.

    Called with the row of the job locked, which the evaluator locks before it inserts alerts.
    """
    job_id = instance.job_id
    AlertMatch.objects.filter(job_id=job_id).delete()
    alerts = Alert.objects.filter(subject=job_id)
    # The evaluator locks alerts, too, before it inserts messages about them.
    if not list(alerts.select_for_update(no_key=True).order_by("pk").values_list("pk")):
        return
    alerts.filter(firing_message=None).delete()
    now = now_expression()
    ended = {"state": Alert.State.RESOLVED, "resolved_at": Coalesce(F("resolved_at"), now)}
    if alerts.update(summary="", value=None, fired_at=None, **ended):
        on_commit(partial(_erase_after_commit, job_id))


def _erase_after_commit(job_id: str) -> None:
    with deferred_on_error(logger, "alert_erasure_deferred", job_id=job_id):
        finish_erasure(Q(subject=job_id))


def finish_erasure(condition: Q) -> None:
    """Remove marked alerts from the messages about them, and delete the alerts."""
    marked = Alert.objects.filter(_ERASED, condition).order_by("subject")
    for job_id in marked.values_list("subject", flat=True).distinct():
        with atomic():
            alerts = Alert.objects.filter(_ERASED, subject=job_id)
            sent = alerts.values_list("firing_message", "resolved_message")
            about = AlertMessage.objects.filter(pk__in={pk for pair in sent for pk in pair})
            # Other jobs of the same message may be deleted at the same time.
            for message in about.select_for_update().order_by("pk"):
                shown = message.body["alerts"]
                message.body["alerts"] = [each for each in shown if each["subject"] != job_id]
                message.save(update_fields=("body",))
            alerts.delete()
