"""ASGI middleware for long-lived streaming responses: releases the Django request first.

Django keeps a request, its middleware and a thread for as long as its response streams. With
`DetachedStreamingMiddleware`, Django is finished when the view returns; the event loop sends the
body.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any, Final

from django.http import HttpRequest, StreamingHttpResponse

from events.live.frames import SSE_CONTENT_TYPE

logger = logging.getLogger(__name__)

AsgiMessage = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[AsgiMessage]]
Send = Callable[[AsgiMessage], Awaitable[None]]
Application = Callable[[Any, Receive, Send], Awaitable[None]]
Frames = AsyncGenerator[bytes, None]

_EXTENSION: Final = "job_events.stream"
# Proxies and middleware must not buffer the body, for example to compress it.
_HEADERS: Final = {
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
    "Content-Encoding": "identity",
}


class _DetachedBody:
    """The body that a view has handed to `DetachedStreamingMiddleware`."""

    frames: Frames | None = None
    content_type = ""


def stream_response(
    request: HttpRequest, frames: Frames, content_type: str = SSE_CONTENT_TYPE
) -> StreamingHttpResponse:
    """Return the response of a view with a streamed body, by default of SSE frames."""
    body = (getattr(request, "scope", {}).get("extensions") or {}).get(_EXTENSION)
    if body is not None:
        body.frames, frames, body.content_type = frames, _empty(), content_type
    return StreamingHttpResponse(frames, content_type=content_type, headers=_HEADERS)


async def _empty() -> Frames:
    return
    yield


class DetachedStreamingMiddleware:
    """ASGI application around Django's; sends the bodies of `stream_response`."""

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        body, held = _DetachedBody(), list[AsgiMessage]()

        async def hold(message: AsgiMessage) -> None:
            if body.frames is None:
                await send(message)
            else:
                held.append(message)

        extensions = {**(scope.get("extensions") or {}), _EXTENSION: body}
        await self._application({**scope, "extensions": extensions}, receive, hold)
        if body.frames is None:
            return
        if held and _is_start_of(held[0], body.content_type):
            await send(held[0])
            del scope, extensions, held
            await _stream(body.frames, receive, send)
        else:  # the client has disconnected, or a middleware replaced the response
            await body.frames.aclose()
            for message in held:
                await send(message)


def _is_start_of(message: AsgiMessage, content_type: str) -> bool:
    # Django does not lower-case the names of headers.
    headers = {name.lower(): value for name, value in message.get("headers") or ()}
    is_same: bool = headers.get(b"content-type") == content_type.encode()
    return message["status"] == HTTPStatus.OK and is_same


async def _stream(frames: Frames, receive: Receive, send: Send) -> None:
    """Send the body until it ends, the client disconnects, or the task is cancelled."""
    sending = asyncio.current_task()
    disconnect = asyncio.create_task(_disconnected(receive))

    def cancel(_disconnect: object) -> None:
        if sending is not None:
            sending.cancel()

    disconnect.add_done_callback(cancel)
    try:
        async for frame in frames:
            await send({"type": "http.response.body", "body": frame, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    except asyncio.CancelledError:
        pass
    except OSError:
        logger.info("subscriber_disconnected")
    except Exception:  # the response is cut off, which the client notices
        logger.exception("live_delivery_failed")
    finally:
        disconnect.remove_done_callback(cancel)
        disconnect.cancel()
        await frames.aclose()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
