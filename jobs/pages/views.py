"""The pages: the list of jobs, a new job, a job, and a login page for projects without one."""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import urlsplit

from django.apps import apps
from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.contrib.auth.views import LoginView
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render, resolve_url
from django.urls import (
    NoReverseMatch,
    Resolver404,
    get_script_prefix,
    resolve,
    reverse,
)
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.http import conditional_page
from django.views.generic import View

from events.processor.status import is_running
from jobs import services
from jobs.conf import job_settings
from jobs.exceptions import JobError
from jobs.models import Job
from jobs.pages.forms import JobFilterForm, NewJobForm
from jobs.pages.job_list import JobSlice, duration, job_row, job_slice, percent
from jobs.pages.strings import job_page_strings, list_page_strings
from jobs.selectors import may_change, user_of, visible_jobs

DOCUMENT_TASKS = frozenset({"outline_generation", "document_generation"})
LIST_REFRESH_MS = 1500


def login_url() -> str:
    """The project's login page if there is one, else ours."""
    own = reverse("job_events:login")
    try:
        url = resolve_url(job_settings.LOGIN_URL)
        parts = urlsplit(url)
        if not parts.netloc:
            resolve("/" + parts.path.removeprefix(get_script_prefix()).lstrip("/"))
    except (NoReverseMatch, Resolver404):
        return own
    return url


class PageView(LoginRequiredMixin, View):
    """A page for people who are logged in."""

    section = ""

    def get_login_url(self) -> str:
        """Where somebody who is not logged in is sent."""
        return login_url()

    def page(
        self, template: str, context: dict[str, Any] | None = None, status: int = 200
    ) -> HttpResponse:
        """The page with what every page needs."""
        base = {"viewer": self.request.user, "section": self.section}
        return render(self.request, template, {**base, **(context or {})}, status=status)

    def processing_stopped(self) -> bool:
        """Whether to tell this person that nothing processes the log; it is the staff's to mend."""
        return getattr(self.request.user, "is_staff", False) and not is_running()

    def visible_job(self, job_id: str) -> Job:
        """The job, or 404 if there is none or this person may not see it."""
        return get_object_or_404(visible_jobs(self.request.user), job_id=job_id)


class JobListView(PageView):
    """All jobs that the person may see; with `?rows=1` the table alone, for the live refresh."""

    section = "list"

    @method_decorator(conditional_page)
    def get(self, request: HttpRequest) -> HttpResponse:
        """The list, filtered and cut into pages."""
        form = JobFilterForm(request.GET)
        visible = visible_jobs(request.user).select_related("owner").defer("payload", "result")
        jobs = form.apply(visible)
        before, after = request.GET.get("before", ""), request.GET.get("after", "")
        found = job_slice(jobs, visible, before=before, after=after)
        context = {"page": _page_context(request, found), "filtered": form.is_narrowing}
        if request.GET.get("rows"):
            return self.page("job_events_jobs/_job_table.html", context)
        config = {
            "refreshMs": LIST_REFRESH_MS,
            "socketUrl": _socket_url("ws/events/"),
            "now": timezone.now(),
            "strings": list_page_strings(),
        }
        return self.page(
            "job_events_jobs/job_list.html",
            {
                **context,
                "filter_form": form,
                "page_config": config,
                "processing_stopped": self.processing_stopped(),
            },
        )


def _socket_url(path: str) -> str | None:
    """Where our sockets are, if this process has routes for them; servers log what they lack."""
    config = cast(Any, apps.get_app_config("job_events_jobs"))
    return f"{get_script_prefix()}{path}" if config.has_sockets else None


def _page_context(request: HttpRequest, found: JobSlice) -> dict[str, Any]:
    return {
        "rows": [job_row(job) for job in found.jobs],
        "newer_link": _page_link(request, after=found.newer),
        "older_link": _page_link(request, before=found.older),
    }


def _page_link(request: HttpRequest, **position: str) -> str:
    [(name, job_id)] = position.items()
    if not job_id:
        return ""
    query = request.GET.copy()
    for other in ("before", "after", "rows"):
        query.pop(other, None)
    query[name] = job_id
    return f"{request.path}?{query.urlencode()}"


