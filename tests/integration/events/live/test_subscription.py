"""Subscriptions: catch-up, live delivery, the end of a log, and failures of Redis."""

import asyncio
import gc
import threading
from contextlib import aclosing

import pytest
from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.db import connections

from events.exceptions import NotAStream, RedisUnavailable
from events.history import aread_events, reader
from events.live import follow, hub, subscribe, subscriber
from events.live.frames import LIVE
from events.live.messages import End, KeepAlive, Live
from events.publisher import RedisStreamPublisher, get_publisher
from events.streams.clients import get_async_redis
from events.streams.pinned import PinnedConnection
from events.testing.redis_server import EmbeddedRedis
from events.types import Cursor, Event
from tests.support.database import ERRORS

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]


def publish(*numbers):
    return get_publisher().publish_events("abc", [{"n": n} for n in numbers])


async def until(messages, stop):
    """Receive messages up to the first for which `stop` returns True."""
    received = []
    async with asyncio.timeout(20):
        async for message in messages:
            received.append(message)
            if stop(message):
                break
    return received


def numbers(messages):
    return [message.data["n"] for message in messages if isinstance(message, Event)]


async def test_catch_up_is_followed_by_live_delivery():
    publish(1, 2)
    async with aclosing(follow("abc")) as messages:
        first = await until(messages, lambda message: isinstance(message, Live))
        assert numbers(first) == [1, 2]
        publish(3)
        assert numbers(await until(messages, lambda message: isinstance(message, Event))) == [3]


async def test_subscription_from_a_cursor():
    ids = publish(1, 2, 3)
    async with aclosing(follow("abc", after=Cursor.parse(ids[0]))) as messages:
        assert numbers(await until(messages, lambda m: isinstance(m, Live))) == [2, 3]


async def test_first_event_of_an_empty_log_is_not_verified():
    async with subscribe("abc") as subscriber:
        assert await subscriber.next() == [LIVE]
        publish(1)
        (message,) = await subscriber.next()
        assert numbers([message.message]) == [1]
        assert subscriber.topic.epoch == 1


async def test_error_of_a_page_whose_subscriber_has_left_is_not_logged():
    publish(1)
    logged = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: logged.append(context))
    async with subscribe("abc", after=Cursor.parse("5-0")) as subscriber:
        reading = asyncio.create_task(subscriber.next())
        tasks = subscriber._hub._page_tasks
        while not tasks:  # noqa: ASYNC110 - no event to wait for
            await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait(tasks)
    del tasks, reading
    gc.collect()
    assert not logged


async def test_subscription_before_the_first_event():
    async with aclosing(follow("abc")) as messages:
        assert await until(messages, lambda m: isinstance(m, Live)) == [Live()]
        publish(1)
        assert numbers(await until(messages, lambda m: isinstance(m, Event))) == [1]


async def test_catch_up_of_several_batches():
    publish(*range(1700))
    async with aclosing(follow("abc")) as messages:
        received = await until(messages, lambda m: isinstance(m, Live))
    assert numbers(received) == list(range(1700))


class NumberCompletion:
    """Completion by the event with a number."""

    def __init__(self, number, *, is_terminal):
        self.number, self._is_terminal, self.queries = number, is_terminal, []

    def is_terminal(self, event):
        return self._is_terminal and event.data["n"] == self.number

    async def completed(self, last):
        numbers_ = {job_id: event and event.data["n"] for job_id, event in last.items()}
        self.queries.append(numbers_)
        return [job_id for job_id in last if numbers_[job_id] == self.number]


async def test_end_follows_the_last_event():
    """An event appended while completion is queried is delivered before the end."""

    class AppendingCompletion:
        queries = 0

        def is_terminal(self, event):
            return True

        async def completed(self, last):
            self.queries += 1
            if self.queries == 1:
                await sync_to_async(publish)(2)
            return last.keys()

    publish(1)
    completion = AppendingCompletion()
    received = await until(follow("abc", completion=completion), lambda m: isinstance(m, End))
    assert [m for m in received if isinstance(m, Live)] == [Live()]
    assert numbers(received) == [1, 2]
    assert received[-1] == End()


async def test_terminal_event_triggers_the_completion_query():
    completion = NumberCompletion(2, is_terminal=True)
    async with aclosing(follow("abc", completion=completion)) as messages:
        await until(messages, lambda m: isinstance(m, Live))
        publish(1)
        await until(messages, lambda m: isinstance(m, Event))
        publish(2)
        await until(messages, lambda m: isinstance(m, End))
    assert completion.queries == [{"abc": 2}]


async def test_idle_logs_share_a_completion_query(settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "KEEP_ALIVE": 0.1}
    completion = NumberCompletion(1, is_terminal=False)
    shared = {"abc": None, "empty": None}
    async with (
        aclosing(follow("abc", completion=completion)) as messages,
        aclosing(follow("empty", completion=completion)) as others,
    ):
        await until(others, lambda m: isinstance(m, Live))
        await until(messages, lambda m: isinstance(m, Live))
        while shared not in completion.queries:  # noqa: ASYNC110 - no event to wait for
            await asyncio.sleep(0.05)
        publish(1)
        received = await until(messages, lambda m: isinstance(m, End))
    assert numbers(received) == [1]


