"""Following a log: the seam between catch-up and tail, the end, and faults of Redis."""

import asyncio
from contextlib import aclosing

import pytest

from events.connections import get_async_redis
from events.embedded import EmbeddedRedis
from events.exceptions import NotAStream
from events.live import follow
from events.publisher import RedisStreamPublisher, get_publisher
from events.types import Cursor, End, Event, KeepAlive, Live

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]


async def never(_last, _idle):
    return False


def publish(*numbers):
    return get_publisher().publish_events("abc", [{"n": n} for n in numbers])


async def until(messages, stop):
    """What a viewer is given, up to the first message of which `stop` is true."""
    given = []
    async with asyncio.timeout(20):
        async for message in messages:
            given.append(message)
            if stop(message):
                break
    return given


def numbers(messages):
    return [message.data["n"] for message in messages if isinstance(message, Event)]


async def test_catch_up_then_live_then_the_tail():
    publish(1, 2)
    async with aclosing(follow("abc", is_over=never)) as messages:
        first = await until(messages, lambda message: isinstance(message, Live))
        assert numbers(first) == [1, 2]
        publish(3)
        assert numbers(await until(messages, lambda message: isinstance(message, Event))) == [3]


async def test_from_a_cursor():
    ids = publish(1, 2, 3)
    async with aclosing(follow("abc", after=Cursor.parse(ids[0]), is_over=never)) as messages:
        assert numbers(await until(messages, lambda m: isinstance(m, Live))) == [2, 3]


async def test_a_log_that_begins_later():
    async with aclosing(follow("abc", is_over=never)) as messages:
        assert await until(messages, lambda m: isinstance(m, Live)) == [Live()]
        publish(1)
        assert numbers(await until(messages, lambda m: isinstance(m, Event))) == [1]


async def test_more_than_one_batch_is_read_before_live():
    publish(*range(1700))
    async with aclosing(follow("abc", is_over=never)) as messages:
        given = await until(messages, lambda m: isinstance(m, Live))
    assert numbers(given) == list(range(1700))


async def test_the_end_comes_after_everything():
    """What is appended between "it is over" and the end is given before the end."""

    async def over_and_one_more(_last, _idle):
        publish(2)
        return True

    publish(1)
    given = await until(follow("abc", is_over=over_and_one_more), lambda m: isinstance(m, End))
    assert numbers(given) == [1, 2]
    assert [type(message) for message in given] == [Event, Live, Event, End]


async def test_the_last_event_is_what_is_asked_about():
    asked = []

    async def is_over(last, idle):
        asked.append((last.data["n"] if last else None, idle))
        return bool(last) and last.data["n"] == 2

    async with aclosing(follow("abc", is_over=is_over)) as messages:
        await until(messages, lambda m: isinstance(m, Live))
        publish(1)
        await until(messages, lambda m: isinstance(m, Event))
        publish(2)
        await until(messages, lambda m: isinstance(m, End))
    assert asked == [(None, True), (1, False), (2, False)]


async def test_silence_is_broken_by_keep_alives(settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "KEEP_ALIVE": 0.05}
    async with aclosing(follow("abc", is_over=never)) as messages:
        await until(messages, lambda m: isinstance(m, Live))
        given = await until(messages, lambda m: isinstance(m, KeepAlive))
    assert given == [KeepAlive()]


async def test_a_key_that_is_no_stream(redis_client):
    redis_client.set("job_events:abc", "x")
    with pytest.raises(NotAStream):
        await until(follow("abc", is_over=never), lambda _: False)


async def test_events_in_the_moment_of_catching_up_are_given_once():
    """A writer that never pauses, and viewers that start at any moment of it."""
    publisher = RedisStreamPublisher(get_async_redis())

    async def write():
        for n in range(600):
            await publisher.publish_event("abc", {"n": n})

    async def watch(delay):
        await asyncio.sleep(delay)
        messages = follow("abc", is_over=never)
        return numbers(await until(messages, lambda m: isinstance(m, Event) and m.data["n"] == 599))

    async with asyncio.TaskGroup() as group:
        viewers = [group.create_task(watch(n / 200)) for n in range(20)]
        group.create_task(write())
    assert all(viewer.result() == list(range(600)) for viewer in viewers)


async def test_redis_killed_under_a_viewer(tmp_path_factory, short_tmp, settings):
    """The viewer comes back by itself, at its cursor: nothing lost, nothing repeated."""
    redis = EmbeddedRedis(short_tmp / "killed", appendfsync="always")
    redis.start()
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "REDIS_URL": redis.url, "KEEP_ALIVE": 0.2}
    try:
        publish(1)
        async with aclosing(follow("abc", is_over=never)) as messages:
            await until(messages, lambda m: isinstance(m, Live))
            redis.kill()
            await until(messages, lambda m: isinstance(m, KeepAlive))
            redis.start()
            publish(2)
            given = await until(messages, lambda m: isinstance(m, Event))
        assert numbers(given) == [2]
    finally:
        redis.stop()
