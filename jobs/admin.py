"""Jobs in the Django admin: to look at, to cancel and to retry; jobs change by services only."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from events.exceptions import EventsError
from events.history import read_events
from jobs import services
from jobs.exceptions import JobError
from jobs.models import InputRequest, Job, Task
from jobs.selectors import user_of
from jobs.timeline import timeline_rows

TIMELINE_LENGTH = 200

# Django's class takes its model as a parameter only in the eyes of a type checker.
if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Job]
    TaskInline = admin.TabularInline[Task, Job]
    InputInline = admin.TabularInline[InputRequest, Job]
else:
    ModelAdmin = admin.ModelAdmin
    TaskInline = InputInline = admin.TabularInline


class ReadOnly:
    """Nothing here is written by hand."""

    extra = 0
    can_delete = False

    def has_add_permission(self, *_args: Any) -> bool:
        """The workers write it."""
        return False

    has_change_permission = has_add_permission

    def has_view_permission(self, *_args: Any) -> bool:
        """Whoever sees the job sees this."""
        return True


class Tasks(ReadOnly, TaskInline):
    """Who works on the job, and when they were heard of last."""

    model = Task
    fields = readonly_fields = (
        "task_type", "state", "worker", "delivery_count", "started_at", "heartbeat_at",
        "deadline", "external_id",
    )  # fmt: skip


class Inputs(ReadOnly, InputInline):
    """What the job asks."""

    model = InputRequest
    fields = readonly_fields = (
        "name", "attempt", "prompt", "asked_at", "answered_at", "answered_by", "value",
    )  # fmt: skip


@admin.register(Job)
class JobAdmin(ModelAdmin):
    """The list of jobs with filters and search, and each job with its timeline."""

    list_display = (
        "name", "status", "percent", "task_type", "attempt", "owner", "created_at", "finished_at",
        "page",
    )  # fmt: skip
    list_filter = ("status", "task_type", ("created_at", admin.DateFieldListFilter))
    search_fields = ("job_id", "title", "task_type", "owner__username", "error")
    date_hierarchy = "created_at"
    list_select_related = ("owner",)
    ordering = ("-created_at", "-id")
    actions = ("cancel_jobs", "terminate_jobs", "retry_jobs")
    inlines = (Tasks, Inputs)
    readonly_fields = (
        "job_id", "task_type", "title", "owner", "status", "attempt", "percent", "created_at",
        "started_at", "finished_at", "error", "payload", "result", "page", "timeline",
    )  # fmt: skip
    fieldsets = (
        (None, {"fields": (("job_id", "page"), "title", ("task_type", "owner"))}),
        (_("State"), {"fields": (("status", "percent", "attempt"), "error")}),
        (_("Times"), {"fields": (("created_at", "started_at", "finished_at"),)}),
        (_("Events"), {"fields": ("timeline",)}),
        (_("Data"), {"fields": ("payload", "result"), "classes": ("collapse",)}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Job]:
        """The jobs without what may be large, which the page of one job loads by itself."""
        return super().get_queryset(request).defer("payload", "result")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Jobs are created by services, which dispatch them."""
        return False

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show a job, with nothing to save: the permission to change it is for the actions."""
        nothing = {"show_save": False, "show_save_and_continue": False}
        context = {**nothing, **(extra_context or {})}
        return super().change_view(request, object_id, form_url, context)

    @admin.display(description=_("job"), ordering="title")
    def name(self, job: Job) -> str:
        """The title, cut to a line's length; without one, the job_id."""
        return Truncator(str(job)).chars(60)

    @admin.display(description=_("progress"), ordering="progress")
    def percent(self, job: Job) -> str:
        """The progress in per cent."""
        return f"{job.progress:.0f} %"

    @admin.display(description=_("live page"))
    def page(self, job: Job) -> SafeString | str:
        """Link to the job's page, if the pages are included in the URLs of the project."""
        try:
            url = reverse("job_events:detail", kwargs={"job_id": job.job_id})
        except NoReverseMatch:
            return ""
        return format_html('<a href="{}">{}</a>', url, _("Watch"))

    @admin.display(description=_("timeline"))
    def timeline(self, job: Job) -> str:
        """The job's latest events, readable."""
        try:
            events = read_events(job.job_id, order="desc", limit=TIMELINE_LENGTH + 1)
        except EventsError as error:
            return str(error)
        context = {
            "rows": timeline_rows(events[:TIMELINE_LENGTH][::-1]),
            "has_earlier": len(events) > TIMELINE_LENGTH,
            "job": job,
        }
        return render_to_string("job_events_jobs/admin_timeline.html", context)

    @admin.action(description=_("Cancel the selected jobs"), permissions=["change"])
    def cancel_jobs(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        """Cancel jobs that are not over."""
        self._apply(request, queryset, partial(services.job_cancel, by=user_of(request)))

    @admin.action(
        description=_("Cancel the selected jobs, and end their tasks"), permissions=["change"]
    )
    def terminate_jobs(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        """Cancel jobs that are not over, and have their queues end them where they stand."""
        how = partial(services.job_cancel, by=user_of(request), terminate=True)
        self._apply(request, queryset, how)

    @admin.action(description=_("Retry the selected jobs"), permissions=["change"])
    def retry_jobs(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        """Retry jobs that failed or were cancelled."""
        self._apply(request, queryset, partial(services.job_retry, by=user_of(request)))

    def _apply(
        self, request: HttpRequest, queryset: QuerySet[Job], service: Callable[..., Any]
    ) -> None:
        done = 0
        for job_id in queryset.values_list("job_id", flat=True):
            try:
                service(job_id=job_id)
                done += 1
            except JobError as error:
                self.message_user(request, str(error), messages.WARNING)
        if done:
            text = ngettext("%(count)d job changed.", "%(count)d jobs changed.", done)
            self.message_user(request, text % {"count": done}, messages.SUCCESS)
