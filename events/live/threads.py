"""Threads for database calls under ASGI: their number is bounded while the database hangs.

Django runs a request in a thread of its own, and a thread whose query hangs stays. Here a request
waits for one of MAX_REQUESTS places. It leaves its place when its response starts or, if the client
has disconnected, when its thread is idle.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, TypeVar

from asgiref.sync import SyncToAsync, ThreadSensitiveContext, sync_to_async
from django.db import close_old_connections

from events.conf import event_settings
from events.database import close_connections
from events.per_loop import PerLoop

T = TypeVar("T")

MAX_WAIT_SECONDS: Final = 10.0
_MAX_IDLE_THREADS: Final = 8
_MAX_DATABASE_THREADS: Final = 8


class NoFreeThread(Exception):
    """All places were taken for MAX_WAIT_SECONDS."""


class _RequestThreads:
    """Places and idle threads of the requests of an event loop."""

    def __init__(self, _forget: Callable[[], None]) -> None:
        self.places = asyncio.Semaphore(event_settings.MAX_REQUESTS)
        self._idle: list[ThreadPoolExecutor] = []

    def take(self) -> ThreadPoolExecutor:
        return self._idle.pop() if self._idle else ThreadPoolExecutor(1, "job-events-request")

    def take_back(self, thread: ThreadPoolExecutor, leave: Callable[[], None]) -> None:
        """Leave the place, and release the thread, once the thread has nothing to do."""
        loop = asyncio.get_running_loop()

        def on_idle() -> None:
            leave()
            if len(self._idle) < _MAX_IDLE_THREADS:
                self._idle.append(thread)
            else:
                thread.shutdown(wait=False)

        def on_done(_future: object) -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(on_idle)

        thread.submit(close_old_connections).add_done_callback(on_done)


_request_threads: Final = PerLoop[_RequestThreads]()
_database_threads: Final = PerLoop[ThreadPoolExecutor]()


@asynccontextmanager
async def request_thread() -> AsyncIterator[Callable[[], None]]:
    """Run the thread-sensitive code of the body in one thread. Raises NoFreeThread.

    Yields a function that leaves the place early.
    """
    threads = _request_threads.of_running_loop(_RequestThreads)
    try:
        async with asyncio.timeout(MAX_WAIT_SECONDS):
            await threads.places.acquire()
    except TimeoutError as error:
        raise NoFreeThread from error
    leave, thread = _once(threads.places.release), threads.take()
    try:
        async with ThreadSensitiveContext() as context:
            SyncToAsync.context_to_thread_executor[context] = thread
            try:
                yield leave
            finally:
                # Otherwise the context waits for the thread, whose query may hang.
                SyncToAsync.context_to_thread_executor.pop(context, None)
    finally:
        threads.take_back(thread, leave)


def _once(function: Callable[[], None]) -> Callable[[], None]:
    """Return a function that calls another the first time it is called."""
    remaining = [function]
    return lambda: remaining.pop()() if remaining else None


async def in_database_thread(function: Callable[..., T], *arguments: Any) -> T:
    """Call a function in one of a few threads of the event loop, and close its connections.

    The default executor of the loop resolves names: queries that hang must not occupy it.
    """

    def call() -> T:
        try:
            return function(*arguments)
        finally:
            close_connections()

    threads = _database_threads.of_running_loop(
        lambda _: ThreadPoolExecutor(_MAX_DATABASE_THREADS, "job-events-database")
    )
    return await sync_to_async(call, thread_sensitive=False, executor=threads)()
