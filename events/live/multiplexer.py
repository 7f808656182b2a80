"""Several logs viewed together: what comes of each, one batch after the other.

Each log has a viewer of its own, which waits with its batch until it is taken: as much as that is
kept for a reader who is slow, and each log has its turn.
"""

import asyncio
from typing import Any, NamedTuple, Self

from events.conf import event_settings
from events.live.completion import Completion
from events.live.frames import KEEP_ALIVE, EncodedMessage
from events.live.messages import Restart
from events.live.subscription import subscribe
from events.types import START, Cursor, check_job_id


class LogMessages(NamedTuple):
    """What came of one log; an error if it cannot be viewed any more. Signs of life are of none."""

    job_id: str
    messages: list[EncodedMessage]
    error: Exception | None = None

    @property
    def is_final(self) -> bool:
        """Whether nothing more comes of any log: the server goes away."""
        return bool(self.messages) and isinstance(self.messages[-1].message, Restart)


class Multiplexer:
    """The viewers of several logs; `async with`, so that none of them is left."""

    def __init__(self) -> None:
        self._views: dict[str, asyncio.Task[None]] = {}
        self._batches: asyncio.Queue[tuple[asyncio.Task[Any] | None, LogMessages]] = asyncio.Queue(
            1
        )

    def __len__(self) -> int:
        return len(self._views)

    def __contains__(self, job_id: object) -> bool:
        return job_id in self._views

    def subscribe(
        self, job_id: str, *, after: Cursor = START, completion: Completion | None = None
    ) -> None:
        """View a log from a cursor on, anew if it is viewed already; raises InvalidJobId."""
        check_job_id(job_id)
        self.unsubscribe(job_id)
        self._views[job_id] = asyncio.create_task(self._view(job_id, after, completion))

    def unsubscribe(self, job_id: str) -> None:
        """View it no more; nothing more comes of it."""
        view = self._views.pop(job_id, None)
        if view is not None:
            view.cancel()

    def fail(self, job_id: str, error: Exception) -> None:
        """View it no more, and let the error come of it."""
        self.unsubscribe(job_id)
        self._views[job_id] = asyncio.create_task(self._put(LogMessages(job_id, [], error)))

    async def next(self) -> LogMessages:
        """What comes next; a sign of life after KEEP_ALIVE seconds without anything."""
        while True:
            try:
                async with asyncio.timeout(event_settings.KEEP_ALIVE):
                    view, batch = await self._batches.get()
            except TimeoutError:
                return LogMessages("", [KEEP_ALIVE])
            if self._views.get(batch.job_id) is not view:  # it was dropped meanwhile
                continue
            if batch.error is not None or batch.messages[-1].is_last:
                del self._views[batch.job_id]
            return batch

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        views = list(self._views.values())
        for view in views:
            view.cancel()
        await asyncio.gather(*views, return_exceptions=True)

    async def _view(self, job_id: str, after: Cursor, completion: Completion | None) -> None:
        try:
            async with subscribe(job_id, after=after, completion=completion) as viewer:
                messages: list[EncodedMessage] = []
                while not (messages and messages[-1].is_last):
                    messages = await viewer.next()
                    if messages[-1] is not KEEP_ALIVE:
                        await self._put(LogMessages(job_id, messages))
        except Exception as error:  # noqa: BLE001 - it is told
            await self._put(LogMessages(job_id, [], error))

    async def _put(self, batch: LogMessages) -> None:
        await self._batches.put((asyncio.current_task(), batch))
