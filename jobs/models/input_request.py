"""Model of the questions of jobs."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from events.database import PrimaryManager
from jobs.models.job import Job


class InputRequest(models.Model):
    """A question of an attempt to a user, and the answer.

    `jobs.inputs` writes the rows under the lock of the job's row.
    """

    job = models.ForeignKey(
        Job, on_delete=models.CASCADE, related_name="inputs", verbose_name=_("job")
    )
    attempt = models.PositiveIntegerField(_("attempt"))
    name = models.CharField(_("name"), max_length=64, help_text=_("Unique within an attempt."))
    external_id = models.CharField(_("asked without a name by"), max_length=255, blank=True)
    prompt = models.JSONField(_("prompt"))
    choices = models.JSONField(_("choices"), default=list, blank=True)
    asked_at = models.DateTimeField(_("requested"), auto_now_add=True)
    answered_at = models.DateTimeField(_("answered"), null=True)
    answered_by = models.CharField(_("answered by"), max_length=255, blank=True)
    value = models.JSONField(_("value"), null=True)

    objects = PrimaryManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("input request")
        verbose_name_plural = _("input requests")
        ordering = ("asked_at", "id")
        constraints = (
            models.UniqueConstraint(
                fields=("job", "attempt", "name"), name="job_events_jobs_unique_input_name"
            ),
        )
        indexes = (
            models.Index(
                fields=("asked_at", "id"),
                name="job_events_inputs_open",
                condition=Q(answered_at__isnull=True),
            ),
        )

    def __str__(self) -> str:
        return self.name
