"""Stream readers: one connection that reads new entries of many streams.

It waits with XREAD BLOCK. The nodes of a cluster refuse to read streams of several slots in one
command: from each master, one connection reads all streams in a pipeline, at an interval.
"""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Any, Final

from events.conf import event_settings
from events.exceptions import EventsError, NotAStream, RedisCommandError, RedisUnavailable
from events.live.topic import Topic
from events.streams import commands
from events.streams.clients import asend_command, block_ms, get_async_redis
from events.streams.pinned import PinnedConnection, forget_nodes
from events.streams.retry import SlotMoved, raised
from events.types import START

# XREAD of 1,000 streams takes Redis one millisecond, and this process two more.
MAX_STREAMS: Final = 500
_MAX_ENTRIES: Final = 100  # of one stream in one reply
_MAX_HEAD_CHECKS: Final = 100  # in one round trip
_HEAD_CHECK_SECONDS: Final = 5.0
_BACKPRESSURE_MS: Final = 5
_UNBLOCK_RETRY_SECONDS: Final = 0.005
_SHORT_BLOCK_MS: Final = 100  # if CLIENT UNBLOCK is not permitted
# Streams of a cluster are read at this interval; a pause is at least four times as long as a read.
CLUSTER_READ_SECONDS: Final = 0.05
_READ_PAUSE_FACTOR: Final = 4


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
        self._is_blocked, self._can_unblock = False, True
        self._connection_id = 0
        self._unblocking: asyncio.Task[None] | None = None
        self._block_ms = _SHORT_BLOCK_MS
        self._check_heads_at = monotonic()

    def interrupt(self) -> None:
        """End the wait: the topics to read have changed."""
        self._changed.set()
        if self._is_blocked and self._unblocking is None and self._can_unblock:
            self._unblocking = asyncio.create_task(self._unblock())

    async def _unblock(self) -> None:
        """Send CLIENT UNBLOCK until the XREAD of the earlier topics has ended."""
        try:
            while self._is_blocked and self._changed.is_set():
                await asend_command(get_async_redis(), ("CLIENT", "UNBLOCK", self._connection_id))
                await asyncio.sleep(_UNBLOCK_RETRY_SECONDS)
        except RedisCommandError:  # not permitted
            self._can_unblock, self._block_ms = False, min(self._block_ms, _SHORT_BLOCK_MS)
        except EventsError:
            pass  # this reader's connection fails, too
        finally:
            self._unblocking = None

    def accepts(self, topic: Topic, node: Any) -> bool:
        """Whether the topic, whose stream is on a node of a cluster, can be read here."""
        return self.topics.get(topic.key) is topic or len(self.topics) < MAX_STREAMS

    async def run(self) -> None:
        """Read until the connection is lost; raises RedisUnavailable."""
        client = get_async_redis()
        try:
            await self._run(client)
        except RedisUnavailable:
            # After a failover, history must not be read from the former master.
            await forget_nodes(client)
            raise

    async def _open(self, client: Any) -> PinnedConnection:
        self._block_ms = block_ms(client)
        return await PinnedConnection.open(client)

    async def _run(self, client: Any) -> None:
        connection = await self._open(client)
        try:
            self._connection_id = await connection.check_role()
            self.is_open.set()
            while True:
                await self._read_once(connection)
        finally:
            if self._unblocking is not None:
                self._unblocking.cancel()
            await connection.close()

    async def _read_once(self, connection: PinnedConnection) -> None:
        self._changed.clear()
        await self._check_quiet_heads(connection)
        topics = self._verified_topics()
        readable = [topic for topic in topics if topic.has_room()]
        if not topics:
            await self._changed.wait()
        elif not readable:
            await asyncio.sleep(_BACKPRESSURE_MS / 1000)
        else:
            is_delayed = len(readable) < len(topics)
            block = _BACKPRESSURE_MS if is_delayed else self._block_ms
            await self._read(connection, readable, block)

    def _verified_topics(self) -> list[Topic]:
        for key, topic in list(self.topics.items()):
            if not topic.subscribers or topic.is_done:
                del self.topics[key]
        return [topic for topic in self.topics.values() if topic.is_verified]

    async def _read(self, connection: PinnedConnection, topics: list[Topic], block: int) -> None:
        read = {topic.key: (topic, topic.epoch) for topic in topics}
        heads = {topic.key: topic.head for topic in topics}
        self._is_blocked = True
        try:
            reply = await connection.send(commands.xread_block(heads, _MAX_ENTRIES, block))
        except NotAStream:
            await self._fail_other_types(connection)
            return
        finally:
            self._is_blocked = False
        if entries := commands.entries_of_xread(reply):
            await self._append(connection, [read[key] for key in entries], entries)
            await asyncio.sleep(0)  # the subscribers have their turn first

    async def _append(
        self, connection: PinnedConnection, read: list[tuple[Topic, int]], entries: dict[str, Any]
    ) -> None:
        """Append entries to their topics; while the entry read last is there, none is missing."""
        for topic in await self._check_heads(connection, read):
            topic.append(commands.events_of_xrange(topic.job_id, entries[topic.key]))
            self._appended(topic)

    async def _check_heads(
        self, connection: PinnedConnection, read: list[tuple[Topic, int]]
    ) -> list[Topic]:
        """Return the topics whose streams have the entry read last; report the others as missing.

        Topics of a later epoch are ignored.
        """
        replies = await connection.send_all([commands.entry(t.key, t.head) for t, _ in read])
        intact = []
        for (topic, epoch), reply in zip(read, replies, strict=True):
            if not topic.is_current(epoch):
                continue
            if isinstance(reply, SlotMoved):
                self._slot_moved(topic)
            else:
                found = [] if isinstance(reply, EventsError) else reply
                events = commands.events_of_xrange(topic.job_id, found)
                if topic.head == START or any(map(topic.delivered.contains, events)):
                    intact.append(topic)
                else:
                    self._head_missing(topic)
        return intact

    def _slot_moved(self, topic: Topic) -> None:
        """Only in a cluster."""

    async def _check_quiet_heads(self, connection: PinnedConnection) -> None:
        """Detect what XREAD does not report: a failover, and the loss of an idle stream."""
        now = monotonic()
        if now < self._check_heads_at:
            return
        interval = min(_HEAD_CHECK_SECONDS, event_settings.KEEP_ALIVE)
        self._check_heads_at = now + interval
        await connection.check_role()
        quiet = [
            (topic, topic.epoch)
            for topic in self._verified_topics()
            if topic.last_event_at < now - interval and topic.head > START
            and not topic.is_head_archived
        ]  # fmt: skip
        for start in range(0, len(quiet), _MAX_HEAD_CHECKS):
            await self._check_heads(connection, quiet[start : start + _MAX_HEAD_CHECKS])

    async def _fail_other_types(self, connection: PinnedConnection) -> None:
        """Fail the topics whose keys hold no stream."""
        topics = list(self.topics.values())
        replies = await connection.send_all([commands.length(topic.key) for topic in topics])
        for topic, reply in zip(topics, replies, strict=True):
            if isinstance(reply, EventsError):
                topic.fail(reply)


