"""Data loss between any two steps of live delivery: subscribers converge to history."""

import asyncio
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import timedelta
from time import sleep

import pytest
from asgiref.sync import sync_to_async

from events.archive.archiver import Archiver
from events.history import read_events
from events.live import follow, hub
from events.live.hub import Hub, hubs
from events.live.messages import End, KeepAlive, Live, Reset
from events.live.stream_reader import StreamReader
from events.outbox.relay import Relay
from events.publisher import get_publisher
from events.types import Cursor, Event
from tests.faults.loss import JOB, KEY

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

in_thread = sync_to_async


@pytest.fixture(autouse=True)
def fast(monkeypatch, settings):
    monkeypatch.setattr("events.outbox.relay.MIN_AGE", timedelta())
    monkeypatch.setattr(Hub, "page", unshared_page)
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "STREAM_TAIL": 3, "KEEP_ALIVE": 0.2}


def unshared_page(hub, topic, after, limit, read_page=Hub.page):
    """Each subscriber reads pages of its own."""
    topic.pages.clear()
    return read_page(hub, topic, after, limit)


class Subscription:
    """Events that a subscriber received since its last reset."""

    def __init__(self, messages):
        self.messages, self.events, self.resets = messages, [], []

    async def until(self, stop):
        async with asyncio.timeout(20):
            while not stop():
                self.take(await anext(self.messages))

    def take(self, message):
        if isinstance(message, Event):
            assert not self.events or message.cursor > self.events[-1].cursor
            self.events.append(message)
        elif isinstance(message, Reset):
            after = Cursor.parse(message.after)
            self.events = [event for event in self.events if event.cursor <= after]
            self.resets.append(message.after)

    async def converge(self):
        """Receive until the events equal those of history."""
        log = await in_thread(read_events)(JOB)
        await self.until(lambda: contents(self.events) == contents(log))


def ids(events):
    return [event.id for event in events]


def contents(events):
    return [(event.id, event.raw) for event in events]


@asynccontextmanager
async def subscribed(after="0"):
    async with aclosing(follow(JOB, after=Cursor.parse(after))) as messages:
        subscription = Subscription(messages)
        seen = []
        messages_of = subscription.take
        subscription.take = lambda message: (seen.append(message), messages_of(message))
        await subscription.until(lambda: any(isinstance(each, Live) for each in seen))
        yield subscription


def xadd(redis_client, entry_id, number):
    redis_client.xadd(KEY, {"data": b'{"n":%d}' % number}, id=entry_id)


class Held:
    """Holds the next call of a coroutine function before it begins, or before it returns."""

    def __init__(self, monkeypatch, owner, name, *, at_end=False):
        self._call, self._at_end, self._is_armed = getattr(owner, name), at_end, True
        self.reached, self.released = asyncio.Event(), asyncio.Event()
        monkeypatch.setattr(owner, name, self.wrapper())

    def wrapper(self):
        async def call(*args, **kwargs):
            is_held, self._is_armed = self._is_armed, False
            if is_held and not self._at_end:
                await self._hold()
            result = await self._call(*args, **kwargs)
            if is_held and self._at_end:
                await self._hold()
            return result

        return call

    async def _hold(self):
        self.reached.set()
        await self.released.wait()


async def test_stream_replaced_between_xread_and_the_check(world, monkeypatch):
    """The previously read entry is missing: the entries returned by XREAD are discarded."""
    await in_thread(world.publish)(2)
    async with subscribed() as subscription:
        held = Held(monkeypatch, StreamReader, "_append")
        await in_thread(world.publish)()
        await held.reached.wait()
        await in_thread(world.do)("wipe", "publish")
        held.released.set()
        await subscription.converge()
    assert subscription.resets == ["0-0"]
    assert [event.data["n"] for event in subscription.events] == [4]


