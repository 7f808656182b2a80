"""The archive: the cold, permanent end of the log, and in it the outbox.

An event's row has no `event_id` as long as the event is in the outbox only: written in somebody's
transaction, and not yet seen in the stream. docs/explanation.md draws the states.
"""

from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from events.fields import CursorField, TermsField
from events.types import START


class EventLog(models.Model):
    """One job's log.

    Its row is locked by whoever writes to the outbox, until the end of their transaction: that
    makes the order of `sequence` the order of commits.
    """

    job_id = models.CharField(
        _("job id"),
        max_length=64,
        unique=True,
        validators=[RegexValidator(r"\A[A-Za-z0-9_-]{1,64}\Z")],
    )
    sequence = models.BigIntegerField(
        _("sequence"), default=0, help_text=_("The last number given in the outbox.")
    )
    truncated_before = CursorField(
        _("truncated before"),
        default=START,
        help_text=_("The first id that is kept; 0-0 if nothing was deleted."),
    )

    class Meta:
        verbose_name = _("event log")
        verbose_name_plural = _("event logs")

    def __str__(self) -> str:
        return self.job_id


class ArchiveCheckpoint(models.Model):
    """How far a log is archived; locked by an archiver, never by those who publish."""

    log = models.OneToOneField(
        EventLog, on_delete=models.CASCADE, primary_key=True, related_name="archived"
    )
    position = CursorField(
        _("position"), default=START, help_text=_("All that is up to here is in the archive.")
    )
    error = models.TextField(
        _("error"), blank=True, help_text=_("Why the log cannot be archived further.")
    )
    failed_at = models.DateTimeField(_("stalled since"), null=True)

    class Meta:
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
    producer = models.TextField(  # noqa: DJ001 - those of strangers are not all the same
        _("producer"), null=True, help_text=_("<producer id>:<epoch>:<sequence>")
    )
    sequence = models.BigIntegerField(
        _("sequence"), null=True, help_text=_("In the outbox of the job.")
    )
    written_at = models.DateTimeField(_("written"), null=True)
    terms = TermsField(_("terms"), null=True, editable=False, help_text=_("What is searched."))

    class Meta:
        verbose_name = _("archived event")
        verbose_name_plural = _("archived events")
        constraints = (
            models.UniqueConstraint(fields=("log", "event_id"), name="job_events_id_once"),
            # What was rolled back in Redis and published again is recognised by it.
            models.UniqueConstraint(fields=("log", "producer"), name="job_events_producer_once"),
        )
        indexes = (
            models.Index(
                fields=("log", "sequence"), condition=Q(event_id=None), name="job_events_outbox"
            ),
            # For what is looked for in several logs, in the order of time.
            models.Index(
                fields=("event_id", "log"),
                condition=Q(event_id__isnull=False),
                name="job_events_by_time",
            ),
        )

    def __str__(self) -> str:
        return f"{self.event_id} {self.event_type}"


class Processor(models.Model):
    """A running `manage.py process_events`, as it said last."""

    name = models.CharField(_("name"), max_length=200, unique=True, help_text=_("host:pid"))
    started_at = models.DateTimeField(_("started"))
    heartbeat_at = models.DateTimeField(_("last seen"), db_index=True)
    loops = models.JSONField(_("loops"), default=dict)

    class Meta:
        verbose_name = _("processor")
        verbose_name_plural = _("processors")

    def __str__(self) -> str:
        return self.name
