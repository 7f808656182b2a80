"""Models of alerts: rules, alerts, silences, and messages with their deliveries."""

import uuid
from typing import Final

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from events.database import PrimaryManager
from jobs.conf import user_model

# Alerts without a message about their state. SQLite uses a partial index only for conditions
# without parameters.
UNSENT: Final = Q(fired_at__isnull=False, firing_message=None, resolved_at=None) | Q(
    fired_at__isnull=False,
    firing_message__isnull=False,
    resolved_at__isnull=False,
    resolved_message=None,
)


class AlertRule(models.Model):
    """An alert rule that an operator has defined; others are in the setting ALERT_RULES.

    `jobs.alerts.rules` describes the kinds and their parameters.
    """

    name = models.SlugField(_("name"), max_length=64, unique=True)
    kind = models.CharField(_("kind"), max_length=32)
    parameters = models.JSONField(_("parameters"), default=dict, blank=True)
    task_type = models.CharField(
        _("task type"), max_length=100, blank=True, help_text=_("Empty: every task type.")
    )
    for_seconds = models.PositiveIntegerField(
        _("for"), default=0, help_text=_("Seconds for which the condition must hold.")
    )
    channels = models.JSONField(
        _("channels"),
        default=list,
        blank=True,
        help_text=_("Names in ALERT_CHANNELS; empty: all channels."),
    )
    enabled = models.BooleanField(_("enabled"), default=True)

    objects = PrimaryManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("alert rule")
        verbose_name_plural = _("alert rules")
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class Alert(models.Model):
    """The condition of a rule that holds, or held, for one subject.

    The row is the history of the alert: each state has the time at which it began. A pending alert
    whose condition ends is deleted.
    """

    class State(models.TextChoices):
        """State of an alert."""

        PENDING = "pending", _("Pending")
        FIRING = "firing", _("Firing")
        RESOLVED = "resolved", _("Resolved")

    OPEN = frozenset({State.PENDING, State.FIRING})

    rule = models.CharField(_("rule"), max_length=64)
    subject = models.CharField(
        _("subject"), max_length=160, blank=True, help_text=_("A task_type, job_id or problem.")
    )
    state = models.CharField(_("state"), max_length=16, choices=State)
    value = models.FloatField(_("value"), null=True)
    summary = models.TextField(_("summary"))
    pending_at = models.DateTimeField(_("pending since"))
    fired_at = models.DateTimeField(_("firing since"), null=True)
    resolved_at = models.DateTimeField(_("resolved"), null=True)
    firing_message = models.ForeignKey(
        "AlertMessage", on_delete=models.SET_NULL, null=True, related_name="fired"
    )
    resolved_message = models.ForeignKey(
        "AlertMessage", on_delete=models.SET_NULL, null=True, related_name="resolved"
    )

    objects = PrimaryManager()

    class Meta:
        base_manager_name = "objects"
        default_permissions = ("view",)
        verbose_name = _("alert")
        verbose_name_plural = _("alerts")
        ordering = ("-pending_at", "-id")
        constraints = (
            models.UniqueConstraint(
                fields=("rule", "subject"),
                condition=Q(state__in=("pending", "firing")),
                name="job_events_alerts_one_open",
            ),
        )
        indexes = (
            models.Index(fields=("-pending_at", "-id"), name="job_events_alerts_by_time"),
            models.Index(fields=("subject",), name="job_events_alerts_by_subject"),
            models.Index(
                fields=("subject",),
                condition=Q(fired_at=None, resolved_at__isnull=False),
                name="job_events_alerts_erased",
            ),
            models.Index(
                fields=("-pending_at", "-id"),
                condition=Q(resolved_at__isnull=True),
                name="job_events_alerts_open",
            ),
            models.Index(
                fields=("rule",),
                condition=UNSENT,
                name="job_events_alerts_unsent",
            ),
        )

    def __str__(self) -> str:
        return f"{self.rule} {self.subject}".rstrip()