@pytest.mark.parametrize("later", [[], ["4-0"]], ids=["same-ids", "and-a-later-one"])
async def test_ids_assigned_twice(world, redis_client, later):
    """An external producer writes the same ids after a wipe; the content differs from 2-0 on."""
    for number in (1, 2, 3):
        xadd(redis_client, f"{number}-0", number)
    async with subscribed() as subscription:
        redis_client.delete(KEY)
        for entry_id, number in (("1-0", 1), ("2-0", 20), ("3-0", 30)):
            xadd(redis_client, entry_id, number)
        for entry_id in later:
            xadd(redis_client, entry_id, 40)
        await subscription.converge()
    assert subscription.resets == ["1-0"]


async def test_page_read_before_a_loss_is_discarded(world, monkeypatch):
    """The topic was verified again before the page was delivered."""
    await in_thread(world.publish)(200)
    async with subscribed() as first:
        held = Held(monkeypatch, hub, "aread_events", at_end=True)
        async with aclosing(follow(JOB)) as messages:
            second = Subscription(messages)
            receiving = asyncio.create_task(second.until(lambda: second.events))
            await held.reached.wait()
            await in_thread(world.do)("wipe", "publish")
            await first.converge()
            held.released.set()
            await receiving
            await second.converge()
    assert first.resets == ["0-0"]
    assert second.resets == []


async def test_page_read_before_a_loss_is_detected(world, monkeypatch):
    """Its subscriber is reset with the others when the loss is detected."""
    await in_thread(world.publish)(200)
    async with subscribed() as first:
        held = Held(monkeypatch, Hub, "_verify")
        await in_thread(world.wipe)()
        async with aclosing(follow(JOB)) as messages:
            second = Subscription(messages)
            await in_thread(world.publish)(3)
            await held.reached.wait()
            held.released.set()
            await asyncio.gather(first.converge(), second.converge())


async def test_connections_lost_while_a_page_is_read(world, monkeypatch):
    """Redis restarts from an older snapshot after the page was read."""
    await in_thread(world.do)("publish", "snapshot")
    await in_thread(world.publish)(200)
    async with subscribed() as first:
        held = Held(monkeypatch, hub, "aread_events", at_end=True)
        async with aclosing(follow(JOB)) as messages:
            second = Subscription(messages)
            receiving = asyncio.create_task(second.until(lambda: second.events))
            await held.reached.wait()
            await in_thread(world.do)("restart_from_snapshot", "publish")
            held.released.set()
            await receiving
            await asyncio.gather(first.converge(), second.converge())
    assert len(first.resets) == 1


async def test_connections_lost_while_the_log_is_verified(world, monkeypatch):
    """The connection of the reader was opened before the log was read, and is lost as well."""
    await in_thread(world.do)("publish", "snapshot", "publish")
    held = Held(monkeypatch, Hub, "_verify", at_end=True)
    async with aclosing(follow(JOB)) as messages:
        subscription = Subscription(messages)
        receiving = asyncio.create_task(subscription.until(lambda: subscription.events))
        await held.reached.wait()
        await in_thread(world.do)("restart_from_snapshot", "publish")
        held.released.set()
        await receiving
        await subscription.converge()


async def test_log_is_not_read_before_the_connection_is_open(world, monkeypatch):
    """A restart between the two would not be detected."""
    await in_thread(world.publish)()
    held = Held(monkeypatch, StreamReader, "run")
    read = Held(monkeypatch, hub, "aread_events")
    async with aclosing(follow(JOB)) as messages:
        subscription = Subscription(messages)
        receiving = asyncio.create_task(subscription.converge())
        await held.reached.wait()
        await asyncio.sleep(0.1)
        assert not read.reached.is_set()
        held.released.set()
        read.released.set()
        await receiving


async def test_reply_older_than_the_verification_is_discarded(world, monkeypatch):
    """An older snapshot is restored without a disconnect; the last read entry is intact."""
    await in_thread(world.do)("publish", "publish", "snapshot")
    async with subscribed() as subscription:
        held = Held(monkeypatch, StreamReader, "_append")
        await in_thread(world.publish)()
        await held.reached.wait()
        await in_thread(world.restore_snapshot)()
        ((_, our_hub),) = hubs.all()
        topic = our_hub._topics[JOB]
        epoch = topic.epoch
        our_hub.invalidate(topic)
        await subscription.until(lambda: topic.epoch > epoch)
        held.released.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                while True:
                    subscription.take(await anext(subscription.messages))
    assert ids(subscription.events) == ids(await in_thread(read_events)(JOB))
    assert subscription.resets == []


