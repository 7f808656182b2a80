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
from jobs.conf import job_settings
from jobs.exceptions import JobError
from jobs.execution import dispatch
from jobs.models import Job
from jobs.pages.job_strings import job_page_strings
from jobs.pages.views import PageView, duration_clock, socket_url
from jobs.selectors import may_change, user_of, visible_jobs


class JobDetailPage(PageView):
    """One job, live. POST cancels or retries it."""

    actions = {"cancel": services.job_cancel, "retry": services.job_retry}  # noqa: RUF012

    def get(self, request: HttpRequest, job_id: str) -> HttpResponse:
        """Render the job in its current state. The script follows the log from there."""
        job = get_object_or_404(visible_jobs(request.user), job_id=job_id)
        context = {
            "job": job,
            "percent": round(job.progress),
            "created_at": aware_time(job.created_at),
            "duration": duration_clock(job),
            "may_change": may_change(request.user, job),
            "csrf_header": job_settings.CSRF_HEADER,
            "can_cancel": job.status in transitions.CANCEL.allowed_from,
            "can_retry": job.status in transitions.RETRY.allowed_from,
            "result_template": dispatch.runner_entry(job.task_type).get("result_template"),
            "page_config": _job_config(job),
        }
        return self.page("job_events_jobs/job_detail.html", context)

    def post(self, request: HttpRequest, job_id: str) -> HttpResponse:
        job = get_object_or_404(visible_jobs(request.user), job_id=job_id)
        action = self.actions.get(request.POST.get("action", ""))
        if action is None:
            return HttpResponse(status=400)
        if not may_change(request.user, job):
            raise PermissionDenied
        try:
            action(job_id=job.job_id, by=user_of(request))
        except JobError as error:
            messages.error(request, problem_of(error)["detail"], fail_silently=True)
        return redirect("job_events:detail", job_id=job.job_id)


def _job_config(job: Job) -> dict[str, Any]:
    return {
        "jobId": job.job_id,
        "apiUrl": reverse("job_events:api-job-list"),
        "socketUrl": socket_url("ws/jobs/"),
        "inputsUrl": reverse("job_events:api-job-inputs", kwargs={"job_id": job.job_id}),
        "jobUrl": reverse("job_events:api-job-detail", kwargs={"job_id": job.job_id}),
        "job": {
            "status": job.status,
            "attempt": job.attempt,
            "progress": round(job.progress),
            "error": job.error,
            "started_at": job.started_at and aware_time(job.started_at),
            "finished_at": job.finished_at and aware_time(job.finished_at),
        },
        "now": aware_time(timezone.now()),
        "timeZone": timezone.get_current_timezone_name(),
        "strings": job_page_strings(),
    }
