"""Graceful shutdown: subscribers receive `Restart` when the server of the process stops.

A server that shuts down waits for its open responses, which would last for hours.
"""

import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from functools import partial, wraps
from types import FrameType
from typing import Any

from events.live.hub import Hub
from events.live.subscription import disconnect_all


def install_shutdown_handlers() -> None:
    """Send `Restart` to all subscribers, and to later ones, from SIGINT or SIGTERM on.

    Call it on the event loop, after the server has installed its handlers; idempotent. They are
    called next. uvicorn also stops without a signal, to be replaced after a number of requests.
    """
    server: Any = getattr(sys.modules.get("uvicorn.server"), "Server", None)
    if server is not None and not hasattr(server.shutdown, "__wrapped__"):
        server.shutdown = _after_disconnect(server.shutdown)
    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGINT, signal.SIGTERM):
        previous = signal.getsignal(number)
        if callable(previous) and getattr(previous, "func", None) is not _disconnect_first:
            signal.signal(number, partial(_disconnect_first, previous))


def _disconnect_first(
    previous: Callable[[int, FrameType | None], Any], number: int, frame: FrameType | None
) -> None:
    _disconnect()
    previous(number, frame)


def _after_disconnect(shutdown: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    @wraps(shutdown)
    async def disconnect_first(*args: Any, **kwargs: Any) -> None:
        _disconnect()
        await shutdown(*args, **kwargs)

    return disconnect_first


def _disconnect() -> None:
    Hub.is_shutting_down = True
    disconnect_all()
