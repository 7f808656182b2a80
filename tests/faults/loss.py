"""Steps that write, archive and lose events of a job, and checks of the invariants of its log."""

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from time import monotonic, sleep

import redis
from django.db import connections, transaction

from events import outbox
from events.archive.archiver import Archiver
from events.exceptions import EventsError, RedisCommandError, RedisOutOfMemory, RedisUnavailable
from events.history import read_events
from events.live import follow
from events.live.messages import Reset
from events.models import ArchiveCheckpoint, ArchivedEvent
from events.outbox import writer
from events.outbox.relay import Relay
from events.producer.batch import LastAcked
from events.producer.sender import senders_of, sync_sender
from events.publisher import get_publisher
from events.streams.clients import close_async_redis, get_redis
from events.types import Cursor, Event

JOB = "abc"
KEY, STATE = "job_events:abc", "{job_events:abc}:producers"
HOUR = 3_600_000


class World:
    """The log of one job. Each event has a unique number: `tx` if transactional, otherwise `n`."""

    def __init__(self) -> None:
        self.committed: list[int] = []
        self.archived: dict[str, bytes] = {}
        self._number = 0
        self._copy: dict[str, bytes | None] = {KEY: None, STATE: None}
        self._late = Archiver()  # runs rarely: its state may be older than a loss
        # Earlier tests use the same job.
        sync_sender(senders_of(get_redis())).last_acked = LastAcked()

    @property
    def redis(self) -> redis.Redis:
        return get_redis()

    def next(self) -> int:
        self._number += 1
        return self._number

    def commit(self, count: int = 1) -> None:
        """Publish events in one transaction."""
        with transaction.atomic():
            numbers = [self.next() for _ in range(count)]
            for number in numbers:
                outbox.publish_event(JOB, {"event_type": "tx", "tx": number})
        self.committed += numbers

    def roll_back(self) -> None:
        """Publish an event in a transaction that is rolled back."""
        with suppress(ZeroDivisionError), transaction.atomic():
            outbox.publish_event(JOB, {"event_type": "tx", "tx": self.next()})
            raise ZeroDivisionError

    def commit_unseen(self) -> None:
        """Commit without the append, as if the process died between both: the relay appends."""
        breaker = writer.redis_breaker
        before, breaker._open_until = breaker._open_until, float("inf")
        self.commit()
        breaker._open_until = before

    def publish(self, count: int = 1) -> None:
        with suppress(RedisCommandError, RedisUnavailable):
            get_publisher().publish_events(
                JOB, [{"event_type": "step", "n": self.next()} for _ in range(count)]
            )

    def external(self) -> None:
        """Append an entry like an external producer."""
        with suppress(redis.ResponseError):
            data = b'{"event_type":"step","n":%d}' % self.next()
            self.redis.xadd(KEY, {"data": data, "event_type": "step"})

    def from_the_future(self) -> None:
        """Append an entry whose id is an hour ahead, as if the clock was rewound afterwards."""
        with suppress(redis.ResponseError):
            data = b'{"event_type":"step","n":%d}' % self.next()
            ahead = self.redis.time()[0] * 1000 + HOUR
            self.redis.xadd(KEY, {"data": data, "event_type": "step"}, id=f"{ahead}-*")

    def archive(self, archiver: Archiver | None = None) -> None:
        archiver = archiver or Archiver()
        while archiver.step():
            pass
        self.check_archive()

    def archive_late(self) -> None:
        """Archive with an archiver whose state may be older than a loss."""
        self._late.step()
        self.check_archive()

    def relay(self) -> None:
        with suppress(RedisOutOfMemory):
            Relay().step()

    def check_archive(self) -> None:
        """Assert that the archive still has all events archived before."""
        rows = ArchivedEvent.objects.filter(log__job_id=JOB).exclude(event_id=None)
        now = {str(row.event_id): row.data.encode() for row in rows}
        assert {i: now.get(i) for i in self.archived} == self.archived
        self.archived = now

    def wipe(self) -> None:
        self.redis.flushall()
        sleep(0.001)

    def delete_stream(self) -> None:
        self.redis.delete(KEY)
        sleep(0.001)

    def delete_state(self) -> None:
        self.redis.delete(STATE)

    def evict(self) -> None:
        self.redis.delete(KEY, STATE)
        sleep(0.001)  # the next entry must not be assigned the id of the last one

    def snapshot(self) -> None:
        self._copy = {key: self.redis.dump(key) for key in (KEY, STATE)}

    def restart_from_snapshot(self) -> None:
        """Restore the snapshot and close all connections, like a restart with an older file."""
        self.restore_snapshot()
        self.redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def restore_snapshot(self) -> None:
        """Restore the snapshot; connections stay open."""
        self.empty()
        self.redis.flushall()
        for key, value in self._copy.items():
            if value is not None:
                self.redis.restore(key, 0, value)

    def fill(self) -> None:
        self.redis.config_set("maxmemory", 1)

    def empty(self) -> None:
        with suppress(redis.exceptions.NoPermissionError):
            self.redis.config_set("maxmemory", 0)

    def do(self, *steps: str) -> None:
        """Run steps, which are names of methods."""
        for step in steps:
            getattr(self, step)()

    def finish(self, follower: "LogFollower | None" = None) -> list[Event]:
        """Settle; check the log, its pages and the events that a follower received."""
        self.settle()
        whole = self.check()
        self.check_pages(whole)
        if follower is not None:
            follower.check(whole)
        return whole

    def settle(self) -> None:
        """Run relay and archiver until nothing is pending."""
        self.empty()
        for _ in range(4):
            while Relay().step():
                pass
            self.archive()
        assert not ArchivedEvent.objects.filter(event_id=None).exists()

    def check(self) -> list[Event]:
        """Check that the log has each committed and archived event once and in order; return it."""
        whole = read_events(JOB, limit=100_000)
        cursors = [event.cursor for event in whole]
        assert cursors == sorted(set(cursors))
        data = [event.data for event in whole]
        transactional = [d["tx"] for d in data if "tx" in d]
        assert transactional == self.committed, (transactional, self.committed)
        assert max(Counter(d["n"] for d in data if "n" in d).values(), default=1) == 1
        by_id = {event.id: event.raw for event in whole}
        assert {i: by_id.get(i) for i in self.archived} == self.archived
        return whole

    def check_pages(self, whole: list[Event]) -> None:
        """Check pages from several cursors, in both directions and several sizes."""
        rng = random.Random(len(whole))
        places = rng.sample(range(len(whole)), min(len(whole), 12))
        for place in places:
            cursor = whole[place].id
            for limit in (1, 3, len(whole) + 1):
                after = read_events(JOB, after=cursor, limit=limit)
                assert after == whole[place + 1 :][:limit]
                before = read_events(JOB, before=cursor, limit=limit, order="desc")
                assert before == whole[:place][::-1][:limit]
        for kind in ("tx", "step"):
            of_kind = [event for event in whole if event.event_type == kind]
            assert read_events(JOB, limit=100_000, event_types=[kind]) == of_kind
            assert self._paged([kind]) == of_kind

    def _paged(self, event_types: list[str]) -> list[Event]:
        events: list[Event] = []
        while page := read_events(
            JOB, after=events[-1].id if events else None, limit=7, event_types=event_types
        ):
            events += page
        return events


