"""Streaming responses in small chunks, and an ASGI middleware that releases the Django request.

Django keeps a request, its middleware and a thread for as long as its response streams. The
middleware also bounds the threads of requests, rejects what the database cannot serve, and handles
the signals of a shutdown.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, MutableMapping
from contextlib import aclosing
from typing import Any, Final

from django.http import HttpRequest, StreamingHttpResponse

from events.conf import event_settings
from events.live.frames import SSE_CONTENT_TYPE
from events.live.rejection import NO_STORE, guard_handshake, send_unavailable
from events.live.shutdown import install_shutdown_handlers
from events.live.threads import NoFreeThread, request_thread
from events.log_format import log_failure

logger = logging.getLogger(__name__)

AsgiMessage = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[AsgiMessage]]
Send = Callable[[AsgiMessage], Awaitable[None]]
Application = Callable[[Any, Any, Any], Awaitable[None]]
Frames = AsyncGenerator[bytes, None]

_EXTENSION: Final = "job_events.stream"
# A server holds one chunk for a client that does not read.
MAX_CHUNK_BYTES: Final = 64 * 1024
# Proxies and middleware must not buffer the body, for example to compress it.
_HEADERS: Final = {
    "Cache-Control": f"{NO_STORE}, no-transform",
    "X-Accel-Buffering": "no",
    "Content-Encoding": "identity",
}


def stream_response(
    request: HttpRequest, frames: Frames, content_type: str = SSE_CONTENT_TYPE
) -> StreamingHttpResponse:
    """Return the response of a view with a streamed body, by default of SSE frames.

    Large parts are split, but held until the client has read them; `joined` makes parts.
    """
    detached = (getattr(request, "scope", {}).get("extensions") or {}).get(_EXTENSION)
    chunks = _chunks(frames)
    body = chunks if detached is None else _detach(chunks, detached)
    return StreamingHttpResponse(body, content_type=content_type, headers=_HEADERS)


def joined(frames: Iterable[bytes]) -> Iterator[bytes]:
    """Join small frames into parts of at most MAX_CHUNK_BYTES; do not split large ones."""
    part, size = list[bytes](), 0
    for frame in frames:
        if part and size + len(frame) > MAX_CHUNK_BYTES:
            yield b"".join(part)
            part, size = [], 0
        part.append(frame)
        size += len(frame)
    if part:
        yield b"".join(part)


async def _chunks(parts: Frames) -> Frames:
    """Split large parts."""
    async with aclosing(parts):
        async for part in parts:
            for start in range(0, len(part), MAX_CHUNK_BYTES):
                yield part[start : start + MAX_CHUNK_BYTES]


async def _detach(frames: Frames, detached: list[Frames]) -> Frames:
    """Leave the body to the middleware, once Django has sent the start of the response."""
    detached.append(frames)
    yield b""  # not sent


class DetachedStreamingMiddleware:
    """ASGI application around Django's; sends the bodies of `stream_response`."""

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        install_shutdown_handlers()
        if scope["type"] == "websocket":
            await guard_handshake(self._application, _below_script_name(scope), receive, send)
        elif scope["type"] != "http":
            await self._application(scope, receive, send)
        elif frames := await self._handle_in_thread(scope, receive, send):
            await _stream(frames, receive, send)

    async def _handle_in_thread(self, scope: Any, receive: Receive, send: Send) -> Frames | None:
        """Handle a request in a thread of a bounded number; if none becomes free, send 503."""
        try:
            async with request_thread() as leave:

                async def send_and_leave(message: AsgiMessage) -> None:
                    if message["type"] == "http.response.start":
                        leave()
                    await send(message)

                return await self._handle(scope, receive, send_and_leave)
        except NoFreeThread:
            await send_unavailable(scope, send)
            return None

    async def _handle(self, scope: Any, receive: Receive, send: Send) -> Frames | None:
        """Handle a request; return the body that remains to be sent to a connected client."""
        detached, is_connected = list[Frames](), True

        async def observe() -> AsgiMessage:
            nonlocal is_connected
            message = await receive()
            is_connected = message["type"] != "http.disconnect"
            return message

        async def send_until_detached(message: AsgiMessage) -> None:
            if not detached:
                await send(message)

        extensions = {**(scope.get("extensions") or {}), _EXTENSION: detached}
        await self._application({**scope, "extensions": extensions}, observe, send_until_detached)
        return detached[0] if detached and is_connected else None


def _below_script_name(scope: Any) -> Any:
    """Let the routes of sockets begin below FORCE_SCRIPT_NAME, like those of Django."""
    prefix = event_settings.SCRIPT_NAME
    is_below = prefix and not scope.get("root_path") and scope["path"].startswith(f"{prefix}/")
    return {**scope, "root_path": prefix} if is_below else scope


async def _stream(frames: Frames, receive: Receive, send: Send) -> None:
    """Send the body until it ends, the client disconnects, or the task is cancelled."""
    sending: Any = asyncio.current_task()
    disconnect = asyncio.create_task(_disconnected(receive, sending))
    try:
        async for frame in frames:
            await send({"type": "http.response.body", "body": frame, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    except asyncio.CancelledError:
        pass
    except OSError:
        logger.info("subscriber_disconnected")
    except Exception as error:  # noqa: BLE001 - the response is cut off, which the client notices
        log_failure(logger, "live_delivery_failed", error)
    finally:
        disconnect.cancel()
        await frames.aclose()


async def _disconnected(receive: Receive, sending: asyncio.Task[None]) -> None:
    """Cancel the sending task when the client disconnects."""
    while (await receive())["type"] != "http.disconnect":
        pass
    sending.cancel()
