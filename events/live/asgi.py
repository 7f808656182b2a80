"""Responses that go on for hours, without Django's request round them.

Django keeps a request, its middleware and a thread for as long as its response streams. Behind
`DetachedStreamingMiddleware`, Django is done as soon as the view has answered: the answer's status
and headers are sent with a body that the event loop sends by itself.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Any, Final

from django.http import HttpRequest, StreamingHttpResponse

from events.live.frames import SSE_CONTENT_TYPE

logger = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Any, Receive, Send], Awaitable[None]]
Frames = AsyncGenerator[bytes, None]

_EXTENSION: Final = "job_events.stream"
# Nothing on the way is to keep what is sent, be it to compress it.
_HEADERS: Final = {
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
    "Content-Encoding": "identity",
}


class _Taken:
    """What a view has left to `DetachedStreamingMiddleware`."""

    frames: Frames | None = None
    content_type = ""


def stream_response(
    request: HttpRequest, frames: Frames, content_type: str = SSE_CONTENT_TYPE
) -> StreamingHttpResponse:
    """The answer of a view whose body is sent by and by: by default, the frames of SSE."""
    taken = (getattr(request, "scope", {}).get("extensions") or {}).get(_EXTENSION)
    if taken is not None:
        taken.frames, frames, taken.content_type = frames, _nothing(), content_type
    return StreamingHttpResponse(frames, content_type=content_type, headers=_HEADERS)


async def _nothing() -> Frames:
    return
    yield


class DetachedStreamingMiddleware:
    """An ASGI application round Django's, which sends the bodies of `stream_response`."""

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        taken, held = _Taken(), list[Message]()

        async def hold(message: Message) -> None:
            if taken.frames is None:
                await send(message)
            else:
                held.append(message)

        extensions = {**(scope.get("extensions") or {}), _EXTENSION: taken}
        await self._application({**scope, "extensions": extensions}, receive, hold)
        if taken.frames is None:
            return
        if _is_of(held[0], taken.content_type):
            await send(held[0])
            del scope, extensions, held
            await _stream(taken.frames, receive, send)
        else:  # a middleware has another answer
            await taken.frames.aclose()
            for message in held:
                await send(message)


def _is_of(start: Message, content_type: str) -> bool:
    # Django writes the names of headers as they were given.
    headers = {name.lower(): value for name, value in start.get("headers") or ()}
    is_same: bool = headers.get(b"content-type") == content_type.encode()
    return start["status"] == HTTPStatus.OK and is_same


async def _stream(frames: Frames, receive: Receive, send: Send) -> None:
    """Send until it is over, nobody listens any more, or the task is cancelled."""
    this = asyncio.current_task()
    listening = asyncio.create_task(_hung_up(receive))
    stop = partial(_cancel, this)
    listening.add_done_callback(stop)
    try:
        with suppress(asyncio.CancelledError):
            await _send_all(frames, send)
    finally:
        listening.remove_done_callback(stop)
        listening.cancel()
        await frames.aclose()


def _cancel(task: "asyncio.Task[None] | None", _listening: object) -> None:
    if task is not None:
        task.cancel()


async def _hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send_all(frames: Frames, send: Send) -> None:
    try:
        async for frame in frames:
            await send({"type": "http.response.body", "body": frame, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    except OSError:
        logger.info("viewer_gone")
    except Exception:
        # The connection is closed in the middle of the answer: a client knows that it broke.
        logger.exception("live_delivery_failed")
