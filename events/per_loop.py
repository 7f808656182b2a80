"""Registry of one object for each event loop of a process."""

import asyncio
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class PerLoop(Generic[T]):
    """One object for each event loop, created on first use and removed when it reports its end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_loop: dict[asyncio.AbstractEventLoop, T] = {}

    def of_running_loop(self, make: Callable[[Callable[[], None]], T]) -> T:
        """Return the running loop's object; `make` receives the function that removes it."""
        loop = asyncio.get_running_loop()
        with self._lock:
            for closed in [other for other in self._by_loop if other.is_closed()]:
                del self._by_loop[closed]
            if loop not in self._by_loop:
                self._by_loop[loop] = make(lambda: self._remove(loop))
            return self._by_loop[loop]

    def all(self) -> list[tuple[asyncio.AbstractEventLoop, T]]:
        """Return loops and objects; takes no lock, as signal handlers call it."""
        return list(self._by_loop.items())

    def _remove(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._lock:
            self._by_loop.pop(loop, None)
