"""How a feed reads: by a few connections, each waiting for news of many streams at once."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from events.exceptions import EventsError, NotAStream, RedisCommandError
from events.live.topic import Topic
from events.streams import commands
from events.streams.pinned import PinnedConnection
from events.streams.retry import raise_lost_cancellation
from events.streams.scripts import Command
from events.types import Cursor

# XREAD of 1,000 streams costs Redis a millisecond, and the process that asks two more.
MOST_STREAMS: Final = 500
# Entries of one stream in one answer.
_TOGETHER: Final = 100
_PAUSE: Final = 0.005
# Milliseconds to wait where Redis does not let us end another's waiting.
_SHORT_BLOCK: Final = 100

OfChannel = Callable[[Topic], None]


class Control:
    """The connection by which a feed knows that it is still the same Redis that answers."""

    def __init__(self, wire: PinnedConnection) -> None:
        self._wire = wire
        self._lock = asyncio.Lock()
        self._next_ping: asyncio.Task[None] | None = None
        self._pings: set[asyncio.Task[None]] = set()
        self.may_unblock = True

    async def ask(self, command: Command) -> Any:
        """Run a command, one at a time."""
        async with self._lock:
            return await self._wire.send(command)

    async def confirm(self) -> None:
        """What was read until now came from this Redis; raises RedisUnavailable if it may not."""
        if self._next_ping is None:
            self._next_ping = asyncio.create_task(self._ping())
            self._pings.add(self._next_ping)
            self._next_ping.add_done_callback(self._pings.discard)
        await asyncio.shield(self._next_ping)

    async def _ping(self) -> None:
        async with self._lock:
            self._next_ping = None  # whoever comes from now on may have read after it was sent
            await self._wire.send(commands.PING)

    async def unblock(self, connection_id: int) -> bool:
        """End the waiting of another connection; False if it did not wait."""
        try:
            return bool(await self.ask(commands.unblock(connection_id)))
        except RedisCommandError:
            self.may_unblock = False
            return True

    async def close(self) -> None:
        """Give back the connection."""
        pings = list(self._pings)
        for ping in pings:
            ping.cancel()
        await asyncio.gather(*pings, return_exceptions=True)
        await self._wire.close()


class Reader:
    """Reads up to 500 streams by one connection, and is called when these change."""

    def __init__(self, control: Control, block: int, *, doubt: OfChannel, added: OfChannel) -> None:
        self.channels: dict[str, Topic] = {}
        self._control = control
        self._doubt = doubt
        self._added = added
        self._block = block
        self._changed = asyncio.Event()
        self._round = 0
        self._is_waiting = False
        self._connection_id = 0
        self._call: asyncio.Task[None] | None = None

    def add(self, channel: Topic) -> None:
        """Read this one, too."""
        self.channels[channel.key] = channel
        self.change()

    def change(self) -> None:
        """There is something else to read than what it waits for."""
        self._changed.set()
        if self._is_waiting and self._call is None and self._control.may_unblock:
            self._call = asyncio.create_task(self._call_back(self._round))

    async def _call_back(self, round_: int) -> None:
        """End the waiting; it may be that Redis has not heard of it yet."""
        try:
            while self._is_waiting and self._round == round_:
                if await self._control.unblock(self._connection_id):
                    return
                await asyncio.sleep(_PAUSE)
        except EventsError:
            pass  # the feed notices by itself
        finally:
            self._call = None

    async def run(self, wire: PinnedConnection) -> None:
        """Read until the connection is lost; raises RedisUnavailable."""
        try:
            self._connection_id = await wire.send(commands.CLIENT_ID)
            while True:
                raise_lost_cancellation(0)
                await self._turn(wire)
        finally:
            if self._call is not None:
                self._call.cancel()
            await wire.close()

    async def _turn(self, wire: PinnedConnection) -> None:
        self._changed.clear()
        held_up = False
        heads = {}
        for key, channel in list(self.channels.items()):
            if not channel.viewers or channel.is_done:
                del self.channels[key]
            elif channel.is_read:
                if channel.has_room():
                    heads[key] = channel.head
                else:
                    held_up = True
        if not heads:
            await self._pause(held_up)
            return
        block = self._block if self._control.may_unblock else min(self._block, _SHORT_BLOCK)
        if held_up:
            block = int(_PAUSE * 1000)
        self._round += 1
        self._is_waiting = True
        try:
            command = commands.xread_block(heads, _TOGETHER, block)
            reply = await wire.send(command)
        except NotAStream:
            await self._find_what_is_no_stream(wire)
            return
        finally:
            self._is_waiting = False
        news = commands.entries_of_xread(reply)
        if news:
            await self._deliver(wire, heads, news)
            await asyncio.sleep(0)  # those whom this woke up go first

    async def _pause(self, held_up: bool) -> None:
        if held_up:
            await asyncio.sleep(_PAUSE)
        else:
            await self._changed.wait()

    async def _deliver(
        self, wire: PinnedConnection, asked: dict[str, Cursor], news: dict[str, Any]
    ) -> None:
        """Take what has come to each stream, if it is known that nothing came before that.

        As long as the entry that was read last is there, what followed it is there, too.
        """
        replies = await wire.send_all([commands.entry(key, asked[key]) for key in news])
        for (key, entries), reply in zip(news.items(), replies, strict=True):
            channel = self.channels[key]
            if not channel.is_read or channel.head != asked[key]:
                continue  # it goes on from elsewhere, and is asked about again
            events = commands.events_of_xrange(channel.job_id, entries)
            if reply and not isinstance(reply, EventsError) and not channel.comes_back(events):
                channel.add(events)
                self._added(channel)
            else:
                self._doubt(channel)

    async def _find_what_is_no_stream(self, wire: PinnedConnection) -> None:
        channels = list(self.channels.values())
        replies = await wire.send_all([commands.length(channel.key) for channel in channels])
        for channel, reply in zip(channels, replies, strict=True):
            if isinstance(reply, EventsError):
                channel.fail(reply)
