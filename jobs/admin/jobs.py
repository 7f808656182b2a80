"""Admin of jobs: read-only, with actions that call services."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from events.admin import LargeTableAdmin
from events.database import primary_rows
from events.exceptions import EventsError
from events.history import read_events
from events.translation import translated
from jobs import services
from jobs.api.problem_details import problem_of
from jobs.exceptions import JobError, JobNotFound
from jobs.models import Attempt, InputRequest, Job, Task
from jobs.selectors import list_rows, search_jobs, user_of, usernames, visible_jobs
from jobs.timeline import timeline_rows

TIMELINE_LENGTH = 200
NEWEST_JOBS = 1000


class ReadOnlyInline(admin.TabularInline):  # type: ignore[type-arg]  # not subscriptable
    """Inline without any editing, visible with the permission to view the job."""

    extra = 0
    can_delete = False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    has_add_permission = has_change_permission

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True


class AttemptInline(ReadOnlyInline):
    """The attempts of the job."""

    model = Attempt
    fields = readonly_fields = (
        "number", "status", "created_at", "started_at", "finished_at", "error", "reason",
    )  # fmt: skip


class TaskInline(ReadOnlyInline):
    """The tasks of all attempts, with worker and heartbeat."""

    model = Task
    fields = readonly_fields = (
        "attempt_number", "task_type", "state", "worker", "delivery_count", "started_at",
        "heartbeat_at", "deadline", "external_id",
    )  # fmt: skip

    @admin.display(description=_("attempt"))
    def attempt_number(self, task: Task) -> str:
        return task.attempt_id.rpartition(".")[2]  # without a query


class InputInline(ReadOnlyInline):
    """The input requests of the job."""

    model = InputRequest
    fields = readonly_fields = (
        "name", "attempt", "prompt", "asked_at", "answered_at", "answered_by", "value",
    )  # fmt: skip


class TaskTypeFilter(admin.SimpleListFilter):
    """Filters by the task types of the newest jobs."""

    title = _("task type")
    parameter_name = "task_type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        newest = model_admin.get_queryset(request).values_list("task_type", flat=True)
        found = {*newest[:NEWEST_JOBS], *filter(None, [self.value()])}
        return [(task_type, task_type) for task_type in sorted(found)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Job]) -> QuerySet[Job]:
        return queryset.filter(task_type=self.value()) if self.value() else queryset


@admin.register(Job)
class JobAdmin(LargeTableAdmin):
    """List of jobs with filters and search; details with a timeline of events."""

    list_display = (
        "name", "status", "percent", "task_type", "attempt", "owner", "created_at", "finished_at",
        "page",
    )  # fmt: skip
    list_filter = ("status", TaskTypeFilter, ("created_at", admin.DateFieldListFilter))
    search_fields = ("terms",)
    search_help_text = _("Search for words of title, type or ID, or for the name of an owner.")
    sortable_by = ("created_at", "finished_at")
    ordering = ("-created_at", "-id")
    actions = ("cancel_jobs", "terminate_jobs", "retry_jobs")
    inlines = (AttemptInline, TaskInline, InputInline)
    readonly_fields = (
        "job_id", "task_type", "title", "owner", "status", "attempt", "percent", "created_at",
        "started_at", "finished_at", "error", "payload", "result", "page", "timeline", "phase",
        "first_event_at", "last_event_at", "event_count",
    )  # fmt: skip
    fieldsets = (
        (None, {"fields": (("job_id", "page"), "title", ("task_type", "owner"))}),
        (_("State"), {"fields": (("status", "percent", "phase", "attempt"), "error")}),
        (_("Times"), {"fields": (("created_at", "started_at", "finished_at"),)}),
        (_("Events"), {"fields": (("first_event_at", "last_event_at", "event_count"), "timeline")}),
        (_("Data"), {"fields": ("payload", "result"), "classes": ("collapse",)}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Job]:
        """Return the jobs that VISIBLE_JOBS shows to the user, as the API and the pages do."""
        return list_rows(visible_jobs(user_of(request)).order_by(*self.get_ordering(request)))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Job], search_term: str
    ) -> tuple[QuerySet[Job], bool]:
        """Return the jobs with these words, and those of the user with this name."""
        found = search_jobs(queryset, search_term)
        names = {f"{get_user_model().USERNAME_FIELD}__in": usernames([search_term])}
        owner = primary_rows(get_user_model()).filter(**names).first()
        return (found | queryset.filter(owner=owner) if owner else found), False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # services create jobs, and dispatch them

    def delete_model(self, request: HttpRequest, obj: Job) -> None:
        with suppress(JobNotFound):  # deleted meanwhile
            services.job_delete(job_id=obj.job_id, by=user_of(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        for job in queryset:
            self.delete_model(request, job)

    def log_deletions(self, request: HttpRequest, queryset: Iterable[Job]) -> Any:
        """Record the job_ids: a title may contain what is erased."""
        for job in queryset:
            job.title = ""
        return super().log_deletions(request, queryset)  # type: ignore[arg-type]  # may be a list

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        # The permission to change a job is for the actions.
        context |= {"show_save": False, "show_save_and_continue": False}
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description=_("job"), ordering="title")
    def name(self, job: Job) -> str:
        return Truncator(str(job)).chars(60)

    @admin.display(description=_("progress"), ordering="progress")
    def percent(self, job: Job) -> str:
        return f"{job.progress:.0f} %"

    @admin.display(description=_("live page"))
    def page(self, job: Job) -> SafeString | str:
        """Return a link to the page of the job, if the project includes the pages."""
        url = job.page_url
        if url is None:
            return ""
        return format_html('<a href="{}">{}</a>', url, _("Watch"))

    @admin.display(description=_("timeline"))
    def timeline(self, job: Job) -> str:
        try:
            events = read_events(job.job_id, order="desc", limit=TIMELINE_LENGTH + 1)
        except EventsError as error:
            return str(problem_of(error)["detail"])
        context = {
            "rows": timeline_rows(events[:TIMELINE_LENGTH][::-1]),
            "has_earlier": len(events) > TIMELINE_LENGTH,
            "job": job,
        }
        return render_to_string("job_events_jobs/admin_timeline.html", context)

    @admin.action(description=_("Cancel the selected jobs"), permissions=["change"])
    def cancel_jobs(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        self._apply(request, queryset, services.job_cancel)

    @admin.action(
        description=_("Cancel the selected jobs and kill their tasks"), permissions=["change"]
    )
    def terminate_jobs(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        self._apply(request, queryset, services.job_cancel, terminate=True)

    @admin.action(description=_("Retry the selected jobs"), permissions=["change"])
    def retry_jobs(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        self._apply(request, queryset, services.job_retry)

    def _apply(
        self, request: HttpRequest, jobs: QuerySet[Job], service: Callable[..., Any], **options: Any
    ) -> None:
        done = 0
        for job_id in jobs.values_list("job_id", flat=True):
            try:
                service(job_id=job_id, by=user_of(request), **options)
                done += 1
            except JobError as error:
                self.message_user(request, translated(error), messages.WARNING)
        if done:
            text = ngettext("%(count)d job changed.", "%(count)d jobs changed.", done)
            self.message_user(request, text % {"count": done}, messages.SUCCESS)
