"""What each event loop of a process has one of, as long as somebody needs it."""

import asyncio
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class PerLoop(Generic[T]):
    """One object for each event loop, made for the first who asks, and gone when it says so."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_loop: dict[asyncio.AbstractEventLoop, T] = {}

    def of_running_loop(self, make: Callable[[Callable[[], None]], T]) -> T:
        """That of the running event loop; `make` is given what the object calls at its end."""
        loop = asyncio.get_running_loop()
        with self._lock:
            for closed in [other for other in self._by_loop if other.is_closed()]:
                del self._by_loop[closed]
            if loop not in self._by_loop:
                self._by_loop[loop] = make(lambda: self._forget(loop))
            return self._by_loop[loop]

    def all(self) -> list[tuple[asyncio.AbstractEventLoop, T]]:
        """Those that there are now, also for a signal that came while one is being made."""
        return list(self._by_loop.items())

    def _forget(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._lock:
            self._by_loop.pop(loop, None)
