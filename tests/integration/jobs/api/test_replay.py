"""Replay of a log with its original timing: by server-sent events and by WebSocket."""

import asyncio
from io import StringIO
from time import monotonic

import pytest
from asgiref.sync import sync_to_async
from django.core.management import CommandError, call_command

from events.history import read_events
from events.live import disconnect_all
from events.publisher import get_publisher
from events.streams.clients import get_redis
from jobs import services
from jobs.models import Job
from tests.integration.jobs.asgi import TIMEOUT_SECONDS, Request, cookie_of, label, socket_of
from tests.integration.jobs.conftest import archived

pytestmark = pytest.mark.django_db(transaction=True)

in_thread = sync_to_async
START = 1_700_000_000_000
SPEED = 10_000
# Seconds after the first event; the speed reduces 10,000 seconds to one, and the last gap to 99.
TIMES = [0, 1, 2, 10_000, 10_000, 1_000_000]
PATH = f"/ws/jobs/abc/?replay=1&speed={SPEED}"


@pytest.fixture
def ids(user):
    """A cancelled job of anna, with an archived log of eleven days."""
    ids = [
        get_redis()
        .xadd(
            "job_events:abc",
            {"data": f'{{"event_type":"x","n":{n}}}'},
            id=f"{START + seconds * 1000}-{n}",
        )
        .decode()
        for n, seconds in enumerate(TIMES, 1)
    ]
    Job.objects.create(owner=user, job_id="abc", task_type="manual")
    services.job_cancel(job_id="abc")
    archived()
    return ids


async def replay_request(user, query):
    return Request(
        path=f"/api/jobs/abc/events/stream/?replay=1&{query}", cookie=await cookie_of(user)
    )


async def test_time_between_events(user, ids):
    """The last event would take another 99 seconds, and is not awaited."""
    began = monotonic()
    request = await replay_request(user, f"speed={SPEED}")
    await request.until(b'"n":5')
    assert monotonic() - began >= 1
    await asyncio.sleep(0.1)
    assert b'"n":6' not in request.body
    assert b"event: live" not in request.body
    await request.disconnect()


async def test_resume_after_a_cursor(user, ids):
    request = await replay_request(user, f"speed={SPEED}&after={ids[2]}")
    await request.until(b'"n":5')
    assert b'"n":3' not in request.body
    await request.disconnect()


async def test_end_of_a_replay(user, ids):
    """After the last event, a replay sends live and end. The test seeks to the end."""
    socket = await socket_of(user, PATH)
    assert await socket.connect() is None
    await socket.send(text=f'{{"action": "seek", "after": "{ids[-1]}"}}')
    assert (await socket.until("end"))[-4:] == ["reset", 0, "live", "end"]
    assert await socket.close_code() == 1000


async def test_running_job_becomes_live(user, make_job):
    await in_thread(make_job)(owner=user, job_id="abc")
    request = await replay_request(user, "")
    await request.until(b"event: live")
    get_publisher().publish_event("abc", {"n": 7})
    await request.until(b'"n":7')
    await request.disconnect()


async def test_pause_and_resume(user, ids, settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "KEEP_ALIVE": 1.2}
    socket = await socket_of(user, PATH)
    assert await socket.connect() is None
    await socket.until(3)
    await socket.send(text='{"action": "pause"}')
    message = await socket.receive_output(TIMEOUT_SECONDS)  # no event arrives meanwhile
    assert "keep-alive" in message["text"]
    await socket.send(text='{"action": "resume"}')
    assert await socket.until(5) == [4, 5]
    await socket.disconnect()


async def test_change_of_speed(user, ids):
    socket = await socket_of(user, "/ws/jobs/abc/?replay=1&speed=0.01")
    assert await socket.connect() is None
    assert await socket.until(1) == [1]
    await socket.send(text='{"action": "speed", "speed": 10000}')
    assert await socket.until(5) == [2, 3, 4, 5]
    await socket.disconnect()


async def test_seek(user, ids):
    socket = await socket_of(user, PATH)
    assert await socket.connect() is None
    await socket.until(3)
    await socket.send(text=f'{{"action": "seek", "after": "{ids[3]}"}}')
    assert await socket.receive() == {
        "type": "reset", "reason": "The replay continues after this cursor.", "after": ids[3],
    }  # fmt: skip
    assert await socket.until(5) == [5]  # after a seek, the first event is due at once
    await socket.send(text='{"action": "seek", "after": "0"}')
    assert await socket.until(3) == ["reset", 1, 2, 3]
    await socket.send(text='{"action": "pause"}')
    await socket.send(text=f'{{"action": "seek", "after": "{ids[1]}"}}')
    assert await socket.until(3) == ["reset", 3]  # a paused replay shows the event at its position
    await socket.disconnect()


