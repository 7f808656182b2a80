"""What jobs ask, and the answers."""

from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from jobs import inputs
from jobs.api.base import JobsAPIView
from jobs.api.query import refuse_unknown
from jobs.api.serializers import InputGiveSerializer, InputRequestSerializer
from jobs.api.views.jobs import changeable_job
from jobs.selectors import user_of, visible_job


class JobInputsView(JobsAPIView):
    """What a job asks a person, and has asked."""

    def get(self, request: Request, job_id: str) -> Response:
        """List the questions of all attempts, oldest first; an open one has no `answered_at`."""
        refuse_unknown(request.query_params, {"format"})
        asked = visible_job(request.user, job_id).inputs.all()
        return Response({"results": InputRequestSerializer(asked, many=True).data})

    def post(self, request: Request, job_id: str) -> Response:
        """Answer a question; 409 if it was answered, or the job does not run any more."""
        changeable_job(request, job_id)
        given = InputGiveSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        answer = given.validated_data
        answered = inputs.input_give(job_id=job_id, by=user_of(request), **answer)
        return Response(InputRequestSerializer(answered).data, status.HTTP_200_OK)
