"""Credentials of the handshake of a WebSocket: its Origin and its Authorization header."""

from typing import Any, Final
from urllib.parse import parse_qs

from channels.security.websocket import AllowedHostsOriginValidator
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest
from rest_framework.authentication import SessionAuthentication
from rest_framework.request import Request
from rest_framework.settings import api_settings

from jobs.access.logins import Logins, logins_of, stored_user

_HEADER: Final = b"authorization"


def has_ticket(scope: Any) -> bool:
    """Return whether the URL of a handshake has a ticket."""
    query = scope["query_string"].decode("latin-1")
    return "ticket" in parse_qs(query, keep_blank_values=True)


class SocketOriginValidator:
    """ASGI application that checks the Origin, like Channels' `AllowedHostsOriginValidator`.

    A ticket in the URL is valid from any Origin, and alone: the browser adds cookies, and perhaps
    an Authorization header, to what a page of another site sends. A handshake without an Origin is
    of a program; its cookies are removed.
    """

    def __init__(self, application: Any) -> None:
        self._application = application
        self._validated: Any = AllowedHostsOriginValidator(application)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        has_origin = any(name == b"origin" for name, _value in scope["headers"])
        if has_origin and not has_ticket(scope):
            await self._validated(scope, receive, send)
            return
        removed = (b"cookie", _HEADER) if has_origin else (b"cookie",)
        headers = [header for header in scope["headers"] if header[0] not in removed]
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
            user = stored_user(found.user)
            return user, logins_of(user, token=found.auth)
    return AnonymousUser(), frozenset()
