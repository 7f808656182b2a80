"""The producers of a client: what they have under way, and on which connections.

Publishers of one client share these, so that a publisher may be made for each task without
costing a connection, or a place in what Redis remembers of the job.
"""

import asyncio
import os
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from events.exceptions import EventsError, RedisUnavailable
from events.producer.batch import Batch, Call, Floors, Line, Unsettled, batches, ids_found
from events.streams.pinned import acquire, can_reserve, release, reserve_connection
from events.streams.retry import asend_commands, close_connection, send_commands

if TYPE_CHECKING:
    import redis
    import redis.asyncio

T = TypeVar("T")

# How many connections the threads of a process keep between their calls.
_KEPT: Final = 4
# How many calls are sent together at most: Redis serves nobody else meanwhile.
_TOGETHER: Final = 500
_LAST_WAIT: Final = 5.0
# Seconds after which a connection that is not used is closed.
_IDLE: Final = 10.0
_ATTRIBUTE: Final = "_job_events_lines"


def _on_pool(client: Any, kind: type[T]) -> T:
    """What belongs to a client is kept on its pool, and goes with it.

    A dictionary of weak references would keep both: connections refer to their pool.
    """
    pool = getattr(client, "connection_pool", client)
    lines: T = vars(pool).setdefault(_ATTRIBUTE, kind())
    return lines


