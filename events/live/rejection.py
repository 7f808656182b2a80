"""Rejection of requests, handshakes and pages: problem details (RFC 9457), and a page."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from http import HTTPStatus
from typing import Any, Final

import orjson
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string
from django.template.response import SimpleTemplateResponse
from django.utils.cache import patch_vary_headers
from django.utils.translation import gettext_lazy as _

from events.database import UNAVAILABLE, non_atomic
from events.error_text import ErrorText
from events.exceptions import EventsError
from events.live.threads import MAX_WAIT_SECONDS
from events.log_format import log_failure
from events.translation import scope_language, translated

logger = logging.getLogger(__name__)

Send = Callable[[Any], Awaitable[None]]
View = Callable[..., HttpResponseBase]

CONTENT_TYPE: Final = "application/problem+json"
NO_STORE: Final = "private, no-store"
REVALIDATE: Final = "private, no-cache"
TYPE_PREFIX: Final = "urn:job-events:"
_TRY_AGAIN_LATER: Final = 1013  # https://www.iana.org/assignments/websocket
# https://asgi.readthedocs.io/en/latest/extensions.html#websocket-denial-response
_EXTENSION: Final = "websocket.http.response"
_HEADERS: Final = [
    (b"content-type", CONTENT_TYPE.encode()), (b"cache-control", NO_STORE.encode()),
]  # fmt: skip


def problem(status: int, problem_type: str, detail: str) -> dict[str, Any]:
    """Return the body of an error response: the problem details of RFC 9457."""
    return {
        "type": TYPE_PREFIX + problem_type,
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }


_PAGE: Final = {
    "title": _("Temporarily unavailable"),
    "text": _("The database or the event log cannot serve this page now. Try again in a moment."),
}
_NO_ANSWER: Final = ErrorText("The database does not answer.")


def _unavailable() -> dict[str, Any]:
    return problem(503, "unavailable", translated(_NO_ANSWER))


def guard_page(view: View, template: str, headers: Callable[[], Mapping[str, str]] = dict) -> View:
    """Return the view of a page; it sends the status 503 while Redis or the database fails.

    `headers` returns the headers to add to each response, which no cache shares. ATOMIC_REQUESTS
    does not apply: it would query the database before the view.
    """

    @non_atomic
    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            response = view(*args, **kwargs)
            if isinstance(response, SimpleTemplateResponse):  # its template may query
                response.render()
        except (EventsError, *UNAVAILABLE) as error:
            log_failure(logger, "request_failed", error)
            page = render_to_string(template, _PAGE)
            response = HttpResponse(page, status=503, headers={"Cache-Control": NO_STORE})
        for name, value in headers().items():
            response.headers[name] = value
        response.headers.setdefault("Cache-Control", REVALIDATE)
        patch_vary_headers(response, ("Cookie",))
        return response

    return guarded


async def send_unavailable(scope: Any, send: Send) -> None:
    """Send an HTTP response with the status 503: no thread was free."""
    logger.warning("request_rejected")
    await send({"type": "http.response.start", "status": 503, "headers": _HEADERS})
    with scope_language(scope):
        body = orjson.dumps(_unavailable())
    await send({"type": "http.response.body", "body": body})


async def deny_handshake(scope: Any, send: Send, body: dict[str, Any], code: int) -> None:
    """Reject a handshake by a problem, or by a close code if the server cannot send one."""
    if _EXTENSION not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": code})
        return
    await send({"type": f"{_EXTENSION}.start", "status": body["status"], "headers": _HEADERS})
    await send({"type": f"{_EXTENSION}.body", "body": orjson.dumps(body)})


async def guard_handshake(application: Any, scope: Any, receive: Any, send: Send) -> None:
    """Run a WebSocket application; reject the handshake with 503 if the database is unavailable.

    Middleware loads the session and the user before a consumer runs. A handshake that is not
    answered in MAX_WAIT_SECONDS is rejected, too. The handshake selects the language of errors.
    """
    is_answered = False
    deadline = asyncio.timeout(MAX_WAIT_SECONDS)

    async def observe(message: Any) -> None:
        nonlocal is_answered
        if not is_answered:
            if deadline.expired():
                return
            is_answered = True
            deadline.reschedule(None)
        await send(message)

    with scope_language(scope):
        try:
            async with deadline:
                await application(scope, receive, observe)
        except (*UNAVAILABLE, TimeoutError) as error:
            if is_answered:
                raise
            log_failure(logger, "handshake_rejected", error)
            await deny_handshake(scope, send, _unavailable(), _TRY_AGAIN_LATER)
