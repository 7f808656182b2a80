"""Tasks that end together, even if one of them loses a cancellation."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

_CANCEL_AGAIN_SECONDS: Final = 1.0


class Tasks:
    """Background tasks of the task that calls `wait`.

    asyncio.TaskGroup cancels its tasks once. If one of them fails then, as when a library reports
    the cancellation as a lost connection, the group raises this failure, and the task around it
    does not learn that it was cancelled.
    """

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []
        self._failures: list[BaseException] = []
        self._has_ended = asyncio.Event()

    def add(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine in a task of its own."""
        task = asyncio.create_task(coroutine)
        self._tasks.append(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._has_ended.set()
        if not task.cancelled() and (failure := task.exception()):
            self._failures.append(failure)

    async def wait(self) -> None:
        """Wait until a task ends, cancel the others until they end, and raise the first failure."""
        is_cancelled = False
        try:
            await self._has_ended.wait()
        except asyncio.CancelledError:
            is_cancelled = True
        while remaining := [task for task in self._tasks if not task.done()]:
            for task in remaining:
                task.cancel()
            try:
                await asyncio.wait(remaining, timeout=_CANCEL_AGAIN_SECONDS)
            except asyncio.CancelledError:
                is_cancelled = True
        if is_cancelled:
            raise asyncio.CancelledError
        if self._failures:
            raise self._failures[0]
