"""Views of jobs: list, create, count, retrieve, delete, cancel, retry, and their questions."""

from typing import Any, Final

import orjson
from django.db.models import QuerySet
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.views.decorators.http import conditional_page
from rest_framework import status
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from events.counts import capped_count
from events.producer.external import digest_of
from jobs import inputs, services
from jobs.api.base import JobsAPIView, api_url
from jobs.api.pagination import JobPagination
from jobs.api.problem_details import Problem
from jobs.api.query import (
    IDEMPOTENCY_KEY,
    IdempotencyHeaders,
    JobCountsQuery,
    JobListQuery,
    RequestParameters,
)
from jobs.api.serializers import (
    InputGiveSerializer,
    InputRequestSerializer,
    JobCancelSerializer,
    JobCreateSerializer,
    JobListSerializer,
    JobRetrySerializer,
    JobSerializer,
)
from jobs.exceptions import AlreadyCreated
from jobs.models import Job
from jobs.selectors import (
    has_permission,
    list_rows,
    may_change,
    may_delete,
    may_start,
    search_jobs,
    user_of,
    visible_job,
    visible_jobs,
)

# A chosen id may name the log of another program. Its errors show which ids exist.
_CHOOSE_ID: Final = "job_events_jobs.add_job"


def _found(request: Request, query: dict[str, Any]) -> QuerySet[Job]:
    """Return the visible jobs that meet the conditions of a query."""
    return search_jobs(visible_jobs(request.user).filter(query["jobs"]), query["search"] or "")


class JobListView(JobsAPIView):
    """The jobs of the caller."""

    @method_decorator(conditional_page)
    def get(self, request: Request) -> Response:
        """List the jobs visible to the caller.

        Ordered by `finished_at`, the list contains finished jobs only.
        """
        query = JobListQuery.read(request)
        jobs = _found(request, query)
        if "finished_at" in query["ordering"]:
            jobs = jobs.filter(finished_at__isnull=False)
        paginator = JobPagination(query)
        page = paginator.paginate_queryset(list_rows(jobs), request, view=self)
        return paginator.get_paginated_response(JobListSerializer(page, many=True).data)

    def post(self, request: Request) -> Response:
        """Create a job; if its task_type has a runner, the job starts at once.

        A request with an `Idempotency-Key` may be repeated: the response is the existing job.
        """
        fields = JobCreateSerializer.read(request.data)
        if not may_start(request.user, fields["task_type"]):
            raise PermissionDenied(_("The user may not start jobs of this task_type."))
        if "job_id" in fields and not has_permission(request.user, _CHOOSE_ID):
            text = _("Choosing a job_id requires the permission %(name)s.")
            raise PermissionDenied(text % {"name": _CHOOSE_ID})
        creation = None
        if (key := IdempotencyHeaders.read(request)[IDEMPOTENCY_KEY]) is not None:
            creation = digest_of([key]), digest_of([_as_text(fields)])
            created = Job.objects.filter(owner_id=user_of(request).pk, idempotency_key=creation[0])
            if (job := created.first()) is not None:
                return _repeated(request, job, creation)
        try:
            job = services.job_create(owner=user_of(request), creation=creation, **fields)
        except AlreadyCreated as error:
            return _repeated(request, error.job, creation)
        return _created(request, job, status.HTTP_201_CREATED)


def _as_text(fields: dict[str, Any]) -> str:
    try:
        return orjson.dumps(fields, option=orjson.OPT_SORT_KEYS).decode()
    except TypeError:  # too deep; the service refuses it
        return ""


def _repeated(request: Request, job: Job, creation: tuple[str, str] | None) -> Response:
    if creation is None or creation[1] != job.request_fingerprint:
        text = _("This %(header)s was sent with another request, for job %(job_id)s.")
        raise Problem("key-used", text % {"header": IDEMPOTENCY_KEY, "job_id": job.job_id})
    return _created(request, job, status.HTTP_200_OK)


def _created(request: Request, job: Job, code: int) -> Response:
    url = api_url(request, "api-job-detail", job_id=job.job_id)
    return Response(JobSerializer(job).data, code, headers={"Location": url})


class JobCountsView(JobsAPIView):
    """The number of jobs by status."""

    @method_decorator(conditional_page)
    def get(self, request: Request) -> Response:
        """Count the jobs visible to the caller, by status.

        The count of more than 10,000 jobs is 10,001.
        """
        jobs = _found(request, JobCountsQuery.read(request))
        counts = {str(status): capped_count(jobs.filter(status=status)) for status in Job.Status}
        return Response(counts)


class JobDetailView(JobsAPIView):
    """A job."""

    @method_decorator(conditional_page)
    def get(self, request: Request, job_id: str) -> Response:
        """Retrieve a job."""
        RequestParameters.read(request)
        return Response(JobSerializer(visible_job(request.user, job_id)).data)

    def delete(self, request: Request, job_id: str) -> Response:
        """Delete a job and its log for good.

        A running job is stopped. Its readers are disconnected, and its id is refused for 30 days.
        """
        RequestParameters.read(request)
        if not may_delete(request.user, visible_job(request.user, job_id)):
            raise PermissionDenied(_("Only the owner of this job may delete it."))
        services.job_delete(job_id=job_id, by=user_of(request))
        return Response(status=status.HTTP_204_NO_CONTENT)


def _check_may_change(request: Request, job_id: str) -> None:
    """Raise JobNotFound unless the job is visible, PermissionDenied unless it is the caller's."""
    if not may_change(request.user, visible_job(request.user, job_id)):
        raise PermissionDenied(_("Only the owner of this job may change it."))


class JobCancelView(JobsAPIView):
    """Cancellation of a job."""

    def post(self, request: Request, job_id: str) -> Response:
        """Cancel a job; 409 if it is finished. With `terminate` the queue stops its tasks."""
        _check_may_change(request, job_id)
        fields = JobCancelSerializer.read(request.data)
        job = services.job_cancel(job_id=job_id, by=user_of(request), **fields)
        return Response(JobSerializer(job).data)


class JobRetryView(JobsAPIView):
    """Retry of a job."""

    def post(self, request: Request, job_id: str) -> Response:
        """Start a new attempt; 409 unless the job failed or was cancelled."""
        _check_may_change(request, job_id)
        fields = JobRetrySerializer.read(request.data)
        job = services.job_retry(job_id=job_id, by=user_of(request), **fields)
        return Response(JobSerializer(job).data)


class JobInputsView(JobsAPIView):
    """The questions of a job."""

    def get(self, request: Request, job_id: str) -> Response:
        """List the questions of all attempts, oldest first; an open one has no `answered_at`."""
        RequestParameters.read(request)
        questions = visible_job(request.user, job_id).inputs.all()
        return Response({"results": InputRequestSerializer(questions, many=True).data})

    def post(self, request: Request, job_id: str) -> Response:
        """Answer a question; 409 if it was answered already or the job does not run."""
        _check_may_change(request, job_id)
        fields = InputGiveSerializer.read(request.data)
        question = inputs.input_give(job_id=job_id, by=user_of(request), **fields)
        return Response(InputRequestSerializer(question).data)
