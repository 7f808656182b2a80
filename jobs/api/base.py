"""What all views of the API share: formats, access, and our errors as HTTP's."""

from collections.abc import Callable
from typing import Any, Final

from django.apps import apps
from django.core.handlers.asgi import ASGIRequest
from django.db import DataError, connection
from django.http import StreamingHttpResponse
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.permissions import IsAuthenticated
from rest_framework.renderers import BaseRenderer, BrowsableAPIRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from events.exceptions import (
    CursorExpired,
    EventsError,
    InvalidCursor,
    InvalidEvent,
    InvalidJobId,
    NotAStream,
    OutOfOrderSequence,
    ProducerFenced,
    RedisUnavailable,
)
from events.live.asgi import Frames, stream_response
from events.live.frames import SSE_CONTENT_TYPE
from jobs.access.throttling import ScopeThrottle
from jobs.access.tickets import user_of_ticket
from jobs.api.problem_details import (
    CONTENT_TYPE,
    Conflict,
    Gone,
    OutOfSequence,
    Problem,
    Stale,
    Unavailable,
    problem_response,
)
from jobs.api.renderers import BrowsableRenderer, OrjsonParser, OrjsonRenderer
from jobs.conf import job_settings
from jobs.exceptions import (
    InputNotFound,
    InvalidJob,
    InvalidTicket,
    JobError,
    JobNotFound,
    RunnerNotFound,
)

_ENVELOPE_BYTES: Final = 64 * 1024
# These errors' own words are for those who run the site.
_UNAVAILABLE: Final[dict[type[Exception], str]] = {
    RedisUnavailable: "The event log cannot be read now: Redis does not answer.",
    RunnerNotFound: "Jobs of this task_type cannot be run: their runner is not there.",
}


def as_http(error: EventsError | JobError) -> exceptions.APIException:
    """Our error as the one of HTTP that says the same."""
    match error:
        case InvalidJob():
            return exceptions.ValidationError({error.field: [error.message]})
        case InvalidJobId() | InvalidCursor() | InvalidEvent():
            return exceptions.ParseError(str(error))
        case JobNotFound() | InputNotFound():
            return exceptions.NotFound(str(error))
        case RedisUnavailable() | RunnerNotFound():
            return Unavailable(_UNAVAILABLE[type(error)])
        case CursorExpired():
            problem: Problem = Gone(str(error), first=error.truncated_before, after=error.after)
        case OutOfOrderSequence():
            problem = OutOfSequence(str(error), expected=error.expected)
        case ProducerFenced():
            problem = Stale(str(ProducerFenced.__doc__))
        case JobError() | NotAStream():
            problem = Conflict(str(error))
        case _:
            problem = Unavailable(str(error))
    return problem


def respond_later(
    asked: ASGIRequest, frames: Frames, content_type: str = SSE_CONTENT_TYPE
) -> StreamingHttpResponse:
    """The answer whose body comes by and by, perhaps for hours: it keeps no connection so long."""
    if not connection.in_atomic_block:
        connection.close()
    return stream_response(asked, frames, content_type)


class AnyNegotiation(BaseContentNegotiation):
    """Answers everybody: an EventSource asks for nothing but text/event-stream."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        """The one parser there is."""
        return parsers[0]

    def select_renderer(
        self,
        request: Request,
        renderers: Any,
        format_suffix: str | None = None,
    ) -> tuple[BaseRenderer, str]:
        """JSON, in which errors are told."""
        return OrjsonRenderer(), OrjsonRenderer.media_type


class TicketAuthentication(BaseAuthentication):
    """Whoever shows a ticket in the parameter `ticket` is its user; each job wants its own."""

    def authenticate(self, request: Request) -> tuple[Any, list[str]] | None:
        """The user of the tickets; None without any."""
        tickets = request.query_params.getlist("ticket")
        if not tickets:
            return None
        named = request.parser_context["kwargs"].get("job_id")
        job_ids = [named] if named else request.query_params.getlist("job")
        if len(tickets) != len(job_ids):
            raise exceptions.AuthenticationFailed("Show one ticket for each job, in their order.")
        try:
            users = {user_of_ticket(*each) for each in zip(tickets, job_ids, strict=True)}
        except InvalidTicket as error:
            raise exceptions.AuthenticationFailed(str(error)) from error
        if len(users) > 1:
            raise exceptions.AuthenticationFailed("These tickets are those of several users.")
        return users.pop(), tickets


class JobsAPIView(APIView):
    """A view of this API: for users who are logged in, in whatever way the project lets them."""

    permission_classes = (IsAuthenticated,)
    parser_classes = (OrjsonParser,)

    def scopes(self, request: Request) -> list[str]:
        """The scopes of throttling in which a request counts."""
        return []

    def get_throttles(self) -> list[BaseThrottle]:
        """What the project has set, and ours."""
        scopes = self.scopes(self.request)
        return [*super().get_throttles(), *map(ScopeThrottle, scopes)]

    @property
    def body_limit(self) -> int:
        """The most bytes of a request's body: a job's payload, and what stands round it."""
        return job_settings.MAX_PAYLOAD_BYTES + _ENVELOPE_BYTES

    def get_authenticators(self) -> list[BaseAuthentication]:
        """What the project has set, and the session, by which our own pages ask."""
        authenticators = list(super().get_authenticators())
        if not any(isinstance(a, SessionAuthentication) for a in authenticators):
            authenticators.append(SessionAuthentication())
        return authenticators

    def get_renderers(self) -> list[BaseRenderer]:
        """JSON, and the browsable API where the project has it installed and wants it."""
        renderers: list[BaseRenderer] = [OrjsonRenderer()]
        if apps.is_installed("rest_framework"):
            wanted = any(issubclass(r, BrowsableAPIRenderer) for r in self.renderer_classes)
            renderers += [BrowsableRenderer()] if wanted else []
        return renderers

    def perform_authentication(self, request: Request) -> None:
        """Authenticate; a user name that PostgreSQL has no form for (NUL) is nobody's."""
        try:
            super().perform_authentication(request)
        except DataError as error:
            raise exceptions.AuthenticationFailed from error

    def handle_exception(self, exc: Exception) -> Response:
        """Answer our own errors with their HTTP status."""
        if isinstance(exc, (EventsError, JobError)):
            exc = as_http(exc)
        return super().handle_exception(exc)

    def get_exception_handler(self) -> Callable[[Exception, Any], Response | None]:
        """One shape of errors, whatever the rest of the project's API has."""
        return problem_response

    def finalize_response(
        self, request: Request, response: Response, *args: Any, **kwargs: Any
    ) -> Response:
        """Say of an error in JSON that it is a problem."""
        answer = super().finalize_response(request, response, *args, **kwargs)
        renderer = getattr(answer, "accepted_renderer", None)  # a stream has none
        if isinstance(renderer, OrjsonRenderer) and answer.exception:
            answer.content_type = CONTENT_TYPE
        return answer
