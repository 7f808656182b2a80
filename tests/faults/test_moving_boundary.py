"""Reads while events move from the stream to the archive."""

import asyncio
import random
import threading
from contextlib import contextmanager

import pytest
from django.db import connections

from events.archive.archiver import Archiver
from events.exceptions import CursorExpired
from events.history import aread_events, read_events
from events.models import ArchivedEvent, EventLog
from events.publisher import get_publisher
from events.types import Cursor
from tests.faults.loss import LogFollower

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


@pytest.fixture(params=[0, 20], ids=["no-tail", "small-tail"], autouse=True)
def tail(request, settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "STREAM_TAIL": request.param, "KEEP_ALIVE": 0.1}


def publish(first, last):
    events = [{"n": n, "event_type": f"t{n % 3}"} for n in range(first, last)]
    return get_publisher().publish_events("abc", events)


def archive_and_trim():
    archiver = Archiver()
    while archiver.step():
        pass


@contextmanager
def publishing_and_archiving(total):
    """Publish in one thread, archive and trim in another, until all events are published."""
    done, errors = threading.Event(), []

    def run(work):
        try:
            work()
        except Exception as error:  # noqa: BLE001 - asserted by the test
            errors.append(error)
        finally:
            done.set()
            connections.close_all()

    def write():
        rng, n = random.Random(total), 0
        while n < total:
            count = min(rng.choice([1, 5, 150]), total - n)
            publish(n, n + count)
            n += count

    def archive():
        archiver = Archiver()
        while not done.is_set():
            archiver.step()
            archiver._maintenance._next_at = 0

    threads = [threading.Thread(target=run, args=(work,)) for work in (write, archive)]
    for thread in threads:
        thread.start()
    try:
        yield done
    finally:
        done.wait(60)
        for thread in threads:
            thread.join(60)
    assert not errors


def check_page(page, order="asc"):
    """Assert that the numbers on a page have no gap, and return them."""
    numbers = [event.data["n"] for event in page]
    step = 1 if order == "asc" else -1
    assert numbers == list(
        range(numbers[0], numbers[0] + step * len(numbers), step)[: len(numbers)]
    )
    return numbers


def test_forward_paging(redis_client):
    rng = random.Random(1)
    with publishing_and_archiving(2000) as done:
        is_complete = False
        while not is_complete:
            is_complete = done.is_set()
            numbers, cursor = [], None
            while page := read_events("abc", after=cursor, limit=rng.choice([1, 7, 100, 1000])):
                numbers += check_page(page)
                cursor = page[-1].id
            assert numbers == list(range(len(numbers)))
    assert len(numbers) == 2000


def test_backward_paging(redis_client):
    with publishing_and_archiving(1500) as done:
        while not done.is_set():
            numbers, cursor = [], None
            while page := read_events("abc", before=cursor, limit=300, order="desc"):
                numbers += check_page(page, "desc")
                cursor = page[-1].id
            assert numbers == list(range(len(numbers)))[::-1]


def test_pages_by_type_and_between_two_cursors(redis_client):
    ids = publish(0, 200)
    with publishing_and_archiving(2000) as done:
        while not done.is_set():
            page = read_events("abc", after=ids[30], before=ids[150], limit=500)
            assert [event.id for event in page] == ids[31:150]
            page = read_events("abc", after=ids[30], limit=60, event_types=["t1"])
            numbers = [event.data["n"] for event in page]
            assert numbers[:56] == list(range(31, 200, 3))[:56]
    assert len(read_events("abc", limit=9999, event_types=["t2"])) == 66 + 666


async def test_async_paging(redis_client):
    def move():
        with publishing_and_archiving(2000):
            pass

    mover = asyncio.create_task(asyncio.to_thread(move))
    while not mover.done():
        numbers, cursor = [], "0"
        while page := await aread_events("abc", after=cursor, limit=250):
            numbers += check_page(page)
            cursor = page[-1].id
        assert numbers == list(range(len(numbers)))
    await mover


def test_followers_of_a_trimmed_stream(redis_client):
    with LogFollower() as quick, LogFollower() as slow:
        with publishing_and_archiving(1200), slow.paused():
            quick.wait_for(100)
        whole = read_events("abc", limit=9999)
        assert [event.data["n"] for event in whole] == list(range(1200))
        for follower in (quick, slow):
            follower.check(whole)


def test_cursors_of_an_expired_stream(redis_client):
    ids = publish(0, 30)
    archive_and_trim()
    redis_client.flushall()
    assert [event.id for event in read_events("abc", after="1-0")] == ids
    assert [event.id for event in read_events("abc", after=ids[0])] == ids[1:]
    assert [event.id for event in read_events("abc", before=ids[9], order="desc")] == ids[8::-1]
    assert read_events("abc", after=ids[-1]) == []
    new = publish(30, 32)
    assert [event.id for event in read_events("abc", after=ids[27])] == [*ids[28:], *new]


def test_cursor_before_the_truncation_is_expired(redis_client):
    """CursorExpired contains the cursor to resume from."""
    ids = publish(0, 50)
    archive_and_trim()
    redis_client.flushall()
    first = Cursor.parse(ids[20])
    ArchivedEvent.objects.filter(log__job_id="abc", event_id__lt=first).delete()
    EventLog.objects.filter(job_id="abc").update(truncated_before=first)
    for cursor in ("1-0", ids[0], ids[18]):
        with pytest.raises(CursorExpired) as cut:
            read_events("abc", after=cursor)
        assert cut.value.truncated_before == ids[20]
        assert [event.id for event in read_events("abc", after=cut.value.after)] == ids[20:]
    for cursor in (None, "0", ids[20]):
        kept = ids[20:] if cursor != ids[20] else ids[21:]
        assert [event.id for event in read_events("abc", after=cursor)] == kept
    newest = read_events("abc", order="desc", limit=100)
    assert [event.id for event in newest] == ids[:19:-1]
    with LogFollower(after=ids[3]) as follower:
        follower.wait_for(30)
        follower.check(read_events("abc"))
    assert [reset.after for reset in follower.resets] == [cut.value.after]
