"""The Job: what a user asked for, and where it stands."""

import uuid
from datetime import datetime
from typing import Any

from django.core.validators import RegexValidator
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from events.types import UNKNOWN
from jobs.conf import user_model
from jobs.validators import validate_text


def new_job_id() -> str:
    """A job_id nobody can guess, of 32 hexadecimal digits."""
    return uuid.uuid4().hex


class Job(models.Model):
    """One unit of work that a user asked for.

    Written by `jobs.services` and, for what the log says, by `jobs.projection`.
    """

    class Status(models.TextChoices):
        """Where a job stands."""

        PENDING = "pending", _("Pending")
        RUNNING = "running", _("Running")
        COMPLETED = "completed", _("Completed")
        FAILED = "failed", _("Failed")
        CANCELLED = "cancelled", _("Cancelled")

    OVER = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})

    job_id = models.CharField(
        _("job id"),
        max_length=64,
        unique=True,
        default=new_job_id,
        editable=False,
        validators=[
            RegexValidator(
                r"\A[A-Za-z0-9_-]{1,64}\Z",
                _("A job_id is 1 to 64 of the characters A-Z, a-z, 0-9, _ and -."),
            )
        ],
    )
    owner = models.ForeignKey(
        user_model,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="job_events_jobs",
        verbose_name=_("owner"),
    )
    task_type = models.CharField(
        _("task type"),
        max_length=100,
        default=UNKNOWN,
        validators=[
            RegexValidator(
                r"\A[\w.:-]{1,100}\Z", _("A task_type is made of letters, digits, _ . : and -.")
            )
        ],
    )
    title = models.CharField(_("title"), max_length=200, blank=True, validators=[validate_text])
    status = models.CharField(
        _("status"), max_length=16, choices=Status, default=Status.PENDING, editable=False
    )
    attempt = models.PositiveIntegerField(_("attempt"), default=1, editable=False)
    projected_attempt = models.PositiveIntegerField(
        _("attempt in the log"),
        default=1,
        editable=False,
        help_text=_("How far the log had come when it was archived last."),
    )
    progress = models.FloatField(
        _("progress"), default=0.0, editable=False, help_text=_("In per cent.")
    )
    payload = models.JSONField(_("payload"), default=dict, blank=True)
    result = models.JSONField(_("result"), null=True, blank=True, editable=False)
    error = models.TextField(_("error"), blank=True, editable=False)
    idempotency_key = models.CharField(  # noqa: DJ001 - those without one are not all the same
        _("idempotency key"),
        max_length=64,
        null=True,
        editable=False,
        help_text=_("Idempotency key of the creating request."),
    )
    request_fingerprint = models.CharField(
        _("request fingerprint"),
        max_length=64,
        blank=True,
        editable=False,
        help_text=_("Digest of the content of the creating request."),
    )
    deadline_at = models.DateTimeField(
        _("deadline"),
        null=True,
        editable=False,
        help_text=_("When the job ends unless a worker starts it before."),
    )
    deadline_status = models.CharField(
        _("status at the deadline"), max_length=16, choices=Status, blank=True, editable=False
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    started_at = models.DateTimeField(_("started"), null=True, editable=False)
    finished_at = models.DateTimeField(_("finished"), null=True, editable=False)

    class Meta:
        verbose_name = _("job")
        verbose_name_plural = _("jobs")
        permissions = (("publish_events", _("Can publish events of jobs by the API")),)
        ordering = ("-created_at", "-id")
        indexes = (
            models.Index(fields=("-created_at", "-id"), name="job_events_jobs_by_time"),
            models.Index(fields=("owner", "-created_at", "-id"), name="job_events_jobs_by_owner"),
            models.Index(fields=("status", "-created_at", "-id"), name="job_events_jobs_by_status"),
            models.Index(
                fields=("task_type", "-created_at", "-id"), name="job_events_jobs_by_task_type"
            ),
            models.Index(fields=("-finished_at", "-id"), name="job_events_jobs_by_finish"),
            models.Index(
                fields=("deadline_at",),
                name="job_events_jobs_by_deadline",
                condition=Q(deadline_at__isnull=False),
            ),
        )
        constraints = (
            models.UniqueConstraint(
                fields=("owner", "idempotency_key"), name="job_events_jobs_created_once"
            ),
            models.CheckConstraint(
                name="job_events_jobs_status_is_known",
                condition=Q(status__in=("pending", "running", "completed", "failed", "cancelled")),
            ),
            models.CheckConstraint(
                name="job_events_jobs_progress_is_per_cent",
                condition=Q(progress__gte=0, progress__lte=100),
            ),
            models.CheckConstraint(
                name="job_events_jobs_finished_when_terminal",
                condition=Q(
                    status__in=("completed", "failed", "cancelled"), finished_at__isnull=False
                )
                | Q(status__in=("pending", "running"), finished_at__isnull=True),
            ),
            models.CheckConstraint(
                name="job_events_jobs_finish_after_start",
                condition=Q(started_at__isnull=True)
                | Q(finished_at__isnull=True)
                | Q(finished_at__gte=F("started_at")),
            ),
        )

    def __str__(self) -> str:
        return self.title or self.job_id

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen, unless somebody retries it."""
        return self.status in self.OVER

    def settle(self, *, at: datetime | None = None, status: Status | None = None) -> None:
        """Be over by itself at some time, as this; without a time, not at all."""
        self.deadline_at, self.deadline_status = at, status or ""

    def save_settling(self) -> None:
        """Keep what `settle` said."""
        self.save(update_fields=("deadline_at", "deadline_status"))

    def lifecycle(self) -> dict[str, Any]:
        """What the job's own lifecycle events say of it."""
        return {"task_type": self.task_type, "job_status": self.status, "attempt": self.attempt}


class Task(models.Model):
    """One step that a worker runs, or is to run, for the present attempt at a job.

    `delivery_count` counts how often a worker took it up: whoever has a lower one has been
    given up.
    Written by `jobs.execution.tracker` and `jobs.execution.reaper`, with the job's row locked,
    except for `heartbeat_at`.
    """

    class State(models.TextChoices):
        """Where a task stands."""

        QUEUED = "queued", _("Queued")
        RUNNING = "running", _("Running")
        RELEASED = "released", _("Released")
        AWAITING_INPUT = "awaiting_input", _("Awaiting input")
        FINISHED = "finished", _("Finished")
        LOST = "lost", _("Lost")

    ACTIVE = frozenset({State.RUNNING, State.RELEASED})
    OPEN = frozenset({State.QUEUED, State.AWAITING_INPUT, *ACTIVE})

    job = models.ForeignKey(
        Job, on_delete=models.CASCADE, related_name="tasks", verbose_name=_("job")
    )
    queue = models.CharField(_("queue"), max_length=32)
    external_id = models.CharField(
        _("external id"), max_length=255, help_text=_("The queue's id of the task.")
    )
    task_type = models.CharField(_("task type"), max_length=100)
    group_key = models.CharField(
        _("group"), max_length=255, blank=True, help_text=_("What the tasks of one group share.")
    )
    state = models.CharField(_("state"), max_length=16, choices=State)
    delivery_count = models.PositiveIntegerField(_("deliveries"), default=0)
    worker = models.CharField(_("worker"), max_length=255, blank=True)
    started_at = models.DateTimeField(_("started"), null=True)
    heartbeat_at = models.DateTimeField(
        _("seen"), null=True, help_text=_("When the worker was heard of last, by the database.")
    )
    deadline = models.DateTimeField(
        _("deadline"), null=True, help_text=_("When the queue ends it, by its time limit.")
    )

    resume = models.JSONField(
        _("resume"), null=True, help_text=_("By what its queue has it run again, once answered.")
    )

    class Meta:
        verbose_name = _("task")
        verbose_name_plural = _("tasks")
        constraints = (
            models.UniqueConstraint(
                fields=("job", "external_id"), name="job_events_jobs_task_of_a_job_once"
            ),
        )
        indexes = (
            models.Index(
                fields=("heartbeat_at",),
                name="job_events_tasks_by_heartbeat",
                condition=Q(state__in=("running", "released")),
            ),
        )

    def __str__(self) -> str:
        return f"{self.task_type} {self.external_id}"


class InputRequest(models.Model):
    """What an attempt at a job asks a person, and the answer.

    Written by `jobs.inputs`, with the job's row locked.
    """

    job = models.ForeignKey(
        Job, on_delete=models.CASCADE, related_name="inputs", verbose_name=_("job")
    )
    attempt = models.PositiveIntegerField(_("attempt"))
    name = models.CharField(_("name"), max_length=64, help_text=_("Once in an attempt."))
    prompt = models.JSONField(_("prompt"))
    choices = models.JSONField(_("choices"), default=list, blank=True)
    asked_at = models.DateTimeField(_("asked"), auto_now_add=True)
    answered_at = models.DateTimeField(_("answered"), null=True)
    answered_by = models.CharField(_("answered by"), max_length=255, blank=True)
    value = models.JSONField(_("value"), null=True)

    class Meta:
        verbose_name = _("request for input")
        verbose_name_plural = _("requests for input")
        ordering = ("asked_at", "id")
        constraints = (
            models.UniqueConstraint(
                fields=("job", "attempt", "name"), name="job_events_jobs_input_asked_once"
            ),
        )

    def __str__(self) -> str:
        return self.name
