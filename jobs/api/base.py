"""What all views of the API share: formats, access, and our errors as HTTP's."""

from typing import Any

from django.apps import apps
from rest_framework import exceptions, status
from rest_framework.permissions import IsAuthenticated
from rest_framework.renderers import BaseRenderer, BrowsableAPIRenderer
from rest_framework.response import Response
from rest_framework.views import APIView

from events.exceptions import (
    EventsError,
    InvalidCursor,
    InvalidEvent,
    InvalidJobId,
    NotAStream,
    RedisUnavailable,
)
from jobs.api.formats import OrjsonParser, OrjsonRenderer
from jobs.exceptions import InvalidJob, JobError, JobNotFound
from jobs.models import Job
from jobs.selectors import visible_job


class Conflict(exceptions.APIException):
    """The job, or its log, is not in a state that allows this."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "conflict"


class LogUnavailable(exceptions.APIException):
    """The log cannot be read now."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_code = "log_unavailable"


def as_http(error: EventsError | JobError) -> exceptions.APIException:
    """Our error as the one of HTTP that says the same."""
    match error:
        case InvalidJob():
            return exceptions.ValidationError({error.field: [error.message]})
        case InvalidJobId() | InvalidCursor() | InvalidEvent():
            return exceptions.ParseError(str(error))
        case JobNotFound():
            return exceptions.NotFound(str(error))
        case JobError() | NotAStream():
            return Conflict(str(error))
        case RedisUnavailable():
            return LogUnavailable("The event log cannot be read now: Redis does not answer.")
        case _:
            return LogUnavailable(str(error))


class JobsAPIView(APIView):
    """A view of this API: for users who are logged in, in whatever way the project lets them."""

    permission_classes = (IsAuthenticated,)
    parser_classes = (OrjsonParser,)

    def get_renderers(self) -> list[BaseRenderer]:
        """JSON, and the browsable API where the project has it installed and wants it."""
        renderers: list[BaseRenderer] = [OrjsonRenderer()]
        if apps.is_installed("rest_framework"):
            renderers += [r() for r in self.renderer_classes if issubclass(r, BrowsableAPIRenderer)]
        return renderers

    def handle_exception(self, exc: Exception) -> Response:
        """Answer our own errors with their HTTP status."""
        if isinstance(exc, (EventsError, JobError)):
            exc = as_http(exc)
        return super().handle_exception(exc)

    def job(self, **kwargs: Any) -> Job:
        """The job of the URL, if the caller may see it; 404 otherwise, 400 for a bad job_id."""
        return visible_job(self.request.user, (kwargs or self.kwargs)["job_id"])