async def test_idle_log_sends_keep_alives(settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "KEEP_ALIVE": 0.05}
    async with aclosing(follow("abc")) as messages:
        await until(messages, lambda m: isinstance(m, Live))
        received = await until(messages, lambda m: isinstance(m, KeepAlive))
    assert received == [KeepAlive()]


async def test_key_of_another_type(redis_client):
    redis_client.set("job_events:abc", "x")
    with pytest.raises(NotAStream):
        await until(follow("abc"), lambda _: False)


async def test_events_appended_during_catch_up_are_delivered_once():
    """A writer appends without pauses while subscribers join."""
    publisher = RedisStreamPublisher(get_async_redis())

    async def write():
        for n in range(600):
            await publisher.publish_event("abc", {"n": n})

    async def watch(delay):
        await asyncio.sleep(delay)
        messages = follow("abc")
        return numbers(await until(messages, lambda m: isinstance(m, Event) and m.data["n"] == 599))

    async with asyncio.TaskGroup() as group:
        subscribers = [group.create_task(watch(n / 200)) for n in range(20)]
        group.create_task(write())
    assert all(subscriber.result() == list(range(600)) for subscriber in subscribers)


async def test_many_subscribers_share_a_connection(redis_client):
    """One connection reads forty streams; reads of history use others temporarily."""

    async def watch(job_id):
        messages = follow(job_id)
        await until(messages, lambda m: isinstance(m, Live))
        return messages

    before = {each["id"] for each in redis_client.client_list()}

    def new():
        return [each for each in redis_client.client_list() if each["id"] not in before]

    subscribers = await asyncio.gather(*[watch(f"job-{n % 40}") for n in range(200)])
    assert [each["cmd"] for each in new()].count("xread") == 1
    get_publisher().publish_event("job-7", {"n": 7})
    for messages in subscribers[7::40]:
        assert numbers(await until(messages, lambda m: isinstance(m, Event))) == [7]
    # Connections of up to eight concurrent history reads, and of the publisher.
    assert len(new()) <= 1 + 8 + 1
    for messages in subscribers:
        await messages.aclose()


async def test_new_topic_interrupts_the_blocking_read(redis_client):
    """A new subscriber does not wait for the timeout of XREAD."""
    async with aclosing(follow("first")) as first:
        await until(first, lambda m: isinstance(m, Live))
        for n in range(20):
            async with aclosing(follow(f"later-{n}")) as later:
                await until(later, lambda m: isinstance(m, Live))
                get_publisher().publish_event(f"later-{n}", {"n": n})
                async with asyncio.timeout(2):
                    assert numbers(await until(later, lambda m: isinstance(m, Event))) == [n]


async def test_resubscription_of_a_topic(redis_client):
    """XREAD still blocks on the stream when the previous subscriber has left."""
    async with aclosing(follow("first")) as first:
        await until(first, lambda m: isinstance(m, Live))
        for n in range(6):
            async with aclosing(follow("again")) as again:
                await until(again, lambda m: isinstance(m, Live))
                get_publisher().publish_event("again", {"n": n})
                async with asyncio.timeout(2):
                    await until(again, lambda m, n=n: isinstance(m, Event) and m.data["n"] == n)


async def test_slow_subscriber_loses_no_event_and_delays_no_other(redis_client):
    """More events arrive than the ring buffer holds."""
    total = 5000
    async with aclosing(follow("abc")) as slow, aclosing(follow("abc")) as quick:
        await until(slow, lambda m: isinstance(m, Live))
        await until(quick, lambda m: isinstance(m, Live))
        publish(0)
        assert numbers([await anext(slow)]) == [0]

        def write():
            for n in range(1, total, 100):
                publish(*range(n, min(n + 100, total)))

        writer = asyncio.create_task(asyncio.to_thread(write))
        received = await until(quick, lambda m: isinstance(m, Event) and m.data["n"] == total - 1)
        assert numbers(received) == list(range(total))
        await writer
        received = await until(slow, lambda m: isinstance(m, Event) and m.data["n"] == total - 1)
        assert numbers(received) == list(range(1, total))


async def test_concurrent_subscribers_share_pages(monkeypatch):
    publish(*range(300))
    read = []

    async def reading(job_id, **page):
        read.append(page)
        return await aread_events(job_id, **page)

    monkeypatch.setattr("events.live.hub.aread_events", reading)

    async def watch():
        async with aclosing(follow("abc")) as messages:
            return numbers(await until(messages, lambda m: isinstance(m, Live)))

    received = await asyncio.gather(*[watch() for _ in range(100)])
    assert received == [list(range(300))] * 100
    assert len(read) < 10


