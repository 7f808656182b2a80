"""Graceful shutdown: subscribers receive `Restart` when the process receives a signal.

A server that shuts down waits for its open responses, which would last for hours. The handlers here
run before those of the server.
"""

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

from events.live.subscription import disconnect_all

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class _ChainedHandler:
    """Disconnects all subscribers, then calls the previous handler."""

    def __init__(self, previous: Callable[[int, FrameType | None], Any]) -> None:
        self._previous = previous

    def __call__(self, number: int, frame: FrameType | None) -> None:
        disconnect_all()
        self._previous(number, frame)


def install_shutdown_handlers() -> None:
    """Call `disconnect_all` on SIGINT and SIGTERM.

    Call it on the event loop, after the server has installed its handlers; idempotent.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    for number in _SIGNALS:
        previous = signal.getsignal(number)
        if callable(previous) and not isinstance(previous, _ChainedHandler):
            signal.signal(number, _ChainedHandler(previous))
