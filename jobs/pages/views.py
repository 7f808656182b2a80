"""Views of the pages: new job, monitor, and a login page for projects without one."""

import sys
from typing import Any

from django import forms
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.mixins import LoginRequiredMixin
from django.contrib.auth.views import LoginView, redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.urls import get_script_prefix, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.functional import cached_property
from django.utils.translation import gettext as _
from django.views.generic import View

from events.database import aware_time
from events.processor import processing_problem
from jobs import services
from jobs.access.login import leads_here, login_url
from jobs.api.problem_details import problem_of
from jobs.conf import job_settings
from jobs.exceptions import JobError
from jobs.execution import dispatch
from jobs.pages.forms import PayloadForm
from jobs.pages.strings import monitor_page_strings
from jobs.selectors import (
    sees_monitor,
    startable_task_types,
    user_of,
)

MONITOR_REFRESH_MS = 5000


class PageView(LoginRequiredMixin, View):
    """A page for users who are logged in."""

    section = ""

    def get_login_url(self) -> str:
        return login_url()

    def page(self, template: str, context: dict[str, Any], status: int = 200) -> HttpResponse:
        """Render a template with the context of all pages."""
        base = {
            "viewer": self.request.user,
            "section": self.section,
            "startable": startable_task_types(self.request.user),
            "sees_monitor": self._sees_monitor,
            "processing_problem": self._processing_problem,
        }
        html = render_to_string(template, base | context, self.request)
        # JSON of a payload may contain lone surrogates, which UTF-8 cannot encode.
        return HttpResponse(html.encode("utf-8", "replace"), status=status)

    def _sees_monitor(self) -> bool:
        return sees_monitor(self.request.user)

    def _processing_problem(self) -> str | None:
        """Return what to show staff: see `events.processor.processing_problem`."""
        is_staff = getattr(self.request.user, "is_staff", False)
        return processing_problem() if is_staff else None


def socket_url(path: str) -> str | None:
    """Return the URL of a socket; None in a process that has not imported the routes."""
    return f"{get_script_prefix()}{path}" if "jobs.routing" in sys.modules else None


class JobNewPage(PageView):
    """The form of a runner; `?task_type=` selects one of several."""

    section = "new"

    def get(self, request: HttpRequest) -> HttpResponse:
        return self._form_page(self._form())

    def post(self, request: HttpRequest) -> HttpResponse:
        """Create the job and redirect to its page, or render the form with its errors."""
        form = self._form(request.POST, request.FILES)
        if not form.is_valid():
            return self._form_page(form, status=422)
        try:
            job = services.job_create(
                task_type=self._task_type,
                owner=user_of(request),
                title=form.job_title() if hasattr(form, "job_title") else "",
                payload=form.job_payload() if hasattr(form, "job_payload") else form.cleaned_data,
            )
        except JobError as error:
            field = getattr(error, "field", None)
            form.add_error(field if field in form.fields else None, problem_of(error)["detail"])
        else:
            return redirect("job_events:detail", job_id=job.job_id)
        return self._form_page(form, status=422)

    @cached_property
    def _task_type(self) -> str:
        task_types = startable_task_types(self.request.user)
        chosen = self.request.GET.get("task_type") or next(iter(task_types), None)
        if chosen not in task_types:
            raise Http404(_("The user may not start jobs of this task_type."))
        return chosen

    def _form(self, data: Any = None, files: Any = None) -> forms.Form:
        form_class = dispatch.get_form(self._task_type) or PayloadForm
        return form_class(data, files, label_suffix="")

    def _form_page(self, form: forms.Form, status: int = 200) -> HttpResponse:
        context = {"form": form, "task_type": self._task_type}
        return self.page("job_events_jobs/job_new.html", context, status=status)


class MonitorPage(PageView):
    """Health, figures and tables. The script requests them from the API."""

    section = "monitor"

    def get(self, request: HttpRequest) -> HttpResponse:
        """Render the page without figures, for users with the permission `view_monitor`."""
        if not sees_monitor(request.user):
            raise PermissionDenied
        config = {
            "refreshMs": MONITOR_REFRESH_MS,
            "statisticsUrl": reverse("job_events:api-statistics"),
            "jobsUrl": reverse("job_events:api-job-list"),
            "csrfHeader": job_settings.CSRF_HEADER,
            "now": aware_time(timezone.now()),
            "timeZone": timezone.get_current_timezone_name(),
            "strings": monitor_page_strings(),
        }
        return self.page("job_events_jobs/monitor.html", {"page_config": config})


class JobLoginPage(LoginView):
    """A login page for projects that have none.

    It redirects to the one of LOGIN_URL, which may require more than a password.
    """

    template_name = "job_events_jobs/login.html"
    redirect_authenticated_user = True

    @method_decorator(login_not_required)
    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        url = login_url()
        if leads_here(url, request):
            return super().dispatch(request, *args, **kwargs)
        return redirect_to_login(self.get_success_url(), url)

    def get_default_redirect_url(self) -> str:
        return reverse("job_events:list")  # LOGIN_REDIRECT_URL of the project may not resolve

    def get_form_kwargs(self) -> dict[str, Any]:
        return super().get_form_kwargs() | {"label_suffix": ""}
