"""Admin of jobs: read-only, with actions that call services."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator, capfirst
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from events.admin.base import LargeTableAdmin
from events.admin.cells import (
    EMPTY,
    cut_html,
    json_column,
    state_html,
    text_column,
    time_column,
)
from events.durations import span_text
from events.translation import translated
from jobs import services
from jobs.admin.inlines import AttemptInline, InputInline, TaskInline
from jobs.admin.tools import JobToolsAdmin
from jobs.conf import optional_route
from jobs.exceptions import JobError, JobNotFound
from jobs.models import Job
from jobs.selectors import (
    list_rows,
    newest_task_types,
    search_jobs,
    user_of,
    users_named,
    visible_jobs,
)

MAX_NAME_CHARACTERS: Final = 100


class TaskTypeFilter(admin.SimpleListFilter):
    """Filters by the task types of the newest jobs."""

    title = _("task type")
    parameter_name = "task_type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        newest = newest_task_types(model_admin.get_queryset(request))
        found = {*newest, *filter(None, [self.value()])}
        return [(task_type, task_type) for task_type in sorted(found)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Job]) -> QuerySet[Job]:
        return queryset.filter(task_type=self.value()) if self.value() else queryset


@admin.register(Job)
class JobAdmin(JobToolsAdmin, LargeTableAdmin):
    """List of jobs with filters and search; details with a timeline of events."""

    list_display = (
        "name", "live_page", "state", "attempt", "owner_name", "started", "duration", "last_event",
    )  # fmt: skip
    list_filter = ("status", TaskTypeFilter, ("created_at", admin.DateFieldListFilter))
    search_fields = ("terms",)
    search_help_text = _("Search for words of title, type or ID, or for the name of an owner.")
    sortable_by = ()
    ordering = ("-created_at", "-id")
    actions = ("cancel_jobs", "terminate_jobs", "retry_jobs")
    inlines = (AttemptInline, TaskInline, InputInline)
    readonly_fields = (
        "job_id", "task_type", "title", "owner", "state", "attempt", "phase", "message", "created",
        "started", "finished", "duration", "first_event", "last_event", "event_count",
        "payload_json", "result_json",
    )  # fmt: skip
    fieldsets = (
        (None, {"fields": ("title", ("job_id", "task_type", "owner"))}),
        (_("State"), {"fields": (("state", "phase", "attempt"), "message")}),
        (_("Times"), {"fields": (
            ("created", "started"), ("finished", "duration"),
            ("first_event", "last_event", "event_count"),
        )}),
        (_("Data"), {"fields": ("payload_json", "result_json"), "classes": ("collapse",)}),
    )  # fmt: skip

    created = time_column("created_at", _("created"))
    started = time_column("started_at", _("started"))
    finished = time_column("finished_at", _("finished"))
    first_event = time_column("first_event_at", _("first event"))
    last_event = time_column("last_event_at", _("last event"))
    message = text_column("error", _("error"))
    payload_json = json_column("payload", _("payload"))
    result_json = json_column("result", _("result"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Job]:
        """Return the jobs that VISIBLE_JOBS shows to the user, as the API and the pages do."""
        return list_rows(visible_jobs(user_of(request)).order_by(*self.get_ordering(request)))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Job], search_term: str
    ) -> tuple[QuerySet[Job], bool]:
        """Return the jobs with these words, and those of the user with this name."""
        found = search_jobs(queryset, search_term)
        owners = users_named([search_term])
        return (found | queryset.filter(owner_id__in=owners) if owners else found), False

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
        # The permission to change a job is for the actions and tools.
        context |= {"show_save": False, "show_save_and_continue": False}
        context |= {"title": capfirst(str(self.opts.verbose_name))}
        if job := context.get("original"):
            context["job_tools"] = list(self.available_tools(request, job))
            # It reads from the API.
            context["has_timeline"] = optional_route("job_events:api-job-list") is not None
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description=_("job"))
    def name(self, job: Job) -> SafeString:
        """Return the title, with the type below it: the table has no space for another column."""
        title = Truncator(str(job)).chars(MAX_NAME_CHARACTERS)
        return format_html("<bdi>{}</bdi> {}", title, cut_html(job.task_type))

    @admin.display(description=_("live"))
    def live_page(self, job: Job) -> SafeString | str:
        """Return a link to the page of the job, if the project includes the pages."""
        url = job.page_url
        if url is None:
            return ""
        label = _("Live page of %(job)s") % {"job": job}
        html = '<a href="{}" title="{}" aria-label="{}">\N{NORTH EAST ARROW}</a>'
        return format_html(html, url, label, label)

    @admin.display(description=_("status"))
    def state(self, job: Job) -> SafeString:
        is_partial = job.status != Job.Status.COMPLETED and job.progress > 0
        detail = f"{job.progress:.0f} %" if is_partial else ""
        return state_html(job.status, job.get_status_display(), detail)

    @admin.display(description=_("owner"))
    def owner_name(self, job: Job) -> str:
        return cut_html(str(job.owner)) if job.owner else EMPTY

    @admin.display(description=_("duration"))
    def duration(self, job: Job) -> str:
        if job.started_at is None:
            return EMPTY
        return span_text(((job.finished_at or timezone.now()) - job.started_at).total_seconds())

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