async def test_subscriber_catching_up_below_a_change(world, redis_client, monkeypatch):
    """The event at its cursor is missing and the one before it differs: both are discarded."""
    monkeypatch.setattr("events.history.page_size._FIRST_PAGE_EVENTS", 3)
    monkeypatch.setattr("events.live.topic._RING_IDLE_SECONDS", 0)
    for number in range(1, 11):
        xadd(redis_client, f"{number}-0", number)
    async with subscribed():
        await asyncio.sleep(0.2)  # the ring is empty: subscribers catch up
        async with aclosing(follow(JOB)) as messages:
            subscription = Subscription(messages)
            await subscription.until(lambda: len(subscription.events) == 3)
            redis_client.delete(KEY)
            for number, content in ((1, 1), (2, 20), (5, 50)):
                xadd(redis_client, f"{number}-0", content)
            await subscription.converge()
    assert subscription.resets == ["1-0"]


async def test_subscribers_joining_while_the_log_is_verified(world, monkeypatch):
    """They wait until their cursors are checked against the new log."""
    await in_thread(world.do)("commit", "archive", "publish")
    lost = (await in_thread(read_events)(JOB))[-1].id
    async with subscribed() as first:
        held = Held(monkeypatch, Hub, "_verify")
        await in_thread(world.do)("wipe", "publish")
        await held.reached.wait()
        async with (
            aclosing(follow(JOB)) as from_start,
            aclosing(follow(JOB, after=Cursor.parse(lost))) as from_lost,
        ):
            others = [Subscription(from_start), Subscription(from_lost)]
            log = await in_thread(read_events)(JOB)
            receiving = asyncio.gather(
                others[0].until(lambda: ids(others[0].events) == ids(log)),
                others[1].until(lambda: ids(others[1].events) == ids(log[1:])),
            )
            await asyncio.sleep(0.1)
            assert not any(other.events for other in others)
            held.released.set()
            await first.converge()
            await receiving
    assert first.resets == others[1].resets == [log[0].id]
    assert others[0].resets == []


async def test_slow_subscriber_receives_one_reset_for_two_losses(world):
    """The reset has the lower cursor."""
    await in_thread(world.do)("commit", "archive", "publish")
    async with subscribed() as slow, subscribed() as quick:
        await in_thread(world.do)("wipe", "publish")
        await quick.converge()
        await in_thread(world.do)("wipe", "publish")
        await quick.converge()
        await slow.converge()
    assert len(quick.resets) == 2
    assert len(slow.resets) == 1


async def test_transactional_events_are_appended_again_under_new_ids(world):
    """The subscriber is reset and receives each event once."""
    await in_thread(world.commit)(3)
    async with subscribed() as subscription:
        await in_thread(world.do)("wipe", "relay", "commit", "archive")
        await subscription.converge()
    assert subscription.resets == ["0-0"]
    assert [event.data["tx"] for event in subscription.events] == [1, 2, 3, 4]


async def test_archiver_commits_after_the_wipe(world, monkeypatch):
    """Its events appear below those that the relay appended again, which are removed later."""
    await in_thread(world.do)("commit", "archive", "commit")
    async with subscribed() as subscription:
        verify = Archiver._verify_still_in_redis

        def lose_after(archiver, batch):
            verify(archiver, batch)
            monkeypatch.setattr(Archiver, "_verify_still_in_redis", verify)
            world.wipe()
            Relay().step()
            world.publish()

        monkeypatch.setattr(Archiver, "_verify_still_in_redis", lose_after)
        await in_thread(Archiver().step)()
        await in_thread(world.settle)()
        await subscription.converge()
    assert [event.data.get("tx") for event in subscription.events] == [1, 2, None]


