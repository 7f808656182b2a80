"""Multiplexer: several logs on one connection.

Each log has a subscriber, which waits until its messages are taken: the logs take turns.
"""

import asyncio
from typing import Any, NamedTuple, Self

from events.conf import event_settings
from events.live.frames import KEEP_ALIVE, EncodedMessage
from events.live.messages import Restart
from events.live.subscriber import Subscriber
from events.live.topic import Completion
from events.types import START, Cursor, check_job_id


class LogMessages(NamedTuple):
    """Messages of one log, or the error that ended its subscription."""

    job_id: str  # of a keep-alive: empty
    messages: list[EncodedMessage]
    error: Exception | None = None

    @property
    def is_final(self) -> bool:
        """Whether no log has further messages: the server shuts down."""
        return bool(self.messages) and isinstance(self.messages[-1].message, Restart)


class _TurnSubscriber(Subscriber):
    """Reads a page of history only when those of the other logs have been taken.

    A client that does not read costs one page, not one for each of its logs.
    """

    def __init__(
        self,
        turn: asyncio.Lock,
        job_id: str,
        after: Cursor,
        completion: Completion | None,
        transport: str,
    ) -> None:
        super().__init__(job_id, after, completion, transport)
        self._turn, self._has_turn = turn, False

    async def next(self) -> list[EncodedMessage]:
        self._end_turn()
        return await super().next()

    async def __aexit__(self, *exception: object) -> None:
        self._end_turn()
        await super().__aexit__(*exception)

    async def _catch_up(self) -> list[EncodedMessage]:
        topic, epoch = self.topic, self.topic.epoch
        await self._turn.acquire()
        self._has_turn = True
        messages = await super()._catch_up() if topic.is_current(epoch) else []
        if not messages:
            self._end_turn()
        return messages

    def _end_turn(self) -> None:
        if self._has_turn:
            self._has_turn = False
            self._turn.release()


class Multiplexer:
    """Subscribers of several logs; for `async with`, which ends them."""

    def __init__(self, transport: str = "python") -> None:
        self._transport = transport
        self._tasks: dict[str, asyncio.Task[None]] = {}
        # One batch, and the task that put it there.
        self._batch: asyncio.Queue[tuple[asyncio.Task[Any] | None, LogMessages]] = asyncio.Queue(1)
        self._turn = asyncio.Lock()

    def __len__(self) -> int:
        return len(self._tasks)

    def __contains__(self, job_id: object) -> bool:
        return job_id in self._tasks

    def subscribe(
        self, job_id: str, *, after: Cursor = START, completion: Completion | None = None
    ) -> None:
        """Subscribe to a log; replaces a subscription to it. Raises InvalidJobId."""
        check_job_id(job_id)
        self.unsubscribe(job_id)
        self._tasks[job_id] = asyncio.create_task(self._run(job_id, after, completion))

    def unsubscribe(self, job_id: str) -> None:
        """End a subscription; none of its messages is returned afterwards."""
        task = self._tasks.pop(job_id, None)
        if task is not None:
            task.cancel()

    def fail(self, job_id: str, error: Exception) -> None:
        self.unsubscribe(job_id)
        self._tasks[job_id] = asyncio.create_task(self._put(LogMessages(job_id, [], error)))

    async def next(self) -> LogMessages:
        """Return the next messages; a keep-alive after KEEP_ALIVE idle seconds."""
        while True:
            try:
                async with asyncio.timeout(event_settings.KEEP_ALIVE):
                    task, batch = await self._batch.get()
            except TimeoutError:
                return LogMessages("", [KEEP_ALIVE])
            if self._tasks.get(batch.job_id) is not task:  # unsubscribed meanwhile
                continue
            if batch.error is not None or batch.messages[-1].is_last:
                del self._tasks[batch.job_id]
            return batch

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, job_id: str, after: Cursor, completion: Completion | None) -> None:
        try:
            async with _TurnSubscriber(
                self._turn, job_id, after, completion, self._transport
            ) as subscriber:
                is_last = False
                while not is_last:
                    messages = await subscriber.next()
                    is_last = messages[-1].is_last
                    if messages[-1] is not KEEP_ALIVE:
                        await self._put(LogMessages(job_id, messages))
        except Exception as error:  # noqa: BLE001 - returned by `next`
            await self._put(LogMessages(job_id, [], error))

    async def _put(self, batch: LogMessages) -> None:
        await self._batch.put((asyncio.current_task(), batch))
