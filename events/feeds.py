"""The feeds of this process: one for each event loop in which somebody views a log."""

import asyncio
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from events.feed import Feed


class Feeds:
    """A feed is made for the first viewer of a loop, and is gone with the last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_loop: dict[asyncio.AbstractEventLoop, Feed] = {}

    def running_loop(self, make: "Callable[[Callable[[], None]], Feed]") -> "Feed":
        """The feed of the running event loop; `make` is given what it calls at its end."""
        loop = asyncio.get_running_loop()
        with self._lock:
            for closed in [other for other in self._by_loop if other.is_closed()]:
                del self._by_loop[closed]
            if loop not in self._by_loop:
                self._by_loop[loop] = make(lambda: self._forget(loop))
            return self._by_loop[loop]

    def _forget(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._lock:
            self._by_loop.pop(loop, None)
