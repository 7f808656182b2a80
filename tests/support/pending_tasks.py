"""Description of the asyncio tasks of this process that wait, for a test that timed out."""

import asyncio
import gc
from collections.abc import Iterator
from typing import Any


def describe_pending_tasks() -> str:
    """Return each task and the lines at which its coroutines wait, the innermost last."""
    lines = []
    # Not isinstance, which evaluates the lazy objects of Django.
    for task in [each for each in gc.get_objects() if issubclass(type(each), asyncio.Task)]:
        if not task.done():
            lines += [repr(task), *(f"    {line}" for line in _waits(task.get_coro()))]
    return "\n".join(lines)


def _waits(awaitable: Any) -> Iterator[str]:
    while awaitable is not None:
        frame = getattr(awaitable, "cr_frame", None) or getattr(awaitable, "ag_frame", None)
        yield f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame else repr(awaitable)
        awaitable = getattr(awaitable, "cr_await", None) or getattr(awaitable, "ag_await", None)
