"""The producers of a client: what they have under way, and on which connections.

Publishers of one client share these, so that a publisher may be made for each task without
costing a connection, or a place in what Redis remembers of the job.
"""

import asyncio
import os
from collections import deque
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, Final, TypeVar

from events.connections import aask, ask, close, give_back, lend, may_keep, new_connection
from events.exceptions import EventsError, RedisUnavailable
from events.producer import Batch, Call, Floors, Line, Unsettled, batches, ids_found

if TYPE_CHECKING:
    import redis
    import redis.asyncio

T = TypeVar("T")

# How many connections the threads of a process keep between their calls.
_KEPT: Final = 4
# How many calls are sent together at most: Redis serves nobody else meanwhile.
_TOGETHER: Final = 500
_LAST_WAIT: Final = 5.0
_ATTRIBUTE: Final = "_job_events_lines"


def _on_pool(client: Any, kind: type[T]) -> T:
    """What belongs to a client is kept on its pool, and goes with it.

    A dictionary of weak references would keep both: connections refer to their pool.
    """
    pool = getattr(client, "connection_pool", client)
    lines = vars(pool).get(_ATTRIBUTE)
    if isinstance(lines, kind):
        return lines
    new = kind()
    setattr(pool, _ATTRIBUTE, new)
    return new


