"""Stream reader: one connection that waits with XREAD BLOCK for new entries of many streams."""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Any, Final

from events.conf import event_settings
from events.exceptions import EventsError, NotAStream, RedisCommandError
from events.live.topic import Topic
from events.streams import commands
from events.streams.clients import arun, block_ms, get_async_redis
from events.streams.pinned import PinnedConnection
from events.streams.retry import raise_lost_cancellation
from events.types import START

# XREAD of 1,000 streams takes Redis one millisecond, and this process two more.
MAX_STREAMS: Final = 500
_MAX_ENTRIES: Final = 100  # of one stream in one reply
_MAX_HEAD_CHECKS: Final = 100  # in one round trip
_HEAD_CHECK_SECONDS: Final = 5.0
_BACKPRESSURE_SECONDS: Final = 0.005
_UNBLOCK_RETRY_SECONDS: Final = 0.005
_SHORT_BLOCK_MS: Final = 100  # where CLIENT UNBLOCK is not permitted


class StreamReader:
    """Appends the new entries of up to MAX_STREAMS streams to their topics.

    The connection is never reopened. When it is lost, Redis may have restarted with less data.
    """

    def __init__(
        self, appended: Callable[[Topic], None], head_missing: Callable[[Topic], None]
    ) -> None:
        self.topics: dict[str, Topic] = {}
        self.is_open = asyncio.Event()
        self._appended, self._head_missing = appended, head_missing
        self._changed = asyncio.Event()
        self._round = 0
        self._is_blocked, self._can_unblock = False, True
        self._connection_id = 0
        self._unblocking: asyncio.Task[None] | None = None
        self._block_ms = _SHORT_BLOCK_MS
        self._checked_at = self._check_at = monotonic()

    def interrupt(self) -> None:
        """End the wait: the topics to read have changed."""
        self._changed.set()
        if self._is_blocked and self._unblocking is None and self._can_unblock:
            self._unblocking = asyncio.create_task(self._unblock(self._round))

    async def _unblock(self, round_: int) -> None:
        """Send CLIENT UNBLOCK until Redis has received the XREAD that it ends."""
        try:
            while self._is_blocked and self._round == round_:
                if await arun(get_async_redis(), ("CLIENT", "UNBLOCK", self._connection_id)):
                    return
                await asyncio.sleep(_UNBLOCK_RETRY_SECONDS)
        except RedisCommandError:
            self._can_unblock = False
        except EventsError:
            pass  # this reader's connection fails, too
        finally:
            self._unblocking = None

    async def run(self) -> None:
        """Read until the connection is lost; raises RedisUnavailable."""
        client = get_async_redis()
        connection = await PinnedConnection.open(client)
        self._block_ms = block_ms(client)
        try:
            self._connection_id = await connection.send(("CLIENT", "ID"))
            self.is_open.set()
            while True:
                raise_lost_cancellation(0)
                await self._read_once(connection)
        finally:
            if self._unblocking is not None:
                self._unblocking.cancel()
            await connection.close()

    async def _read_once(self, connection: PinnedConnection) -> None:
        self._changed.clear()
        await self._check_quiet_heads(connection)
        topics = self._verified_topics()
        readable = {topic.key: topic for topic in topics if topic.has_room()}
        is_delayed = len(readable) < len(topics)
        if readable:
            await self._read(connection, readable, is_delayed=is_delayed)
        elif is_delayed:
            await asyncio.sleep(_BACKPRESSURE_SECONDS)
        else:
            await self._changed.wait()

    def _verified_topics(self) -> list[Topic]:
        for key, topic in list(self.topics.items()):
            if not topic.subscribers or topic.is_done:
                del self.topics[key]
        return [topic for topic in self.topics.values() if topic.is_verified]

    async def _read(
        self, connection: PinnedConnection, topics: dict[str, Topic], *, is_delayed: bool
    ) -> None:
        block = self._block_ms
        if is_delayed:
            block = int(_BACKPRESSURE_SECONDS * 1000)
        elif not self._can_unblock:
            block = min(block, _SHORT_BLOCK_MS)
        epochs = {key: topic.epoch for key, topic in topics.items()}
        heads = {key: topic.head for key, topic in topics.items()}
        self._round += 1
        self._is_blocked = True
        try:
            reply = await connection.send(commands.xread_block(heads, _MAX_ENTRIES, block))
        except NotAStream:
            await self._fail_other_types(connection)
            return
        finally:
            self._is_blocked = False
        if entries := commands.entries_of_xread(reply):
            await self._append(connection, [(topics[key], epochs[key]) for key in entries], entries)
            await asyncio.sleep(0)  # the subscribers have their turn first

    async def _append(
        self, connection: PinnedConnection, read: list[tuple[Topic, int]], entries: dict[str, Any]
    ) -> None:
        """Append entries to their topics; while the entry read last is there, none is missing."""
        for topic, is_intact in await self._check_heads(connection, read):
            if is_intact:
                topic.append(commands.events_of_xrange(topic.job_id, entries[topic.key]))
                self._appended(topic)
            else:
                self._head_missing(topic)

    async def _check_heads(
        self, connection: PinnedConnection, read: list[tuple[Topic, int]]
    ) -> list[tuple[Topic, bool]]:
        """Whether each stream has the entry read last; omits topics of a later epoch."""
        replies = await connection.send_all([commands.entry(t.key, t.head) for t, _ in read])
        checked = []
        for (topic, epoch), reply in zip(read, replies, strict=True):
            if topic.is_current(epoch):
                found = [] if isinstance(reply, EventsError) else reply
                events = commands.events_of_xrange(topic.job_id, found)
                checked.append((topic, any(map(topic.delivered.contains, events))))
        return checked

    async def _check_quiet_heads(self, connection: PinnedConnection) -> None:
        """Detect the loss of a stream without new entries, which XREAD does not report."""
        now, checked_at = monotonic(), self._checked_at
        if now < self._check_at:
            return
        self._checked_at = now
        self._check_at = now + min(_HEAD_CHECK_SECONDS, event_settings.KEEP_ALIVE)
        quiet = [
            (topic, topic.epoch)
            for topic in self._verified_topics()
            if topic.last_event_at < checked_at and topic.head > START
            and not topic.is_head_archived
        ]  # fmt: skip
        for start in range(0, len(quiet), _MAX_HEAD_CHECKS):
            part = quiet[start : start + _MAX_HEAD_CHECKS]
            for topic, is_intact in await self._check_heads(connection, part):
                if not is_intact:
                    self._head_missing(topic)

    async def _fail_other_types(self, connection: PinnedConnection) -> None:
        """Fail the topics whose keys hold no stream."""
        topics = list(self.topics.values())
        replies = await connection.send_all([commands.length(topic.key) for topic in topics])
        for topic, reply in zip(topics, replies, strict=True):
            if isinstance(reply, EventsError):
                topic.fail(reply)