class AlertMatch(models.Model):
    """A job with archived events that meet the condition of a rule; `event_id` is the last one.

    `jobs.alerts.matching` writes the rows; they are deleted when the window of the rule is over.
    """

    rule = models.CharField(_("rule"), max_length=64)
    job_id = models.CharField(_("job id"), max_length=64, db_index=True)
    event_id = models.CharField(_("event id"), max_length=64)
    value = models.FloatField(_("value"), null=True)
    summary = models.TextField(_("summary"))
    at = models.DateTimeField(_("at"))

    objects = PrimaryManager()

    class Meta:
        base_manager_name = "objects"
        default_permissions = ()
        verbose_name = _("alert match")
        verbose_name_plural = _("alert matches")
        constraints = (
            models.UniqueConstraint(fields=("rule", "job_id"), name="job_events_matches_one"),
        )
        indexes = (models.Index(fields=("rule", "id"), name="job_events_alert_matches"),)

    def __str__(self) -> str:
        return f"{self.rule} {self.job_id} {self.event_id}"


class Silence(models.Model):
    """A period in which no messages about alerts are sent."""

    rule = models.CharField(_("rule"), max_length=64, blank=True, help_text=_("Empty: all rules."))
    subject = models.CharField(
        _("subject"), max_length=160, blank=True, help_text=_("Empty: all subjects.")
    )
    starts_at = models.DateTimeField(_("from"))
    ends_at = models.DateTimeField(_("until"))
    comment = models.CharField(_("comment"), max_length=200, blank=True)
    created_by = models.ForeignKey(
        user_model,
        on_delete=models.SET_NULL,
        null=True,
        editable=False,
        related_name="+",
        verbose_name=_("created by"),
    )

    objects = PrimaryManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("silence")
        verbose_name_plural = _("silences")
        ordering = ("-starts_at",)
        constraints = (
            models.CheckConstraint(
                name="job_events_silences_end_after_start",
                condition=Q(ends_at__gt=models.F("starts_at")),
                violation_error_message=_("A silence ends after it starts."),
            ),
        )

    def __str__(self) -> str:
        return f"{self.rule or '*'} {self.subject or '*'}"


class AlertMessage(models.Model):
    """A message about one or more alerts of a rule; `id` identifies it in every channel."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    rule = models.CharField(_("rule"), max_length=64)
    state = models.CharField(_("state"), max_length=16, choices=Alert.State)
    count = models.PositiveIntegerField(_("alerts"))
    body = models.JSONField(_("body"))
    created_at = models.DateTimeField(_("created"))

    objects = PrimaryManager()

    class Meta:
        base_manager_name = "objects"
        default_permissions = ("view",)
        verbose_name = _("alert message")
        verbose_name_plural = _("alert messages")
        ordering = ("-created_at",)
        indexes = (models.Index(fields=("rule", "-created_at"), name="job_events_alert_messages"),)

    def __str__(self) -> str:
        return f"{self.rule} {self.state} {self.count}"


class AlertDelivery(models.Model):
    """Delivery of a message to one channel.

    `next_at` is the time of the next attempt; NULL after the last. A process that makes an attempt
    first sets it to the time of the attempt after it.
    """

    message = models.ForeignKey(AlertMessage, on_delete=models.CASCADE, related_name="deliveries")
    channel = models.CharField(_("channel"), max_length=64)
    attempts = models.PositiveIntegerField(_("attempts"), default=0)
    next_at = models.DateTimeField(_("next attempt"), null=True)
    delivered_at = models.DateTimeField(_("delivered"), null=True)
    error = models.TextField(_("error"), blank=True)

    objects = PrimaryManager()

    class Meta:
        base_manager_name = "objects"
        default_permissions = ("view",)
        verbose_name = _("alert delivery")
        verbose_name_plural = _("alert deliveries")
        constraints = (
            models.UniqueConstraint(
                fields=("message", "channel"), name="job_events_deliveries_once"
            ),
        )
        indexes = (
            models.Index(
                fields=("next_at",),
                condition=Q(delivered_at=None),
                name="job_events_deliveries_open",
            ),
        )

    def __str__(self) -> str:
        return f"{self.message_id} {self.channel}"
