"""The archive, the permanent tier of the log, and the outbox in it.

The row of an event in the outbox has no `event_id`: the event was written in a transaction and has
not been read from its stream yet. docs/explanation.md shows the states.
"""

from typing import ClassVar
from uuid import uuid4

from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from events.database import PrimaryManager
from events.fields import CursorField, TermsField
from events.types import START


class EventLog(models.Model):
    """The log of one job.

    A transaction that writes to the outbox locks the row until it ends, so `sequence` is in the
    order of commits. The row of a deleted log is its tombstone; see `events.erasure`.
    """

    job_id = models.CharField(
        _("job id"),
        max_length=64,
        unique=True,
        validators=[RegexValidator(r"\A[A-Za-z0-9_-]{1,64}\Z")],
    )
    sequence = models.BigIntegerField(
        _("sequence"), default=0, help_text=_("Last sequence number assigned in the outbox.")
    )
    truncated_before = CursorField(
        _("truncated before"),
        default=START,
        help_text=_("Earlier events were deleted by retention; 0-0 if none were."),
    )
    deleted_at = models.DateTimeField(
        _("deleted"), null=True, help_text=_("The log accepts and returns no events since then.")
    )
    erased_at = models.DateTimeField(
        _("erased"), null=True, help_text=_("All events of the deleted log have been removed.")
    )

    objects = PrimaryManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("event log")
        verbose_name_plural = _("event logs")
        indexes = (
            models.Index(
                fields=("erased_at", "deleted_at"),
                condition=Q(deleted_at__isnull=False),
                name="job_events_deleted",
            ),
        )

    def __str__(self) -> str:
        return self.job_id


class ArchiveCheckpoint(models.Model):
    """The archived position of a log; locked by archivers, never by publishers."""

    log = models.OneToOneField(
        EventLog, on_delete=models.CASCADE, primary_key=True, related_name="archived"
    )
    position = CursorField(
        _("position"), default=START, help_text=_("All events up to this id are archived.")
    )
    released = models.BooleanField(
        _("released"), default=False, help_text=_("Redis need not have the stream any more.")
    )
    error = models.TextField(
        _("error"), blank=True, help_text=_("Why later events cannot be archived.")
    )
    failed_at = models.DateTimeField(_("stalled since"), null=True)

    objects = PrimaryManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("archive checkpoint")
        verbose_name_plural = _("archive checkpoints")
        indexes = (
            models.Index(fields=("failed_at",), condition=~Q(error=""), name="job_events_stalled"),
        )

    def __str__(self) -> str:
        return f"{self.log_id} {self.position}"


class ArchivedEvent(models.Model):
    """One event; `data` is the event dict as JSON."""

    log = models.ForeignKey(
        EventLog, on_delete=models.CASCADE, related_name="events", db_index=False
    )
    event_id = CursorField(_("event id"), null=True)
    event_type = models.TextField(_("event type"))
    timestamp = models.TextField(_("timestamp"))
    data = models.TextField(_("data"))
    producer = models.TextField(  # noqa: DJ001 - NULL is exempt from the unique constraint
        _("producer"), null=True, help_text=_("<producer id>:<epoch>:<sequence>")
    )
    sequence = models.BigIntegerField(
        _("sequence"), null=True, help_text=_("Position in the outbox of the job.")
    )
    written_at = models.DateTimeField(_("written"), null=True)
    terms = TermsField(_("terms"), null=True, editable=False, help_text=_("Indexed search terms."))

    objects = PrimaryManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("archived event")
        verbose_name_plural = _("archived events")
        constraints = (
            models.UniqueConstraint(fields=("log", "event_id"), name="job_events_id_once"),
            # Identifies an event that Redis lost after it was archived and received again.
            models.UniqueConstraint(fields=("log", "producer"), name="job_events_producer_once"),
        )
        indexes = (
            models.Index(
                fields=("log", "sequence"), condition=Q(event_id=None), name="job_events_outbox"
            ),
            # For searches across logs, ordered by time.
            models.Index(
                fields=("event_id", "log"),
                condition=Q(event_id__isnull=False),
                name="job_events_by_time",
            ),
            # For the token counts of a period.
            models.Index(
                fields=("event_id", "log"),
                condition=Q(event_type="model_result", event_id__isnull=False),
                name="job_events_model_results",
            ),
        )

    def __str__(self) -> str:
        return f"{self.event_id} {self.event_type}"


class LogGap(models.Model):
    """Events that Redis lost before they were archived: those between `after` and the next event.

    `ids` are lost events that a producer or a subscriber has reported; there may be others.
    `reported` is set in the transaction that publishes the gap to its log.
    """

    log = models.ForeignKey(EventLog, on_delete=models.CASCADE, related_name="gaps", db_index=False)
    after = CursorField(_("after"), help_text=_("The last event before the gap."))
    ids = models.JSONField(_("ids"), default=list, help_text=_("Lost events whose ids are known."))
    detected_at = models.DateTimeField(_("detected"), db_index=True)
    reported = models.BooleanField(_("reported"), default=False)

    objects = PrimaryManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("log gap")
        verbose_name_plural = _("log gaps")
        constraints = (
            models.UniqueConstraint(fields=("log", "after"), name="job_events_gap_once"),
        )
        indexes = (
            models.Index(fields=("id",), condition=Q(reported=False), name="job_events_unreported"),
        )

    def __str__(self) -> str:
        return f"{self.log_id} after {self.after}"


class ArchiveIdentity(models.Model):
    """The id of this archive, in the only row of the table; see `events.archive.ownership`."""

    PK: ClassVar = 1

    uuid = models.UUIDField(_("id"), default=uuid4, editable=False)

    objects = PrimaryManager()

    class Meta:
        base_manager_name = "objects"
        default_permissions = ()
        verbose_name = _("archive identity")
        verbose_name_plural = _("archive identities")

    def __str__(self) -> str:
        return str(self.uuid)


class Processor(models.Model):
    """A running `manage.py process_events` as of its last heartbeat."""

    name = models.CharField(_("name"), max_length=200, unique=True, help_text=_("host:pid"))
    started_at = models.DateTimeField(_("started"))
    heartbeat_at = models.DateTimeField(_("last heartbeat"), db_index=True)
    loops = models.JSONField(_("loops"), default=dict)

    objects = PrimaryManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("processor")
        verbose_name_plural = _("processors")

    def __str__(self) -> str:
        return self.name
