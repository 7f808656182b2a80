"""Credentials of the handshake of a WebSocket: its Origin and its Authorization header."""

from typing import Any, Final

from channels.security.websocket import AllowedHostsOriginValidator
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest
from rest_framework.authentication import SessionAuthentication
from rest_framework.request import Request
from rest_framework.settings import api_settings

from jobs.access.logins import Logins, logins_of

_HEADER: Final = b"authorization"


class SocketOriginValidator:
    """ASGI application that checks the Origin, like Channels' `AllowedHostsOriginValidator`.

    Browsers always send an Origin. A handshake without one is of a program, which may authenticate
    by a ticket or an Authorization header; its cookies are removed.
    """

    def __init__(self, application: Any) -> None:
        self._application = application
        self._validated: Any = AllowedHostsOriginValidator(application)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if any(name == b"origin" for name, _value in scope["headers"]):
            await self._validated(scope, receive, send)
            return
        headers = [header for header in scope["headers"] if header[0] != b"cookie"]
        await self._application({**scope, "headers": headers}, receive, send)


def header_user(scope: Any) -> tuple[Any, Logins]:
    """Return the user and the logins of the Authorization header; runs queries.

    The authentication is that of the project's REST framework, without its sessions. Raises
    APIException for invalid credentials; a missing or unknown header is of an anonymous user.
    """
    headers = dict(scope["headers"])
    if _HEADER in headers:
        request = HttpRequest()
        request.method = "GET"
        request.META["HTTP_AUTHORIZATION"] = headers[_HEADER].decode("latin-1")
        request.META["HTTP_HOST"] = headers.get(b"host", b"").decode("latin-1")
        classes: Any = api_settings.DEFAULT_AUTHENTICATION_CLASSES
        authenticators = [each() for each in classes if not issubclass(each, SessionAuthentication)]
        found: Any = Request(request, authenticators=authenticators)
        if found.successful_authenticator is not None:
            return found.user, logins_of(found.user, token=found.auth)
    return AnonymousUser(), frozenset()
