"""The base class of the API views: formats, authentication, throttling, error responses."""

from typing import Any, Final, cast
from uuid import uuid4

from django.apps import apps
from django.core.handlers.asgi import ASGIRequest
from django.db import DataError
from django.http import HttpRequest, StreamingHttpResponse
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django.utils.translation import gettext as _
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.metadata import SimpleMetadata
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.permissions import IsAuthenticated
from rest_framework.renderers import BaseRenderer, BrowsableAPIRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import DEFAULTS, IMPORT_STRINGS, APISettings
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from events.database import UNAVAILABLE, close_connections, non_atomic
from events.live.asgi import Frames, stream_response
from events.live.frames import SSE_CONTENT_TYPE
from events.live.rejection import CONTENT_TYPE, REVALIDATE
from events.translation import translated
from jobs.access.logins import Login, Logins, logins_of, stored_user
from jobs.access.throttling import ScopeThrottle
from jobs.access.tickets import use_ticket
from jobs.api.problem_details import problem_response
from jobs.api.renderers import BrowsableRenderer, OrjsonParser, OrjsonRenderer
from jobs.conf import job_settings
from jobs.exceptions import InvalidTicket

_ENVELOPE_BYTES: Final = 64 * 1024
# Instead of those of the project: no key of REST_FRAMEWORK changes what a parameter means.
_SETTINGS: Final = APISettings(
    cast(Any, {"EXCEPTION_HANDLER": problem_response, "FORMAT_SUFFIX_KWARG": None}),
    DEFAULTS,
    IMPORT_STRINGS,
)


def is_asgi(request: Request) -> bool:
    """Return whether the server is an ASGI server."""
    return isinstance(request._request, ASGIRequest)  # noqa: SLF001 - DRF has no public name for it


def streaming_response(
    request: Request, frames: Frames, content_type: str = SSE_CONTENT_TYPE
) -> StreamingHttpResponse:
    """Return a response with an asynchronous body; closes this thread's database connections first.

    The body may last for hours and must not hold a connection.
    """
    close_connections()
    return stream_response(request, frames, content_type)


def api_url(request: Request | HttpRequest, name: str, **kwargs: str) -> str:
    """Return the URL of another route of the API, in the namespace of the current route."""
    match = request.resolver_match
    namespace = match.namespace if match else ""
    return reverse(f"{namespace}:{name}" if namespace else name, kwargs=kwargs)


class JobsNegotiation(DefaultContentNegotiation):
    """Negotiates by the Accept header, and by the parameter `format`.

    Generated clients accept problems alone, if the response to a success has no body.
    """

    settings: Any = _SETTINGS

    def get_accept_list(self, request: Request) -> list[str]:
        accepted: list[str] = super().get_accept_list(request)
        has_problem = any(each.partition(";")[0] == CONTENT_TYPE for each in accepted)
        return [*accepted, OrjsonRenderer.media_type] if has_problem else accepted


class AnyNegotiation(JobsNegotiation):
    """Ignores the Accept header: the view chooses the format, errors are JSON."""

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        return OrjsonRenderer(), OrjsonRenderer.media_type


class TicketAuthentication(BaseAuthentication):
    """Authenticates by the parameter `ticket`: one for each job of the request, in their order."""

    def authenticate(self, request: Request) -> tuple[Any, Logins] | None:
        tickets = request.query_params.getlist("ticket")
        if not tickets:
            return None
        job_id = request.parser_context["kwargs"].get("job_id")
        job_ids = [job_id] if job_id else request.query_params.getlist("job")
        if len(tickets) != len(job_ids):
            raise exceptions.AuthenticationFailed(
                _("Send one ticket for each job, in their order.")
            )
        users, logins, connection = set[Any](), frozenset[Login](), uuid4()
        for ticket, job_id in zip(tickets, job_ids, strict=True):
            try:
                user, of_ticket = use_ticket(ticket, job_id, connection)
            except InvalidTicket as error:
                raise exceptions.AuthenticationFailed(translated(error)) from error
            users.add(user)
            logins |= of_ticket
        if len(users) > 1:
            raise exceptions.AuthenticationFailed(_("The tickets belong to different users."))
        return users.pop(), logins


def logins_of_request(request: Request) -> Logins:
    """Return the logins of an authenticated request. May load the session from the database."""
    if isinstance(request.auth, frozenset):
        return request.auth  # of TicketAuthentication
    return logins_of(request.user, getattr(request, "session", None), request.auth)


class JobsAPIView(APIView):
    """Base class of the API views.

    Authentication is that of the project and the session; the format of requests, responses and
    errors does not depend on the project's REST_FRAMEWORK setting.
    """

    # Of every response, also of errors, unless the view sets another value.
    cache_control = REVALIDATE
    settings = _SETTINGS
    versioning_class = None
    content_negotiation_class: Any = JobsNegotiation
    metadata_class = SimpleMetadata
    permission_classes = (IsAuthenticated,)
    parser_classes = (OrjsonParser,)

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Any:
        """Return the view without ATOMIC_REQUESTS, which queries the database before the view.

        Each service is a transaction.
        """
        return non_atomic(super().as_view(**initkwargs))

    def scopes(self, request: Request) -> list[str]:
        """Return the throttle scopes in which the request counts."""
        return []

    def get_throttles(self) -> list[BaseThrottle]:
        return [*super().get_throttles(), *map(ScopeThrottle, self.scopes(self.request))]

    @property
    def body_limit(self) -> int:
        """Maximum bytes of a request body: a payload and the fields around it."""
        return job_settings.MAX_PAYLOAD_BYTES + _ENVELOPE_BYTES

    def get_authenticators(self) -> list[BaseAuthentication]:
        """Return the project's authenticators, and that of the session, which the pages use."""
        authenticators = super().get_authenticators()
        has_session = any(isinstance(each, SessionAuthentication) for each in authenticators)
        return authenticators if has_session else [*authenticators, SessionAuthentication()]

    def get_renderers(self) -> list[BaseRenderer]:
        """Return JSON, and the browsable API if the project has installed and enabled it."""
        is_enabled = any(issubclass(each, BrowsableAPIRenderer) for each in self.renderer_classes)
        is_browsable = is_enabled and apps.is_installed("rest_framework")
        return [OrjsonRenderer(), BrowsableRenderer()] if is_browsable else [OrjsonRenderer()]

    def perform_authentication(self, request: Request) -> None:
        """Authenticate; treat a username with NUL, which PostgreSQL refuses, as unknown."""
        try:
            super().perform_authentication(request)
            request.user = stored_user(request.user)
        except DataError as error:
            raise exceptions.AuthenticationFailed from error

    def handle_exception(self, exc: Exception) -> Response:
        """Return the response to an error; the browsable API would query a failing database."""
        if isinstance(exc, UNAVAILABLE):
            renderer = OrjsonRenderer()
            self.request.accepted_renderer = renderer
            self.request.accepted_media_type = renderer.media_type
        return super().handle_exception(exc)

    def finalize_response(
        self, request: Request, response: Response, *args: Any, **kwargs: Any
    ) -> Response:
        final = super().finalize_response(request, response, *args, **kwargs)
        renderer = getattr(final, "accepted_renderer", None)  # a streaming response has none
        if isinstance(renderer, OrjsonRenderer) and final.exception:
            final.content_type = CONTENT_TYPE
        final.headers.setdefault("Cache-Control", self.cache_control)
        patch_vary_headers(final, ("Authorization", "Cookie"))
        return final