class JobNewView(PageView):
    """The form that starts a job."""

    section = "new"

    def get(self, request: HttpRequest) -> HttpResponse:
        """The empty form."""
        return self._form_page(NewJobForm(label_suffix=""))

    def post(self, request: HttpRequest) -> HttpResponse:
        """Creates the job and goes to its page."""
        form = NewJobForm(request.POST, request.FILES, label_suffix="")
        if not form.is_valid():
            return self._form_page(form, status=422)
        try:
            job = services.job_create(
                task_type="outline_generation",
                owner=user_of(request),
                title=form.title(),
                payload=form.payload(),
            )
        except JobError as error:
            form.add_error(None, str(error))
            return self._form_page(form, status=422)
        return redirect("job_events:detail", job_id=job.job_id)

    def _form_page(self, form: NewJobForm, status: int = 200) -> HttpResponse:
        context = {"form": form, "offline_model": not job_settings.CHAT_MODEL}
        return self.page("job_events_jobs/job_new.html", context, status=status)


class JobDetailView(PageView):
    """One job, live; a POST cancels it or tries it again."""

    actions = {"cancel": services.job_cancel, "retry": services.job_retry}  # noqa: RUF012

    def get(self, request: HttpRequest, job_id: str) -> HttpResponse:
        """The job as it is now; the script of the page follows it from here."""
        job = self.visible_job(job_id)
        context = _job_context(job, may_change=may_change(request.user, job))
        context["processing_stopped"] = self.processing_stopped()
        return self.page("job_events_jobs/job_detail.html", context)

    def post(self, request: HttpRequest, job_id: str) -> HttpResponse:
        """Cancels or retries, and comes back to the page."""
        job = self.visible_job(job_id)
        action = self.actions.get(request.POST.get("action", ""))
        if action is None:
            return HttpResponse(status=400)
        if not may_change(request.user, job):
            raise PermissionDenied
        try:
            action(job_id=job.job_id, by=user_of(request))
        except JobError as error:
            messages.error(request, str(error), fail_silently=True)
        return redirect("job_events:detail", job_id=job.job_id)


def _job_context(job: Job, *, may_change: bool) -> dict[str, Any]:
    writes_document = job.task_type in DOCUMENT_TASKS
    return {
        "job": job,
        "title": job.title or job.job_id,
        "owner_name": job.owner.get_username() if job.owner else "",
        "percent": percent(job),
        "duration": duration(job.started_at, job.finished_at),
        "may_change": may_change,
        "csrf_header": job_settings.CSRF_HEADER,
        "can_cancel": not job.is_terminal,
        "can_retry": job.status in (Job.Status.FAILED, Job.Status.CANCELLED),
        "writes_document": writes_document,
        "offline_model": writes_document and not job_settings.CHAT_MODEL,
        **_request_context(job.payload),
        "page_config": _job_config(job),
    }


def _request_context(payload: object) -> dict[str, Any]:
    """What was asked for; the payload may come from anybody, so nothing in it is certain."""
    asked = payload if isinstance(payload, dict) else {}
    files = asked.get("context_files")
    return {
        "prompt": _as_text(asked.get("task_prompt")),
        "context_files": [
            {"name": _as_text(file.get("name")), "size": len(_as_text(file.get("text")).encode())}
            for file in (files if isinstance(files, list) else [])
            if isinstance(file, dict)
        ],
    }


def _as_text(value: object) -> str:
    """The string, or "" for anything else; JSON can hold a lone surrogate, a page cannot."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _job_config(job: Job) -> dict[str, Any]:
    return {
        "jobId": job.job_id,
        "apiUrl": reverse("job_events:api-job-list"),
        "socketUrl": _socket_url("ws/jobs/"),
        "inputsUrl": reverse("job_events:api-job-inputs", kwargs={"job_id": job.job_id}),
        "jobUrl": reverse("job_events:api-job-detail", kwargs={"job_id": job.job_id}),
        "job": {
            "status": job.status,
            "attempt": job.attempt,
            "progress": percent(job),
            "error": job.error,
            "started_at": job.started_at,
            "finished_at": job.finished_at,
        },
        "now": timezone.now(),
        "strings": job_page_strings(),
    }


class JobLoginView(LoginView):
    """A login page for projects that have none."""

    template_name = "job_events_jobs/login.html"
    redirect_authenticated_user = True

    def get_default_redirect_url(self) -> str:
        """Where to go without a `next`; the project's LOGIN_REDIRECT_URL may lead nowhere."""
        return reverse("job_events:list")

    def get_form_kwargs(self) -> dict[str, Any]:
        """Labels without a colon, as on the other pages."""
        return {**super().get_form_kwargs(), "label_suffix": ""}

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Says demo/demo where there is such a user."""
        return super().get_context_data(demo_hint=job_settings.DEMO, **kwargs)
