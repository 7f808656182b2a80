"""Inlines of a job: its attempts, tasks and input requests."""

from django.contrib import admin
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from events.admin.base import ReadOnlyInline
from events.admin.cells import json_column, state_html, text_column, time_column
from jobs.models import Attempt, InputRequest, Task


class AttemptInline(ReadOnlyInline):
    """The attempts of the job."""

    model = Attempt
    related_name = "attempts"
    fields = readonly_fields = (
        "number", "state", "queued", "started", "finished", "message", "reason",
    )  # fmt: skip

    queued = time_column("created_at", _("queued"))
    started = time_column("started_at", _("started"))
    finished = time_column("finished_at", _("finished"))
    message = text_column("error", _("error"))

    @admin.display(description=_("status"))
    def state(self, attempt: Attempt) -> SafeString:
        return state_html(attempt.status, attempt.get_status_display())


class TaskInline(ReadOnlyInline):
    """The tasks of all attempts, with worker and heartbeat."""

    model = Task
    related_name = "tasks"
    fields = readonly_fields = (
        "attempt_number", "task_type", "task_state", "worker", "delivery_count", "started",
        "heartbeat", "time_limit", "external_id",
    )  # fmt: skip

    started = time_column("started_at", _("started"))
    heartbeat = time_column("heartbeat_at", _("latest heartbeat"))
    time_limit = time_column("deadline", _("time limit"))

    @admin.display(description=_("attempt"))
    def attempt_number(self, task: Task) -> str:
        return task.attempt_id.rpartition(".")[2]  # without a query

    @admin.display(description=_("state"))
    def task_state(self, task: Task) -> SafeString:
        return state_html(task.state, task.get_state_display())


class InputInline(ReadOnlyInline):
    """The input requests of the job."""

    model = InputRequest
    related_name = "inputs"
    fields = readonly_fields = (
        "name", "attempt", "question", "asked", "answered", "answered_by", "answer",
    )  # fmt: skip

    asked = time_column("asked_at", _("asked"))
    answered = time_column("answered_at", _("answered"))
    question = json_column("prompt", _("prompt"))
    answer = json_column("value", _("answer"))
