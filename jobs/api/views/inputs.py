"""View of the questions of a job."""

from rest_framework.request import Request
from rest_framework.response import Response

from jobs import inputs
from jobs.api.base import JobsAPIView
from jobs.api.query import RequestParameters
from jobs.api.serializers import InputGiveSerializer, InputRequestSerializer
from jobs.api.views.jobs import check_may_change
from jobs.selectors import user_of, visible_job


class JobInputsView(JobsAPIView):
    """The questions of a job."""

    def get(self, request: Request, job_id: str) -> Response:
        """List the questions of all attempts, oldest first; an open one has no `answered_at`."""
        RequestParameters.read(request)
        questions = visible_job(request.user, job_id).inputs.all()
        return Response({"results": InputRequestSerializer(questions, many=True).data})

    def post(self, request: Request, job_id: str) -> Response:
        """Answer a question; 409 if it was answered already or the job does not run."""
        check_may_change(request, job_id)
        fields = InputGiveSerializer.read(request.data)
        question = inputs.input_give(job_id=job_id, by=user_of(request), **fields)
        return Response(InputRequestSerializer(question).data)
