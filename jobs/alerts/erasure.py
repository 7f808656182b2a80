"""Erasure of alerts with the job that is their subject."""

from typing import Any

from django.db.models import Q

from jobs.models import Alert, AlertMatch, AlertMessage, Job


def erase_alerts(instance: Job, **_kwargs: Any) -> None:
    """Receiver of `pre_delete`: remove a job from alerts, matches and messages.

    Called with the row of the job locked, which the evaluator locks before it inserts alerts.
    """
    job_id = instance.job_id
    AlertMatch.objects.filter(job_id=job_id).delete()
    alerts = Alert.objects.filter(subject=job_id)
    # The evaluator locks alerts, too, before it inserts messages about them.
    pks = list(alerts.select_for_update(no_key=True).order_by("pk").values_list("pk", flat=True))
    if not pks:
        return
    about = AlertMessage.objects.filter(Q(fired__in=pks) | Q(resolved__in=pks)).distinct()
    for message in about.order_by("pk"):
        shown = [each for each in message.body["alerts"] if each["subject"] != job_id]
        message.body["alerts"] = shown
        message.save(update_fields=("body",))
    alerts.filter(pk__in=pks).delete()
