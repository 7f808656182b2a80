"""Models of jobs, their attempts and tasks."""

import uuid
from datetime import datetime, timedelta
from typing import Any, Self

from django.contrib.auth.base_user import AbstractBaseUser
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import F, Q
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _

from events.database import PrimaryManager, database_now
from events.types import UNKNOWN
from jobs.conf import optional_route, run_timeout, user_model
from jobs.fields import JobTermsField
from jobs.validators import validate_text


def new_job_id() -> str:
    """Return a random job_id of 32 hexadecimal digits."""
    return uuid.uuid4().hex


class Job(models.Model):
    """One unit of work requested by a user.

    `jobs.services` writes the rows. `jobs.projection` updates them from events of other producers.
    Deleting a row deletes the log of the job, whatever deletes it: see `services.on_job_delete`.
    """

    class Status(models.TextChoices):
        """Status of a job."""

        PENDING = "pending", _("Pending")
        RUNNING = "running", _("Running")
        COMPLETED = "completed", _("Completed")
        FAILED = "failed", _("Failed")
        CANCELLED = "cancelled", _("Cancelled")

    TERMINAL_STATUSES = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})

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
        db_index=False,  # an index of several columns starts with it
    )
    task_type = models.CharField(
        _("task type"),
        max_length=100,
        default=UNKNOWN,
        validators=[
            RegexValidator(
                r"\A[\w.:-]{1,100}\Z",
                _("A task_type is 1 to 100 letters, digits or characters of _ . : -."),
            )
        ],
    )
    title = models.CharField(_("title"), max_length=200, blank=True, validators=[validate_text])
    status = models.CharField(
        _("status"), max_length=16, choices=Status, default=Status.PENDING, editable=False
    )
    attempt = models.PositiveIntegerField(_("attempt"), default=1, editable=False)
    projected_attempt = models.PositiveIntegerField(
        _("projected attempt"), default=1, editable=False, help_text=_("Attempt in the archive.")
    )
    progress = models.FloatField(
        _("progress"), default=0.0, editable=False, help_text=_("Percentage, 0 to 100.")
    )
    payload = models.JSONField(_("payload"), default=dict, blank=True)
    result = models.JSONField(_("result"), null=True, blank=True, editable=False)
    error = models.TextField(_("error"), blank=True, editable=False)
    # NULL is exempt from the unique constraint.
    idempotency_key = models.CharField(  # noqa: DJ001
        _("idempotency key"), max_length=64, null=True, editable=False
    )
    request_fingerprint = models.CharField(
        _("request fingerprint"), max_length=64, blank=True, editable=False
    )
    deadline_at = models.DateTimeField(
        _("deadline"), null=True, editable=False, help_text=_("The status changes at this time.")
    )
    deadline_status = models.CharField(
        _("status at the deadline"), max_length=16, choices=Status, blank=True, editable=False
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    started_at = models.DateTimeField(_("started"), null=True, editable=False)
    finished_at = models.DateTimeField(_("finished"), null=True, editable=False)
    # The following columns describe the archived log; the projection updates them.
    first_event_at = models.DateTimeField(_("first event"), null=True, editable=False)
    last_event_at = models.DateTimeField(_("last event"), null=True, editable=False)
    event_count = models.PositiveBigIntegerField(_("events"), default=0, editable=False)
    phase = models.CharField(_("phase"), max_length=200, blank=True, editable=False)
    usage = models.JSONField(
        _("usage"),
        default=dict,
        editable=False,
        help_text=_("Calls, input tokens and output tokens of all attempts, by model."),
    )

    terms = JobTermsField(_("terms"), default="", editable=False, help_text=_("Indexed words."))

    deleted_by: AbstractBaseUser | None = None  # the user who called `services.job_delete`
    end_reason: str = ""  # of the attempt that a service ends

    objects = PrimaryManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("job")
        verbose_name_plural = _("jobs")
        permissions = (
            ("publish_events", _("Can publish job events through the API")),
            ("view_monitor", _("Can view the monitor, with figures of all jobs")),
        )
        ordering = ("-created_at", "-id")
        indexes = (
            models.Index(fields=("-created_at", "-id"), name="job_events_jobs_by_time"),
            *(
                models.Index(fields=(name, "-created_at", "-id"), name=f"job_events_jobs_by_{name}")
                for name in ("owner", "status", "task_type")
            ),
            models.Index(
                fields=("owner", "status", "-created_at", "-id"), name="job_events_jobs_by_state"
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
                fields=("owner", "idempotency_key"), name="job_events_jobs_unique_idempotency_key"
            ),
            models.CheckConstraint(
                name="job_events_jobs_valid_status",
                condition=Q(status__in=("pending", "running", "completed", "failed", "cancelled")),
            ),
            models.CheckConstraint(
                name="job_events_jobs_progress_0_to_100",
                condition=Q(progress__gte=0, progress__lte=100),
            ),
            models.CheckConstraint(
                name="job_events_jobs_finished_at_if_terminal",
                condition=Q(
                    status__in=("completed", "failed", "cancelled"), finished_at__isnull=False
                )
                | Q(status__in=("pending", "running"), finished_at__isnull=True),
            ),
            models.CheckConstraint(
                name="job_events_jobs_finished_after_started",
                condition=Q(started_at__isnull=True)
                | Q(finished_at__isnull=True)
                | Q(finished_at__gte=F("started_at")),
            ),
        )

    def __str__(self) -> str:
        return self.title or self.job_id

    def save(self, *args: Any, **options: Any) -> None:
        """Save the job; the row of its first attempt is inserted with it."""
        is_new = self._state.adding
        super().save(*args, **options)
        if is_new:
            Attempt.of(self).save(using=self._state.db, force_insert=True)

    @property
    def attempt_key(self) -> str:
        """Primary key of the current attempt."""
        return f"{self.job_id}.{self.attempt}"

    @property
    def current_tasks(self) -> models.QuerySet["Task"]:
        """The tasks of the current attempt."""
        return self.tasks.filter(attempt_id=self.attempt_key)

    @cached_property
    def open_tasks(self) -> list["Task"]:
        """The unfinished tasks of the current attempt, for a transaction that locks the job."""
        return list(self.current_tasks.filter(state__in=Task.OPEN).order_by("pk"))

    @property
    def is_terminal(self) -> bool:
        return self.status in self.TERMINAL_STATUSES

    @property
    def page_url(self) -> str | None:
        """Path of the job's page; None if the project does not include the pages."""
        return optional_route("job_events:detail", job_id=self.job_id)

    def set_deadline(
        self, *, in_seconds: float, status: Status, now: datetime | None = None
    ) -> None:
        """Set when the job changes to `status` unless a worker starts or ends it before."""
        self.deadline_at = (now or database_now()) + timedelta(seconds=in_seconds)
        self.deadline_status = status

    def set_run_deadline(self, now: datetime | None = None) -> None:
        """Fail the job after RUN_TIMEOUT; that of a worker with heartbeats needs no deadline."""
        self.clear_deadline()
        timeout = run_timeout(self.task_type)
        if timeout is not None:
            self.set_deadline(in_seconds=timeout, status=self.Status.FAILED, now=now)

    def clear_deadline(self) -> None:
        self.deadline_at, self.deadline_status = None, ""

    def save_deadline(self) -> None:
        self.save(update_fields=("deadline_at", "deadline_status"))


class Attempt(models.Model):
    """One attempt of a job. The row of the current one has the status and times of its job.

    `key` is `<job_id>.<number>`, so that a task can be saved without a query for its attempt.
    `jobs.transitions` and `jobs.projection` write the rows under the lock of the job's row.
    """

    FOLLOWED = ("status", "started_at", "finished_at", "error")

    key = models.CharField(_("key"), max_length=80, primary_key=True, editable=False)
    job = models.ForeignKey(
        Job, on_delete=models.CASCADE, related_name="attempts", verbose_name=_("job")
    )
    number = models.PositiveIntegerField(_("number"))
    created_at = models.DateTimeField(_("queued"))
    started_at = models.DateTimeField(_("started"), null=True)
    finished_at = models.DateTimeField(_("finished"), null=True)
    status = models.CharField(_("status"), max_length=16, choices=Job.Status)
    error = models.TextField(_("error"), blank=True)
    reason = models.CharField(_("reason"), max_length=64, blank=True)

    objects = PrimaryManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("attempt")
        verbose_name_plural = _("attempts")
        ordering = ("number",)
        constraints = (
            models.UniqueConstraint(fields=("job", "number"), name="job_events_jobs_unique_number"),
        )
        indexes = (
            models.Index(
                fields=("finished_at",),
                name="job_events_attempts_by_finish",
                condition=Q(finished_at__isnull=False),
            ),
        )

    def __str__(self) -> str:
        return self.key

    @classmethod
    def of(cls, job: Job, created_at: datetime | None = None) -> Self:
        """Return the row of the current attempt of a job, unsaved."""
        row = cls(key=job.attempt_key, job=job, number=job.attempt, reason=job.end_reason)
        row.created_at = created_at or job.created_at
        vars(row).update({name: getattr(job, name) for name in cls.FOLLOWED})
        return row


class Task(models.Model):
    """One step of an attempt, executed by a worker.

    `delivery_count` counts deliveries to workers. A worker with a lower number is fenced.
    `jobs.execution.tracker` and `jobs.execution.reaper` write the rows under the lock of the job's
    row, except for `heartbeat_at`.
    """

    class State(models.TextChoices):
        """State of a task."""

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
    attempt = models.ForeignKey(
        Attempt, on_delete=models.CASCADE, related_name="tasks", verbose_name=_("attempt")
    )
    queue = models.CharField(_("queue"), max_length=32)
    external_id = models.CharField(_("external id"), max_length=255)
    task_type = models.CharField(_("task type"), max_length=100)
    group_key = models.CharField(_("group"), max_length=255, blank=True)
    state = models.CharField(_("state"), max_length=16, choices=State)
    delivery_count = models.PositiveIntegerField(_("delivery count"), default=0)
    worker = models.CharField(_("worker"), max_length=255, blank=True)
    started_at = models.DateTimeField(_("started"), null=True)
    heartbeat_at = models.DateTimeField(_("latest heartbeat"), null=True)
    deadline = models.DateTimeField(_("time limit"), null=True)
    parent_run_id = models.CharField(_("parent span"), max_length=300, blank=True)
    resume = models.JSONField(_("arguments to resume with"), null=True)

    objects = PrimaryManager()

    class Meta:
        base_manager_name = "objects"
        verbose_name = _("task")
        verbose_name_plural = _("tasks")
        constraints = (
            models.UniqueConstraint(
                fields=("attempt", "external_id"), name="job_events_jobs_unique_external_id"
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
