"""The views of jobs: list, create, retrieve, cancel, retry."""

from typing import Any

import orjson
from django.db.models import Count
from django.http import HttpRequest
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views.decorators.http import conditional_page
from rest_framework import status
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from events.history import has_log
from events.producer.external import digest_of
from jobs import services
from jobs.access.tickets import SECONDS, make_ticket
from jobs.api.base import JobsAPIView
from jobs.api.filters import JOB_LIST_FILTERS, JobListFilter, filtered_jobs
from jobs.api.pagination import JobPagination
from jobs.api.problem_details import Conflict, KeyUsed
from jobs.api.producer_headers import IDEMPOTENCY_KEY, name_header
from jobs.api.query import refuse_unknown
from jobs.api.serializers import (
    JobCancelSerializer,
    JobCreateSerializer,
    JobListSerializer,
    JobSerializer,
)
from jobs.exceptions import AlreadyCreated
from jobs.models import Job
from jobs.selectors import (
    has_permission,
    may_change,
    may_start,
    user_of,
    visible_job,
    visible_status,
)


class JobListView(JobsAPIView):
    """The caller's jobs, and a new one."""

    @method_decorator(conditional_page)
    def get(self, request: Request) -> Response:
        """List the jobs that the caller may see."""
        query = request.query_params
        refuse_unknown(query, {"cursor", "limit", "ordering", "format"} | JOB_LIST_FILTERS)
        jobs = filtered_jobs(request, JobListFilter).select_related("owner")
        if "finished_at" in query.get("ordering", ""):
            jobs = jobs.filter(finished_at__isnull=False)
        pages = JobPagination()
        page = pages.paginate_queryset(jobs.defer("payload", "result"), request, view=self)
        return pages.get_paginated_response(JobListSerializer(page, many=True).data)

    def post(self, request: Request) -> Response:
        """Create a job; one whose task_type has a runner starts at once.

        A request with an `Idempotency-Key` may come again: it is answered with the job there is.
        """
        given = JobCreateSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        fields, creation = given.validated_data, None
        if not may_start(request.user, fields["task_type"]):
            raise PermissionDenied("The user may not start jobs of this task_type.")
        if (key := name_header(request.headers, IDEMPOTENCY_KEY)) is not None:
            creation = digest_of([key]), digest_of([_as_text(fields)])
        if creation is None or not _is_created(request, creation):
            _refuse_foreign_log(request, fields.get("job_id"))
        try:
            job = services.job_create(owner=user_of(request), creation=creation, **fields)
        except AlreadyCreated as error:
            return _again(error.job, creation)
        return _created(job, status.HTTP_201_CREATED)


def _as_text(fields: dict[str, Any]) -> str:
    try:
        return orjson.dumps(fields, option=orjson.OPT_SORT_KEYS).decode()
    except TypeError:  # it is too deep, and refused as such
        return ""


def _is_created(request: Request, creation: tuple[str, str]) -> bool:
    created = Job.objects.filter(owner_id=user_of(request).pk, idempotency_key=creation[0])
    return created.exists()


def _again(job: Job, creation: tuple[str, str] | None) -> Response:
    if creation is None or creation[1] != job.request_fingerprint:
        raise KeyUsed(f"This {IDEMPOTENCY_KEY} came with another request, for job {job.job_id}.")
    return _created(job, status.HTTP_200_OK)


def _created(job: Job, code: int) -> Response:
    url = reverse("job_events:api-job-detail", kwargs={"job_id": job.job_id})
    return Response(JobSerializer(job).data, code, headers={"Location": url})


def _refuse_foreign_log(request: Request, job_id: str | None) -> None:
    """A log may be older than its job; who chooses its job_id must not come to own it so."""
    if job_id is None or has_permission(request.user, "job_events_jobs.add_job"):
        return
    if has_log(job_id):
        raise Conflict(f"There is a log of the name {job_id} already.")


class JobCountsView(JobsAPIView):
    """How many jobs there are."""

    @method_decorator(conditional_page)
    def get(self, request: Request) -> Response:
        """Count the jobs that the caller may see, by status; a status without any has 0."""
        refuse_unknown(request.query_params, {"format"} | JOB_LIST_FILTERS)
        jobs = filtered_jobs(request, JobListFilter).order_by()
        counts = dict(jobs.values_list("status").annotate(Count("pk")))
        return Response({str(status): counts.get(str(status), 0) for status in Job.Status})


class JobDetailView(JobsAPIView):
    """One job."""

    @method_decorator(conditional_page)
    def get(self, request: HttpRequest, job_id: str) -> Response:
        """Retrieve the job."""
        refuse_unknown(request.GET, {"format"})
        return Response(JobSerializer(visible_job(request.user, job_id)).data)


def changeable_job(request: Request, job_id: str) -> None:
    """Refuse whoever may see the job, and nothing else: 403."""
    if not may_change(request.user, visible_job(request.user, job_id)):
        raise PermissionDenied("This job is another user's: you may see it, not change it.")


class JobCancelView(JobsAPIView):
    """The end of a job that nobody wants any more."""

    def post(self, request: Request, job_id: str) -> Response:
        """Cancel the job; 409 if it is over. With `terminate` its queue ends its tasks."""
        changeable_job(request, job_id)
        given = JobCancelSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        how = given.validated_data
        job = services.job_cancel(job_id=job_id, by=user_of(request), **how)
        return Response(JobSerializer(job).data)


class JobTicketView(JobsAPIView):
    """The right to watch a job for who can show neither cookie nor header."""

    def post(self, request: Request, job_id: str) -> Response:
        """Make a ticket for the parameter `ticket` of the job's stream and socket."""
        visible_status(request.user, job_id)
        ticket = {"ticket": make_ticket(request.user, job_id), "expires_in": SECONDS}
        return Response(ticket, status.HTTP_201_CREATED, headers={"Cache-Control": "no-store"})


class JobRetryView(JobsAPIView):
    """A new attempt at a job."""

    def post(self, request: Request, job_id: str) -> Response:
        """Retry the job; 409 unless it failed or was cancelled."""
        changeable_job(request, job_id)
        job = services.job_retry(job_id=job_id, by=user_of(request))
        return Response(JobSerializer(job).data)
