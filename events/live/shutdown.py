"""Graceful shutdown: subscribers receive `Restart` when the process receives a signal.

A server that shuts down waits for its open responses, which would last for hours.
"""

import signal
import threading
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

from events.live.hub import Hub
from events.live.subscription import disconnect_all


def install_shutdown_handlers() -> None:
    """Send `Restart` to all subscribers, and to later ones, from SIGINT or SIGTERM on.

    Call it on the event loop, after the server has installed its handlers; idempotent. They are
    called next.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGINT, signal.SIGTERM):
        previous = signal.getsignal(number)
        if callable(previous) and getattr(previous, "func", None) is not _disconnect_first:
            signal.signal(number, partial(_disconnect_first, previous))


def _disconnect_first(
    previous: Callable[[int, FrameType | None], Any], number: int, frame: FrameType | None
) -> None:
    Hub.is_shutting_down = True
    disconnect_all()
    previous(number, frame)