class FollowerLoop:
    """An event loop in a thread; its followers share a hub."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.followers: list[LogFollower] = []
        self._stopped = asyncio.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
            runner.run(self._main())

    async def _main(self) -> None:
        await self._stopped.wait()
        await close_async_redis()
        await asyncio.sleep(0)

    def add(self, after: str = "0") -> "LogFollower":
        """Start a follower."""
        follower = LogFollower(after)
        follower.start(self.loop)
        self.followers.append(follower)
        return follower

    def __enter__(self) -> "FollowerLoop":
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        for follower in self.followers:
            follower.stopped.set()  # the completion of any follower may be queried
        for follower in self.followers:
            follower.stop()
        self.loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(20)
        assert not self._thread.is_alive()


class LogFollower:
    """Follows the log on its own or a shared event loop."""

    def __init__(self, after: str = "0") -> None:
        self.events: list[Event] = []
        self.resets: list[Reset] = []
        self.error: BaseException | None = None
        self.stopped = threading.Event()
        self._after = Cursor.parse(after)
        self._paused = threading.Lock()
        self._done: Future[None] | None = None
        self._own: FollowerLoop | None = None

    def is_terminal(self, _event: Event) -> bool:
        """No event ends the log."""
        return False

    async def completed(self, last: Mapping[str, Event | None]) -> Collection[str]:
        """The log ends when the follower is stopped."""
        return list(last) if self.stopped.is_set() else ()

    def wait_for(self, count: int) -> None:
        """Wait until `count` events were received."""
        deadline = monotonic() + 20
        while len(self.events) < count:
            assert monotonic() < deadline
            sleep(0.005)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Block the event loop at the next event."""
        with self._paused:
            yield

    def __enter__(self) -> "LogFollower":
        self._own = FollowerLoop()
        self._own.__enter__()
        self.start(self._own.loop)
        return self

    def __exit__(self, *_exception: object) -> None:
        assert self._own is not None
        self.stop()
        self._own.__exit__()

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._done = asyncio.run_coroutine_threadsafe(self._follow(), loop)

    def stop(self) -> None:
        """Receive all events and stop."""
        self.stopped.set()
        assert self._done is not None
        self._done.result(20)

    async def _follow(self) -> None:
        try:
            async with asyncio.timeout(60):
                async for message in follow(JOB, after=self._after, completion=self):
                    if isinstance(message, Event):
                        self.events.append(message)
                        with self._paused:  # blocks the loop
                            pass
                    elif isinstance(message, Reset):
                        self.resets.append(message)
                        after = Cursor.parse(message.after)
                        self._after = min(self._after, after)
                        self.events = [event for event in self.events if event.cursor <= after]
        except (EventsError, TimeoutError) as error:
            self.error = error
        finally:
            connections.close_all()

    def check(self, whole: list[Event]) -> None:
        """Assert that the events since the last reset equal those of history."""
        self.stop()
        assert self.error is None
        received = [(event.id, event.raw) for event in self.events]
        assert received == [(event.id, event.raw) for event in whole if event.cursor > self._after]


def position() -> str:
    return str(ArchiveCheckpoint.objects.get(log__job_id=JOB).position)
