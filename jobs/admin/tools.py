"""Object tools of a job: Cancel, Cancel and terminate, Retry. Each has a page that confirms it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from django.contrib import messages
from django.contrib.admin.templatetags.admin_urls import add_preserved_filters
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from events.admin.base import GuardedAdmin
from jobs import services, transitions
from jobs.api.problem_details import problem_of
from jobs.exceptions import JobError
from jobs.models import Job
from jobs.selectors import user_of
from jobs.validators import parse_attempt


@dataclass(frozen=True, slots=True)
class JobTool:
    """A tool: its path segment, texts, and the service that it calls."""

    name: str
    label: Promise
    question: Promise
    button: Promise
    done: Promise
    service: Callable[..., Any]
    transition: transitions.Transition
    options: dict[str, Any] = field(default_factory=dict)


TOOLS: Final = (
    JobTool(
        "cancel",
        _("Cancel"),
        _("Cancel the job? Its tasks are notified, and stop at their next check."),
        _("Yes, cancel the job"),
        _("The job was cancelled."),
        services.job_cancel,
        transitions.CANCEL,
    ),
    JobTool(
        "terminate",
        _("Cancel and terminate"),
        _("Cancel the job and kill its tasks? What they are doing is interrupted."),
        _("Yes, cancel the job and kill its tasks"),
        _("The job was cancelled, and its queue was requested to kill its tasks."),
        services.job_cancel,
        transitions.CANCEL,
        {"terminate": True},
    ),
    JobTool(
        "retry",
        _("Retry"),
        _("Run the job again? A new attempt starts; the log keeps the earlier ones."),
        _("Yes, retry the job"),
        _("A new attempt was started."),
        services.job_retry,
        transitions.RETRY,
    ),
)


class JobToolsAdmin(GuardedAdmin):
    """An admin with the tools of a job, for users with the permission to change it."""

    change_form_template = "job_events_jobs/admin_job.html"

    def further_urls(self) -> list[URLPattern]:
        return [self._tool_url(tool) for tool in TOOLS]

    def _tool_url(self, tool: JobTool) -> URLPattern:
        view = self.admin_site.admin_view(partial(self.tool_view, tool=tool))
        name = f"job_events_jobs_job_{tool.name}"
        return path(f"<path:object_id>/{tool.name}/", view, name=name)

    def tool_url(self, request: HttpRequest, name: str, job: Job) -> str:
        """Return the URL of a page of a job: "change", or the name of a tool.

        It has the filters of the list, for the links back to it.
        """
        view, site = f"admin:job_events_jobs_job_{name}", self.admin_site.name
        url = reverse(view, args=[quote(job.pk)], current_app=site)
        filters = self.get_preserved_filters(request)
        return str(add_preserved_filters({"preserved_filters": filters, "opts": self.opts}, url))

    def available_tools(self, request: HttpRequest, job: Job) -> Iterator[tuple[JobTool, str]]:
        """Yield the tools that the status of the job and the user's permissions allow."""
        if self.has_change_permission(request, job):
            for tool in TOOLS:
                if job.status in tool.transition.allowed_from:
                    yield tool, self.tool_url(request, tool.name, job)

    def tool_view(self, request: HttpRequest, object_id: str, *, tool: JobTool) -> HttpResponseBase:
        """Show the page that confirms a tool; with POST call its service."""
        job = self.get_object(request, unquote(object_id))
        if job is None:
            raise Http404
        if not self.has_change_permission(request, job):
            raise PermissionDenied
        if request.method == "POST":
            self._apply_tool(request, job, tool)
            return redirect(self.tool_url(request, "change", job))
        return self._confirmation(request, job, tool)

    def _apply_tool(self, request: HttpRequest, job: Job, tool: JobTool) -> None:
        shown = parse_attempt(request.POST.get("attempt", ""))
        try:
            tool.service(job_id=job.job_id, by=user_of(request), attempt=shown, **tool.options)
        except JobError as error:
            self.message_user(request, problem_of(error)["detail"], messages.ERROR)
        else:
            self.message_user(request, str(tool.done), messages.SUCCESS)

    def _confirmation(self, request: HttpRequest, job: Job, tool: JobTool) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": tool.label,
            "opts": self.opts,
            "job": job,
            "tool": tool,
            "media": self.media,
            "change_url": self.tool_url(request, "change", job),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "job_events_jobs/admin_tool.html", context)
