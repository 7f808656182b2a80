"""View of the page of one job, the run page."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils import timezone

from events.database import aware_time
from jobs import services, transitions
from jobs.api.problem_details import problem_of
from jobs.api.serializers import InputRequestSerializer, JobSerializer
from jobs.conf import job_settings
from jobs.exceptions import JobError
from jobs.execution import dispatch
from jobs.models import Job
from jobs.pages.job_facts import facts, head, json_text, problem, prompt_text
from jobs.pages.job_strings import job_page_strings, tab_labels
from jobs.pages.views import PageView, socket_url
from jobs.selectors import may_change, user_of, visible_jobs
from jobs.validators import parse_attempt


class JobDetailPage(PageView):
    """One job, live. POST cancels or retries it."""

    def get(self, request: HttpRequest, job_id: str) -> HttpResponse:
        """Render the job in its current state. The script reads the log, and follows it."""
        job = get_object_or_404(visible_jobs(request.user), job_id=job_id)
        template = dispatch.runner_entry(job.task_type).get("result_template")
        opened = _opened_tab(request.GET.get("tab"), job, has_template=bool(template))
        config = _job_config(job, may_change=may_change(request.user, job))
        questions = _open_questions(job)
        context = {
            "job": job,
            "attempts": list(job.attempts.all()),
            "may_change": config["mayChange"],
            "can_cancel": job.status in transitions.CANCEL.allowed_from,
            "can_retry": job.status in transitions.RETRY.allowed_from,
            "export_url": reverse("job_events:api-job-events-export", args=[job.job_id]),
            "result_template": template,
            "result_text": json_text(job.result),
            "input_text": json_text(job.payload or None),
            "tabs": [{"name": name, "label": label} for name, label in tab_labels().items()],
            "opened": opened,
            "questions": [prompt_text(each["prompt"]) for each in questions],
            "page_config": config,
            **head(job, is_waiting=bool(questions)),
        }
        context["facts"] = facts(job, config["job"], context["attempts"])
        context["problem"] = problem(job, context["attempts"], context["phase_text"])
        return self.page("job_events_jobs/job_detail.html", context)

    def post(self, request: HttpRequest, job_id: str) -> HttpResponse:
        job = get_object_or_404(visible_jobs(request.user), job_id=job_id)
        action = request.POST.get("action")
        if action not in ("cancel", "retry"):
            return HttpResponse(status=400)
        if not may_change(request.user, job):
            raise PermissionDenied
        change: dict[str, Any] = {
            "job_id": job.job_id,
            "by": user_of(request),
            "attempt": parse_attempt(request.POST.get("attempt", "")),
        }
        try:
            if action == "retry":
                services.job_retry(**change)
            else:
                services.job_cancel(**change, terminate="terminate" in request.POST)
        except JobError as error:
            messages.error(request, problem_of(error)["detail"], fail_silently=True)
        return redirect("job_events:detail", job_id=job.job_id)


def _opened_tab(chosen: str | None, job: Job, *, has_template: bool) -> str:
    if chosen in tab_labels():
        return chosen
    shows_result = has_template and job.status != Job.Status.FAILED
    return "result" if shows_result else "timeline"


def _open_questions(job: Job) -> list[dict[str, Any]]:
    if job.status != Job.Status.RUNNING:
        return []
    requests = job.inputs.filter(attempt=job.attempt, answered_at=None)
    return [dict(each) for each in InputRequestSerializer(requests, many=True).data]


def _job_config(job: Job, *, may_change: bool) -> dict[str, Any]:
    kwargs = {"job_id": job.job_id}
    return {
        "jobId": job.job_id,
        "apiUrl": reverse("job_events:api-job-list"),
        "socketUrl": socket_url("ws/jobs/"),
        "inputsUrl": reverse("job_events:api-job-inputs", kwargs=kwargs),
        "jobUrl": reverse("job_events:api-job-detail", kwargs=kwargs),
        "mayChange": may_change,
        "csrfHeader": job_settings.CSRF_HEADER,
        "job": dict(JobSerializer(job).data),
        "currency": job_settings.CURRENCY,
        "now": aware_time(timezone.now()),
        "timeZone": timezone.get_current_timezone_name(),
        "strings": job_page_strings(),
    }
