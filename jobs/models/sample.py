"""Models of the monitor: samples, and how far the monitor has come."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from events.database import PrimaryManager


class Sample(models.Model):
    """A figure in one period. `jobs.monitoring.sampler` writes the rows and lists the figures.

    `value` is a number, or an object of numbers or histograms by label.
    """

    name = models.CharField(_("figure"), max_length=64)
    at = models.DateTimeField(_("start of the period"))
    seconds = models.PositiveIntegerField(_("length of the period"))
    value = models.JSONField(_("value"))

    objects = PrimaryManager()

    class Meta:
        base_manager_name = "objects"
        default_permissions = ()
        verbose_name = _("sample")
        verbose_name_plural = _("samples")
        constraints = (
            models.UniqueConstraint(
                fields=("seconds", "at", "name"), name="job_events_samples_unique_figure"
            ),
        )

    def __str__(self) -> str:
        return f"{self.name} at {self.at}"


class MonitorCheckpoint(models.Model):
    """Until when a part of the monitor has run.

    A processor changes the row from the time that it has read, in the transaction that writes its
    results. Of several processors that compute the same, one writes.
    """

    name = models.CharField(_("part"), max_length=32, primary_key=True)
    at = models.DateTimeField(_("until"))

    objects = PrimaryManager()

    class Meta:
        base_manager_name = "objects"
        default_permissions = ()
        verbose_name = _("monitor checkpoint")
        verbose_name_plural = _("monitor checkpoints")

    def __str__(self) -> str:
        return f"{self.name} {self.at}"
