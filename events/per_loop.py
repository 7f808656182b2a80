"""Objects of which each event loop of a process has one, and tasks that they run."""

import asyncio
import threading
from collections.abc import Callable
from contextvars import Context
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


class LoopService(Generic[T]):
    """Runs a task in an event loop while it has members; an object of a `PerLoop`."""

    def __init__(self, forget: Callable[[], None]) -> None:
        self._forget = forget
        self._members: set[T] = set()
        self._task: asyncio.Task[None] | None = None

    def add(self, member: T) -> None:
        """Add a member; the first one starts the task."""
        self._members.add(member)
        if self._task is None:
            # Not in the context of the first member's request, which ends before the task.
            self._task = asyncio.create_task(self._run(), context=Context())

    def remove(self, member: T) -> asyncio.Task[None] | None:
        """Remove a member; with the last one, cancel the task and return it."""
        self._members.discard(member)
        if self._members or self._task is None:
            return None
        self._forget()
        task, self._task = self._task, None
        task.cancel()
        return task

    async def _run(self) -> None:
        raise NotImplementedError