async def test_pinned_connection_is_released_while_a_reply_is_pending(redis_client):
    """The next user of the connection must not receive the pending reply."""
    publish(1)
    client = get_async_redis()
    for steps in range(12):
        connection = await PinnedConnection.open(client)
        await connection.send(("PING",))
        waiting = asyncio.create_task(connection.send(("ECHO", f"pending {steps}")))
        for _ in range(steps):
            await asyncio.sleep(0)
        await connection.close()
        waiting.cancel()
        assert numbers(await aread_events("abc")) == [1]
        await asyncio.gather(waiting, return_exceptions=True)
        assert numbers(await aread_events("abc")) == [1]
        with pytest.raises(RedisUnavailable):
            await connection.send(("PING",))


async def test_redis_is_killed_and_restarted(tmp_path_factory, short_tmp, settings):
    """The subscriber resumes at its cursor; no event is lost or repeated."""
    redis = EmbeddedRedis(short_tmp / "killed", appendfsync="always")
    redis.start()
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "REDIS_URL": redis.url, "KEEP_ALIVE": 0.2}
    try:
        publish(1)
        async with aclosing(follow("abc")) as messages:
            await until(messages, lambda m: isinstance(m, Live))
            redis.kill()
            await asyncio.sleep(0.5)  # the hub tries to connect
            redis.start()
            publish(2)
            received = await until(messages, lambda m: isinstance(m, Event))
        assert numbers(received) == [2]
    finally:
        redis.stop()


async def test_hub_outlives_the_request_of_its_first_subscriber(monkeypatch):
    """The hub queries the database in its own thread and closes the connections of that thread."""
    threads, closed = set(), set()

    def record_thread(query):
        threads.add(threading.current_thread())
        return read_archive(query)

    def close():
        closed.add(threading.current_thread())
        close_all()

    read_archive, close_all = reader._read_archive, connections.close_all
    monkeypatch.setattr(reader, "_read_archive", record_thread)
    monkeypatch.setattr(connections, "close_all", close)
    async with ThreadSensitiveContext():
        request_thread = await sync_to_async(threading.current_thread)()
        first = follow("abc")
        await until(first, lambda m: isinstance(m, Live))
    publish(1)
    async with aclosing(follow("abc")) as second:
        assert numbers(await until(second, lambda m: isinstance(m, Event))) == [1]
    await first.aclose()
    assert len(threads) == 1
    assert request_thread not in threads
    assert threads == closed


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_subscribers_wait_while_the_database_fails(monkeypatch, caplog, error):
    """The verification of a new log fails, then pages of the catch-up."""
    failures = [0, 1, 3, 4]  # numbers of the queries

    def query_or_fail(query):
        numbers_.append(len(numbers_))
        if numbers_[-1] in failures:
            raise error
        return read_archive(query)

    numbers_, read_archive = [], reader._read_archive
    monkeypatch.setattr(reader, "_read_archive", query_or_fail)
    for module in (hub, subscriber):
        monkeypatch.setattr(module, "DATABASE_RETRY_SECONDS", 0.01)
    publish(*range(200))
    async with aclosing(follow("abc")) as messages:
        assert numbers(await until(messages, lambda m: isinstance(m, Live))) == list(range(200))
        publish(200)
        assert numbers(await until(messages, lambda m: isinstance(m, Event))) == [200]
    assert len(numbers_) > max(failures)
    assert "live_verification_deferred" in caplog.messages
    assert "Traceback" not in caplog.text


def report_cancellation_as_loss(monkeypatch, method):
    """A library may raise a lost connection instead of CancelledError."""
    real = getattr(PinnedConnection, method)

    async def lose(*arguments):
        try:
            return await real(*arguments)
        except asyncio.CancelledError:
            raise RedisUnavailable from None

    monkeypatch.setattr(PinnedConnection, method, lose)


@pytest.mark.parametrize("lost_in", ["open", "send_all"])
async def test_hub_ends_if_its_cancelled_tasks_raise_errors(monkeypatch, lost_in):
    report_cancellation_as_loss(monkeypatch, lost_in)
    for delay in (0, 0, 0.001, 0.01, 0.1):
        subscriber = asyncio.create_task(until(follow("abc"), lambda m: isinstance(m, Event)))
        await asyncio.sleep(0.05 + delay)
        subscriber.cancel()
        await asyncio.wait([subscriber], timeout=10)
        assert subscriber.done()


async def test_hub_ends_if_all_tasks_of_the_loop_are_cancelled(monkeypatch):
    """As asyncio.run does at its end, while the subscriber is still registered."""
    report_cancellation_as_loss(monkeypatch, "send_all")
    async with aclosing(follow("abc")) as messages:
        await until(messages, lambda message: isinstance(message, Live))
        await asyncio.sleep(0.05)  # the reader waits for the reply of XREAD
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        assert not (await asyncio.wait(tasks, timeout=10))[1]
