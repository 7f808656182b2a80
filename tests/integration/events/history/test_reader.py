"""Reading a log, sync and async."""

import pytest
from asgiref.sync import sync_to_async

from events.archive.archiver import Archiver
from events.exceptions import InvalidCursor, InvalidJobId, NotAStream
from events.history import aread_events, has_log, read_events
from events.models import ArchivedEvent
from events.outbox import publish_event
from events.publisher import get_publisher

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


@pytest.fixture(params=[read_events, aread_events])
def read(request):
    async def read(*args, **kwargs):
        if request.param is aread_events:
            return await aread_events(*args, **kwargs)
        return await sync_to_async(read_events)(*args, **kwargs)

    return read


@pytest.fixture
def ids():
    return get_publisher().publish_events("abc", [{"n": n} for n in range(10)])


def numbers(events):
    return [event.data["n"] for event in events]


async def test_missing_log_is_empty(read):
    assert await read("abc") == []


@pytest.mark.parametrize("tier", ["stream", "archive", "outbox", "none"])
def test_has_log(redis_client, tier):
    if tier == "outbox":
        publish_event("abc", {"n": 1})
        ArchivedEvent.objects.update(event_id=None)
    elif tier != "none":
        get_publisher().publish_event("abc", {"n": 1})
    while tier == "archive" and Archiver().step():
        pass
    if tier != "stream":
        redis_client.flushall()
    assert has_log("abc") is (tier != "none")


async def test_all_events_in_order(read, ids):
    events = await read("abc")
    assert [str(event.id) for event in events] == ids
    assert numbers(events) == list(range(10))
    assert numbers(await read("abc", order="desc")) == list(range(10))[::-1]


async def test_cursors_are_exclusive(read, ids):
    assert numbers(await read("abc", after=ids[3])) == [4, 5, 6, 7, 8, 9]
    assert numbers(await read("abc", before=ids[3])) == [0, 1, 2]
    assert numbers(await read("abc", after=ids[3], before=ids[6])) == [4, 5]
    assert numbers(await read("abc", after=ids[3], before=ids[4])) == []
    assert numbers(await read("abc", after=ids[6], before=ids[3])) == []
    assert numbers(await read("abc", after=ids[3], before=ids[8], order="desc", limit=2)) == [7, 6]


async def test_smallest_and_largest_cursor(read, ids):
    largest = "18446744073709551615-18446744073709551615"
    assert len(await read("abc", after="0", before=largest)) == 10
    assert await read("abc", after=largest) == []
    assert await read("abc", before="0-0") == []


async def test_limit(read, ids, settings):
    assert numbers(await read("abc", limit=3)) == [0, 1, 2]
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "PAGE_LIMIT": 4}
    assert numbers(await read("abc")) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("kwargs", "error"),
    [
        ({"job_id": "a b"}, InvalidJobId),
        ({"after": "$"}, InvalidCursor),
        ({"before": "x"}, InvalidCursor),
        ({"limit": 0}, ValueError),
        ({"order": "up"}, ValueError),
    ],
)
async def test_invalid_arguments(read, kwargs, error):
    with pytest.raises(error):
        await read(**{"job_id": "abc", **kwargs})


async def test_entries_of_external_producers(read, redis_client):
    redis_client.xadd("job_events:abc", {"data": "{broken", "event_type": "x"})
    redis_client.xadd("job_events:abc", {"hello": "world"})
    events = await read("abc")
    assert [event.event_type for event in events] == ["unknown", "unknown"]
    assert [event.data["raw"] for event in events] == ["{broken", '{"hello":"world"}']


async def test_key_that_is_not_a_stream(read, redis_client):
    redis_client.set("job_events:abc", "x")
    with pytest.raises(NotAStream):
        await read("abc")