class ClusterStreamReader(StreamReader):
    """Reads all topics of one master of a cluster."""

    def __init__(
        self,
        appended: Callable[[Topic], None],
        head_missing: Callable[[Topic], None],
        moved: Callable[[Topic], None],
        node: Any,
    ) -> None:
        super().__init__(appended, head_missing)
        self._moved, self._node = moved, node

    def accepts(self, topic: Topic, node: Any) -> bool:
        return bool(node.name == self._node.name)

    async def _open(self, client: Any) -> PinnedConnection:
        return await PinnedConnection.open(client, self._node)

    async def _read(self, connection: PinnedConnection, topics: list[Topic], block: int) -> None:
        started = monotonic()
        for start in range(0, len(topics), MAX_STREAMS):
            await self._read_some(connection, topics[start : start + MAX_STREAMS])
        await asyncio.sleep(max(CLUSTER_READ_SECONDS, _READ_PAUSE_FACTOR * (monotonic() - started)))

    async def _read_some(self, connection: PinnedConnection, topics: list[Topic]) -> None:
        read = [(topic, topic.epoch) for topic in topics]
        requests = [commands.xread({topic.key: topic.head}, _MAX_ENTRIES) for topic in topics]
        entries: dict[str, Any] = {}
        replies = await connection.send_all(requests)
        for (topic, epoch), reply in zip(read, replies, strict=True):
            if isinstance(reply, SlotMoved):
                if topic.is_current(epoch):
                    self._slot_moved(topic)
            elif isinstance(reply, NotAStream):
                topic.fail(reply)
            else:
                entries |= commands.entries_of_xread(raised(reply))
        if entries:
            await self._append(
                connection, [each for each in read if each[0].key in entries], entries
            )

    def _slot_moved(self, topic: Topic) -> None:
        self.topics.pop(topic.key, None)
        self._moved(topic)