class Lines:
    """The producers of a sync client; each call has one to itself, as it has a connection."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._free: deque[Line] = deque()
        self._floors = Floors()
        self.unsettled = Unsettled()

    @classmethod
    def of(cls, client: "redis.Redis") -> "Lines":
        """The lines that all publishers of a client share."""
        return _on_pool(client, cls)

    def publish(self, client: "redis.Redis", call: Call) -> list[str]:
        """Append the events of a call and return their ids."""
        if self._pid != os.getpid():
            Lines.__init__(self)  # this is a fork: what is under way is the parent's
        line = self._take()
        batch = Batch.of([call], line)
        try:
            if line.connection is None:
                line.connection = lend(client)
            (reply,) = ask(line.connection, batch.append(self._floors.get(call.keys)))
        except BaseException:
            # The call may yet arrive: its producer is used no more.
            self._give_back(client, line)
            raise
        if len(self._free) >= _KEPT or not may_keep(client):
            self._give_back(client, line)
        self._free.append(line)
        if isinstance(reply, EventsError):
            raise reply
        self._floors.set(call.keys, batch.settle(reply))
        return call.ids or []

    def resolve(self, client: "redis.Redis", call: Call) -> list[str] | None:
        """The ids of a call that was given up, if it came through; if not, it never will."""
        if call.batch is None:
            return None
        connection = lend(client)
        try:
            (reply,) = ask(connection, call.batch.resolve())
        finally:
            give_back(client, connection)
        return ids_found(call, reply)

    def _take(self) -> Line:
        try:
            return self._free.pop()
        except IndexError:
            return Line()

    @staticmethod
    def _give_back(client: "redis.Redis", line: Line) -> None:
        if line.connection is not None:
            give_back(client, line.connection)
            line.connection = None


class AsyncLines:
    """The lines of an async client, one for each event loop."""

    def __init__(self) -> None:
        self._by_loop: dict[asyncio.AbstractEventLoop, AsyncLine] = {}
        self.unsettled = Unsettled()

    @classmethod
    def of(cls, client: "redis.asyncio.Redis") -> "AsyncLines":
        """The lines that all publishers of a client share."""
        return _on_pool(client, cls)

    def running_loop(self) -> "AsyncLine":
        """The line of the running event loop."""
        loop = asyncio.get_running_loop()
        line = self._by_loop.get(loop)
        if line is None or line.pid != os.getpid():
            for closed in [loop for loop in self._by_loop if loop.is_closed()]:
                del self._by_loop[closed]
            line = self._by_loop[loop] = AsyncLine()
        return line


class AsyncLine:
    """One producer of an event loop. While it has calls under way, others wait, and go together.

    Who finds it idle sends; a task of its own sends for those who come meanwhile, and for a sender
    who is cancelled. So what was begun is finished, whoever stops waiting.
    """

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._line = Line()
        self._floors = Floors()
        self._waiting: deque[Call] = deque()
        self._busy = False
        self._task: asyncio.Task[None] | None = None
        self._closing: AsyncGenerator[None, None] | None = None

    async def publish(self, client: "redis.asyncio.Redis", call: Call) -> list[str]:
        """Append the events of a call and return their ids."""
        call.line = self
        self._waiting.append(call)
        if self._busy:
            await self._settled(call)
        else:
            await self._send(client)
        if call.error is not None:
            raise call.error
        return call.ids or []

    async def resolve(self, client: "redis.asyncio.Redis", call: Call) -> list[str] | None:
        """The ids of a call that was given up, if it came through; if not, it never will."""
        if call.line is self and not call.settled:
            await self._settled(call)
        if call.ids is not None or call.batch is None:
            return call.ids
        connection = new_connection(client)
        try:
            (reply,) = await aask(connection, call.batch.resolve())
        finally:
            await close(connection)
        return ids_found(call, reply)

    async def _settled(self, call: Call) -> None:
        call.done = asyncio.get_running_loop().create_future()
        await call.done

    async def _send(self, client: "redis.asyncio.Redis") -> None:
        self._busy = True
        loaded = self._load()
        try:
            await self._ask(client, loaded)
        except BaseException:
            # Its answer may be half read, and others may come to wait: the task sends it again.
            self._go_on(client, loaded)
            raise
        if self._waiting:
            self._go_on(client, [])
        else:
            self._busy = False

    def _load(self) -> list[Batch]:
        calls = [self._waiting.popleft() for _ in range(min(len(self._waiting), _TOGETHER))]
        return list(batches(calls, self._line))

    def _go_on(self, client: "redis.asyncio.Redis", loaded: list[Batch]) -> None:
        self._task = asyncio.get_running_loop().create_task(self._drain(client, loaded))

    async def _drain(self, client: "redis.asyncio.Redis", loaded: list[Batch]) -> None:
        try:
            if loaded and self._line.connection is not None:
                await close(self._line.connection)
            while loaded or self._waiting:
                loaded = loaded or self._load()
                await self._ask(client, loaded)
                loaded = []
        except BaseException:
            self._fail([*loaded, *batches(self._waiting, self._line)], RedisUnavailable())
            self._waiting.clear()
            raise
        finally:
            self._busy = False

    async def _ask(self, client: "redis.asyncio.Redis", loaded: list[Batch]) -> None:
        try:
            connection = await self._connection(client)
            floors = [self._floors.get(batch.calls[0].keys) for batch in loaded]
            pairs = zip(loaded, floors, strict=True)
            replies = await aask(connection, *[batch.append(floor) for batch, floor in pairs])
        except EventsError as error:
            self._fail(loaded, error)
            return
        for batch, reply in zip(loaded, replies, strict=True):
            if isinstance(reply, EventsError):
                batch.fail(reply)
            else:
                self._floors.set(batch.calls[0].keys, batch.settle(reply))

    def _fail(self, loaded: list[Batch], error: EventsError) -> None:
        """The calls may yet arrive: their producer is used no more."""
        self._line = Line(connection=self._line.connection)
        for batch in loaded:
            batch.fail(error)

    async def _connection(self, client: "redis.asyncio.Redis") -> Any:
        if self._line.connection is None:
            self._line.connection = new_connection(client)
            self._closing = self._close_with_loop()
            await anext(self._closing)
        return self._line.connection

    async def _close_with_loop(self) -> AsyncGenerator[None, None]:
        """Finish when the loop does: it closes the generators that it has begun."""
        try:
            yield
        finally:
            if self._task is not None and not self._task.done():
                await asyncio.wait([self._task], timeout=_LAST_WAIT)
            await close(self._line.connection)
