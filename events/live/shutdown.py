"""What viewers are told when the server is: that it goes away, and when to come back.

A server that is told to end waits for the answers that it has begun, and those of viewers go on for
hours. So the signal is heard here first, and then by the server, as before.
"""

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

from events.live.subscription import disconnect_all

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class _Heard:
    """A signal's handler before the one that was there."""

    def __init__(self, before: Callable[[int, FrameType | None], Any]) -> None:
        self._before = before

    def __call__(self, number: int, frame: FrameType | None) -> None:
        disconnect_all()
        self._before(number, frame)


def install_shutdown_handlers() -> None:
    """Call `disconnect_all` when the process receives SIGINT or SIGTERM.

    To be called in the event loop, which then has its own handlers; costs nothing the next time.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    for number in _SIGNALS:
        before = signal.getsignal(number)
        if callable(before) and not isinstance(before, _Heard):
            signal.signal(number, _Heard(before))