async def test_process_paused_during_a_loss(world):
    """The reply in the socket buffer is older than the loss."""
    await in_thread(world.publish)(2)
    async with subscribed() as subscription:
        world.publish(2)  # on the event loop, which reads nothing meanwhile
        world.do("wipe", "publish", "publish")
        await subscription.converge()
    assert subscription.resets == ["0-0"]


class Finished:
    """Completion of a finished job whose last event Redis loses during the check."""

    def __init__(self, world):
        self.world = world

    def is_terminal(self, event):
        return "last" in event.data

    async def completed(self, last):
        over = [job_id for job_id in last if last[job_id] and "last" in last[job_id].data]
        if over and self.world is not None:
            world, self.world = self.world, None
            await in_thread(world.wipe)()
            await in_thread(world.relay)()
        return over


async def test_end_is_not_sent_before_the_last_event_is_relayed(world):
    async with aclosing(follow(JOB, completion=Finished(world))) as messages:
        subscription = Subscription(messages)
        await in_thread(world.commit)()
        await in_thread(commit_last)()
        async with asyncio.timeout(20):
            async for message in messages:
                subscription.take(message)
                if isinstance(message, End):
                    break
    assert ids(subscription.events) == ids(await in_thread(read_events)(JOB))
    assert len(subscription.events) == 2


def commit_last():
    from django.db import transaction

    from events import outbox

    with transaction.atomic():
        outbox.publish_event(JOB, {"event_type": "tx", "last": True})


# Cursors


@pytest.fixture
def log(world):
    """Three archived events that are lost in the stream, and two that are not archived."""
    for step in ("publish", "publish", "publish", "archive", "wipe", "publish", "publish"):
        world.do(step)
        sleep(0.002)
    return read_events(JOB)


def between(log, place):
    """Return a cursor between an event and the next."""
    return Cursor(log[place].cursor.ms, log[place].cursor.seq + 1000)


def reset_of(messages):
    return [message.after for message in messages if isinstance(message, Reset)]


async def received_from(cursor):
    received = []
    async with aclosing(follow(JOB, after=cursor)) as messages, asyncio.timeout(20):
        async for message in messages:
            if not isinstance(message, KeepAlive):
                received.append(message)
            if isinstance(message, Live):
                return received
    return received


@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize("is_shared", [False, True], ids=["alone", "in-a-ring"])
async def test_cursor_in_the_log_is_not_reset(log, place, is_shared):
    async with subscribed() if is_shared else aclosing(follow(JOB)):
        received = await received_from(log[place].cursor)
    assert received == [*log[place + 1 :], Live()]


@pytest.mark.parametrize("is_shared", [False, True], ids=["alone", "in-a-ring"])
async def test_cursor_missing_in_the_log_is_reset_to_the_event_before(log, is_shared):
    async with subscribed() if is_shared else aclosing(follow(JOB)):
        for cursor, after in (
            (Cursor(5, 0), "0-0"),
            (between(log, 1), log[1].id),
            (between(log, 3), log[3].id),
            (between(log, 4), log[4].id),
            (Cursor(log[4].cursor.ms + 3_600_000, 0), log[4].id),
        ):
            received = await received_from(cursor)
            assert reset_of(received) == [after]
            expected = [event for event in log if event.cursor > Cursor.parse(after)]
            assert received[1:] == [*expected, Live()]


async def test_cursor_of_an_empty_log_is_reset(redis_client):
    received = await received_from(Cursor(5, 0))
    assert reset_of(received) == ["0-0"]
    assert received[1:] == [Live()]


async def test_cursor_ahead_of_the_topic_is_not_reset(world, monkeypatch):
    """Another process delivered an event that this process has not read yet."""
    await in_thread(world.publish)()
    async with subscribed():
        held = Held(monkeypatch, StreamReader, "_append")
        (ahead,) = await in_thread(get_publisher().publish_events)(JOB, [{"n": 2}])
        await held.reached.wait()
        receiving = asyncio.create_task(received_from(Cursor.parse(ahead)))
        await asyncio.sleep(0.2)
        held.released.set()
        assert await receiving == [Live()]