@pytest.mark.parametrize(
    "text",
    ["", "x", "[]", "{}", '{"action": "stop"}', '{"action": 5}', '{"action": "pause", "x": 1}',
     '{"action": "speed"}', '{"action": "speed", "speed": 0}', '{"action": "speed", "speed": "x"}',
     '{"action": "speed", "speed": 1e300}', '{"action": "speed", "speed": [1]}',
     '{"action": "seek", "after": "$"}', '{"action": "seek", "after": 5}', '{"action": "seek"}'],
)  # fmt: skip
async def test_invalid_messages(user, ids, text):
    socket = await socket_of(user, PATH)
    assert await socket.connect() is None
    await socket.until(3)
    await socket.send(text=text)
    message = await socket.receive()
    assert message["type"] == "error"
    assert " " in message["detail"]
    assert len(message["detail"]) < 300
    await socket.disconnect()


async def test_replay_continues_after_an_invalid_message(user, ids):
    socket = await socket_of(user, PATH)
    assert await socket.connect() is None
    await socket.until(3)
    await socket.send(bytes=b"\xff")
    assert label(await socket.receive()) == "error"
    assert await socket.until(5) == [4, 5]
    await socket.disconnect()


BAD_QUERIES = [
    "replay=0", "replay=", "replay=yes", "speed=2", "replay=1&speed=0", "replay=1&speed=-1",
    "replay=1&speed=x", "replay=1&speed=1e9", "replay=1&speed=0.001", "replay=1&speed=10001",
    "replay=1&speed=nan", "replay=1&speed=٣", "replay=1&replay=1",
]  # fmt: skip


@pytest.mark.parametrize("query", BAD_QUERIES)
async def test_invalid_speed(user, ids, query):
    path = f"/api/jobs/abc/events/stream/?{query}"
    assert await Request(path=path, cookie=await cookie_of(user)).status() == 400
    socket = await socket_of(user, f"/ws/jobs/abc/?{query}")
    assert await socket.connect() == 4500


async def test_access_is_revoked(user, ids, settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "RECHECK_LOGINS": 0.1}
    socket = await socket_of(user, PATH)
    assert await socket.connect() is None
    request = await replay_request(user, f"speed={SPEED}")
    await request.until(b'"n":3')
    await in_thread(Job.objects.update)(owner=None)
    await asyncio.wait([request.task], timeout=TIMEOUT_SECONDS)
    assert request.task.done()
    await socket.until(3)
    while True:
        message = await socket.receive_output(TIMEOUT_SECONDS)
        if message["type"] == "websocket.close":
            break
    assert message["code"] == 4404


async def test_restart_message(user, ids):
    """The restart message does not wait for the next event."""
    socket = await socket_of(user, PATH)
    assert await socket.connect() is None
    await socket.until(3)
    await socket.send(text='{"action": "pause"}')
    disconnect_all()
    assert await socket.until("restart") == ["restart"]
    assert await socket.close_code() == 1012


async def test_send_timeout(user, ids, settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "SEND_TIMEOUT": 0.2}
    path = f"/api/jobs/abc/events/stream/?replay=1&speed={SPEED}"
    request = Request(path=path, cookie=await cookie_of(user), max_messages=3)
    await asyncio.wait([request.task], timeout=TIMEOUT_SECONDS)
    assert request.task.done()


# Republishing into another log


def command(*arguments):
    out = StringIO()
    call_command("replay_job", *arguments, stdout=out)
    return out.getvalue().strip()


@pytest.mark.parametrize("way", [("--at-once",), ("--speed", "1e9")])
def test_replay_into_another_log(ids, way):
    output = command("abc", "--to", "copy", *way)
    assert output == "7 events of abc replayed into copy."
    copy, log = read_events("copy"), read_events("abc")
    untimed = [{**event.data, "timestamp": None} for event in log]
    assert [{**event.data, "timestamp": None} for event in copy] == untimed
    assert all(event.timestamp.startswith("20") for event in copy)


def test_job_row_follows_the_replayed_log(user):
    Job.objects.create(owner=user, job_id="copy", task_type="manual")
    get_publisher().publish_task_started("worker", "manual")
    get_publisher().publish_task_completed("worker", "manual", {"pages": 5})
    command("worker", "--to", "copy", "--at-once")
    archived()
    job = Job.objects.get(job_id="copy")
    assert (job.status, job.result) == ("completed", {"pages": 5})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["abc", "--to", "abc"], "itself"),
        (["abc", "--to", "a/b"], "job_id"),
        (["missing", "--to", "copy"], "log of missing is empty"),
        (["abc", "--to", "copy", "--speed", "0"], "above 0"),
        (["abc", "--to", "copy", "--speed", "nan"], "above 0"),
    ],
)
def test_invalid_arguments(ids, arguments, words):
    with pytest.raises(CommandError, match=words):
        command(*arguments)
    assert read_events("copy") == []