class _OfProcess(Generic[T]):
    """Something that each fork makes anew; what its parent has under way is not the fork's.

    Threads may ask for it together: a dictionary takes one of theirs. That of the parent is kept,
    and not used.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._by_process: dict[int, T] = {}

    def get(self) -> T:
        """That of this process."""
        pid = os.getpid()
        own = self._by_process.get(pid)
        return self._by_process.setdefault(pid, self._make()) if own is None else own


@dataclass(slots=True, eq=False)
class OwnLines:
    """The producers of a sync client in this process; each call has one to itself."""

    unsettled: Unsettled = field(default_factory=Unsettled)
    lines: deque[Line] = field(default_factory=deque)
    floors: Floors = field(default_factory=Floors)

    def publish(self, client: "redis.Redis", call: Call) -> list[str]:
        """Append the events of a call and return their ids."""
        line = self._take()
        batch = Batch.of([call], line)
        try:
            if line.connection is None:
                line.connection = acquire(client)
            (reply,) = send_commands(line.connection, batch.append(self.floors.get(call.keys)))
        except BaseException:
            # The call may yet arrive: its producer is used no more.
            batch.fail(RedisUnavailable())
            self._give_back(client, line)
            raise
        if self._kept() >= _KEPT or not can_reserve(client):
            self._give_back(client, line)
            self.lines.appendleft(line)
        else:
            self.lines.append(line)
        if isinstance(reply, EventsError):
            raise reply
        self.floors.set(call.keys, batch.settle(reply))
        return call.ids or []

    def resolve(self, client: "redis.Redis", call: Call) -> list[str] | None:
        """The ids of a call that was given up, if it came through; if not, it never will."""
        if call.ids is not None or call.batch is None:
            return call.ids
        try:
            connection = acquire(client)
            try:
                (reply,) = send_commands(connection, call.batch.resolve())
            finally:
                release(client, connection)
            return ids_found(call, reply)
        except BaseException:
            self.unsettled.remember_again(call)
            raise

    def _kept(self) -> int:
        """How many connections wait for the next call."""
        return sum([line.connection is not None for line in list(self.lines)])

    def _take(self) -> Line:
        """One with a connection, if there is one: these are at the right."""
        try:
            return self.lines.pop()
        except IndexError:
            return Line()

    @staticmethod
    def _give_back(client: "redis.Redis", line: Line) -> None:
        if line.connection is not None:
            release(client, line.connection)
            line.connection = None


class Lines:
    """The producers of a sync client, for each process that has it."""

    def __init__(self) -> None:
        self._free = _OfProcess(OwnLines)

    @classmethod
    def of(cls, client: "redis.Redis") -> "Lines":
        """The lines that all publishers of a client share."""
        return _on_pool(client, cls)

    def of_process(self) -> OwnLines:
        """Those of this process."""
        return self._free.get()


@dataclass(slots=True, eq=False)
class _Loops:
    """The lines of an async client by their event loops, and what all of them know."""

    lines: "dict[asyncio.AbstractEventLoop, AsyncLine]" = field(default_factory=dict)
    unsettled: Unsettled = field(default_factory=Unsettled)

    def line_left(self) -> Line | None:
        """The line of a loop that is closed: the next one goes on with it.

        Each loop of a new line would cost a place in what Redis remembers, and a connection.
        """
        left: Line | None = None
        for loop in list(self.lines):
            if loop.is_closed() and (line := self.lines.pop(loop, None)):
                left = line.left() or left
        return left


class AsyncLines:
    """The lines of an async client, one for each event loop; loops may run in several threads."""

    def __init__(self) -> None:
        self._loops = _OfProcess(_Loops)

    @classmethod
    def of(cls, client: "redis.asyncio.Redis") -> "AsyncLines":
        """The lines that all publishers of a client share."""
        return _on_pool(client, cls)

    def running_loop(self) -> "AsyncLine":
        """The line of the running event loop."""
        loop, loops = asyncio.get_running_loop(), self._loops.get()
        line = loops.lines.get(loop)
        if line is None:
            line = loops.lines[loop] = AsyncLine(loop, loops)
        return line


class AsyncLine:
    """One producer of an event loop. While it has calls under way, others wait, and go together.

    Who finds it idle sends; a task of its own sends for those who come meanwhile, and for a sender
    who is cancelled. So what was begun is finished, whoever stops waiting.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, loops: _Loops) -> None:
        self._loop = loop
        self.unsettled = loops.unsettled
        self._line = loops.line_left() or Line()
        self._floors = Floors()
        self._waiting: deque[Call] = deque()
        self._busy = self._crowded = False
        # Whether the connection may have an answer that was not read.
        self._broken = self._line.connection is not None
        self._task: asyncio.Task[None] | None = None
        self._closing: AsyncGenerator[None, None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._was_used = False

    def left(self) -> Line | None:
        """What another loop may go on with, as this one is closed."""
        return None if self._busy else self._line

    async def publish(self, client: "redis.asyncio.Redis", call: Call) -> list[str]:
        """Append the events of a call and return their ids."""
        call.line = self
        self._waiting.append(call)
        if self._busy:
            call.done = self._loop.create_future()
            await call.done
        else:
            await self._send(client)
        if call.error is not None:
            raise call.error
        return call.ids or []

    async def resolve(self, client: "redis.asyncio.Redis", call: Call) -> list[str] | None:
        """The ids of a call that was given up, if it came through; if not, it never will."""
        try:
            if not call.settled and call.line is not None:
                await call.line.finish(call)
            if call.ids is not None or call.batch is None:
                return call.ids
            pool: Any = client.connection_pool
            connection = pool.make_connection()
            try:
                (reply,) = await asend_commands(connection, call.batch.resolve())
            finally:
                await close_connection(connection)
            return ids_found(call, reply)
        except BaseException:
            self.unsettled.remember_again(call)
            raise

    async def finish(self, call: Call) -> None:
        """Wait until a call of this line is over, in whichever loop; if that has ended, it is."""
        if self._loop is asyncio.get_running_loop():
            await self._settled(call)
        elif self._loop.is_running():
            over = asyncio.run_coroutine_threadsafe(self._settled(call), self._loop)
            await asyncio.wait([asyncio.wrap_future(over)], timeout=_LAST_WAIT)
        call.withdrawn = True

    async def _settled(self, call: Call) -> None:
        if not call.settled:
            call.done = self._loop.create_future()
            await call.done

    async def _send(self, client: "redis.asyncio.Redis") -> None:
        self._busy = True
        loaded: list[Batch] = []
        try:
            if self._crowded:
                await asyncio.sleep(0)  # those who came together come again, and go together
            loaded = self._load()
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
        self._crowded = len(calls) > 1
        return list(batches([call for call in calls if not call.withdrawn], self._line))

    def _go_on(self, client: "redis.asyncio.Redis", loaded: list[Batch]) -> None:
        self._task = self._loop.create_task(self._drain(client, loaded))

    async def _drain(self, client: "redis.asyncio.Redis", loaded: list[Batch]) -> None:
        try:
            while loaded or self._waiting:
                loaded = loaded or self._load()
                await self._ask(client, loaded)
                loaded = []
        except BaseException:
            self._fail(loaded, RedisUnavailable())
            # Numbered by another producer: what became of those must be known apart from these.
            self._fail([*batches(self._waiting, self._line)], RedisUnavailable())
            self._waiting.clear()
            raise
        finally:
            self._busy = False

    async def _ask(self, client: "redis.asyncio.Redis", loaded: list[Batch]) -> None:
        try:
            connection = await self._connection(client)
            floor = self._floors.get
            commands = [batch.append(floor(batch.calls[0].keys)) for batch in loaded]
            self._broken = True
            replies = await asend_commands(connection, *commands)
            self._broken = False
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
            self._line.connection = reserve_connection(client)
        elif self._broken:
            await close_connection(self._line.connection)
        if self._closing is None:
            self._closing = self._close_with_loop()
            await anext(self._closing)
        self._was_used = True
        self._timer = self._timer or self._loop.call_later(_IDLE, self._close_when_idle)
        return self._line.connection

    def _close_when_idle(self) -> None:
        """The loop's timer has the line as long as its connection is open.

        Of a client that is dropped, the connection would else be left to the garbage collector.
        """
        if self._busy or self._was_used:
            self._was_used = False
            self._timer = self._loop.call_later(_IDLE, self._close_when_idle)
        else:
            self._timer = None
            self._task = self._loop.create_task(close_connection(self._line.connection))

    async def _close_with_loop(self) -> AsyncGenerator[None, None]:
        """Finish when the loop does: it closes the generators that it has begun."""
        try:
            yield
        finally:
            if self._task is not None and not self._task.done():
                await asyncio.wait([self._task], timeout=_LAST_WAIT)
            await close_connection(self._line.connection)
