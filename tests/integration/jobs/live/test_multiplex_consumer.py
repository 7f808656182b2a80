"""Several jobs on one connection, through WebSocket and SSE."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest
from asgiref.sync import sync_to_async

from events.exceptions import RedisCommandError
from events.live.multiplexer import Multiplexer
from events.live.subscriber import Subscriber
from events.publisher import get_publisher
from jobs import services
from jobs.models import Job
from tests.integration.jobs.asgi import (
    TIMEOUT_SECONDS,
    Request,
    cookie_of,
    socket_of,
    ticket_of,
    wait_until_gone,
)
from tests.support.database import failing_database

pytestmark = pytest.mark.django_db(transaction=True)

SOCKET, STREAM = "/ws/events/", "/api/events/stream/"
in_thread = sync_to_async


@pytest.fixture
def ids(user, make_job, log):
    """The event ids of three jobs of anna, by job_id; each job has three events."""
    found = {}
    for job_id in ("a", "b", "c"):
        make_job(owner=user, job_id=job_id)
        get_publisher().publish_events(job_id, [{"n": n} for n in (1, 2)])
        found[job_id] = [event.id for event in log(job_id)]
    return found


@pytest.fixture(autouse=True)
def _short_interval(settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "RECHECK_LOGINS": 0.1}


@asynccontextmanager
async def connected(user):
    socket = await socket_of(user, SOCKET)
    assert await socket.connect() is None
    yield socket
    await socket.disconnect()


async def send_action(socket, action, job_id, **more):
    await socket.send(text=json.dumps({"action": action, "job_id": job_id, **more}))


async def received(socket, count):
    """Receive messages; return their labels by job_id."""
    found = {}
    for _ in range(count):
        message = await socket.receive()
        is_event = message["type"] == "event"
        job_id = message["event"]["job_id"] if is_event else message["job_id"]
        label = message["event"]["data"].get("n", 0) if is_event else message["type"]
        found.setdefault(job_id, []).append(label)
    return found


# WebSocket


async def test_subscriptions_with_different_cursors(user, ids):
    async with connected(user) as socket:
        await send_action(socket, "subscribe", "a")
        await send_action(socket, "subscribe", "b", after=ids["b"][1])
        assert await received(socket, 6) == {"a": [0, 1, 2, "live"], "b": [2, "live"]}
        for n, job_id in enumerate(["b", "a", "c", "b"], 3):
            get_publisher().publish_event(job_id, {"n": n})
        assert await received(socket, 3) == {"a": [4], "b": [3, 6]}


async def test_unsubscribe(user, ids):
    async with connected(user) as socket:
        for job_id in ("a", "b"):
            await send_action(socket, "subscribe", job_id, after=ids[job_id][2])
        assert await received(socket, 2) == {"a": ["live"], "b": ["live"]}
        await send_action(socket, "unsubscribe", "a")
        await send_action(socket, "unsubscribe", "c")  # without a subscription
        await send_action(socket, "subscribe", "c", after=ids["c"][2])
        assert await received(socket, 1) == {"c": ["live"]}
        for job_id in ("a", "b"):
            get_publisher().publish_event(job_id, {"n": 3})
        assert await received(socket, 1) == {"b": [3]}


async def test_second_subscription_replaces_the_first(user, ids):
    async with connected(user) as socket:
        await send_action(socket, "subscribe", "a")
        assert await received(socket, 4) == {"a": [0, 1, 2, "live"]}
        await send_action(socket, "subscribe", "a", after=ids["a"][0])
        assert await received(socket, 3) == {"a": [1, 2, "live"]}


async def test_end_of_one_job(user, ids):
    async with connected(user) as socket:
        for job_id in ("a", "b"):
            await send_action(socket, "subscribe", job_id, after=ids[job_id][2])
        assert await received(socket, 2) == {"a": ["live"], "b": ["live"]}
        await in_thread(services.job_cancel)(job_id="a")
        assert await received(socket, 2) == {"a": [0, "end"]}
        get_publisher().publish_event("b", {"n": 3})
        assert await received(socket, 1) == {"b": [3]}
        await in_thread(services.job_retry)(job_id="a")
        await send_action(socket, "subscribe", "a", after=ids["a"][2])
        assert (await received(socket, 3))["a"] == [0, 0, "live"]


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "[]", "1", "null", "{}", '{"action": "stop"}', '{"action": []}',
        '{"action": "subscribe"}', '{"action": "subscribe", "job_id": null}',
        '{"action": "subscribe", "job_id": "a/b"}', '{"action": "subscribe", "job_id": ["a"]}',
        '{"action": "subscribe", "job_id": "a", "after": "$"}',
        '{"action": "subscribe", "job_id": "a", "after": 1}',
        '{"action": "subscribe", "job_id": "a", "after": null}',
        '{"action": "subscribe", "job_id": "a", "ticket": 1}',
        '{"action": "subscribe", "job_id": "a", "ticket": "x"}',
        '{"action": "subscribe", "job_id": "a", "since": "0"}',
        '{"action": "unsubscribe", "job_id": "a", "after": "0"}',
        '{"action": "subscribe", "job_id": "none"}', "[" * 10_000, '{"action": "\\ud800"}',
        '{"action": "' + "x" * 10_000,
    ],
)  # fmt: skip
async def test_invalid_messages_are_errors(user, ids, text):
    async with connected(user) as socket:
        await socket.send(text=text)
        answer = await socket.receive()
        assert answer["type"] == "error"
        assert " " in answer["detail"]
        assert len(answer["detail"]) < 500
        await socket.send(bytes=b"\xff\x00")
        assert (await socket.receive())["type"] == "error"
        await send_action(socket, "subscribe", "a", after=ids["a"][2])
        assert await received(socket, 1) == {"a": ["live"]}


async def test_job_of_another_user_is_not_found(other_user, ids):
    async with connected(other_user) as socket:
        for job_id in ("a", "none"):
            await send_action(socket, "subscribe", job_id)
            detail = f"The job_id {job_id} is not available."
            assert await socket.receive() == {"type": "error", "job_id": job_id, "detail": detail}


async def test_subscription_while_the_database_fails(user, ids):
    async with connected(user) as socket:
        with failing_database():
            await send_action(socket, "subscribe", "a")
            detail = "The database is unavailable."
            answer = await socket.receive()
        assert answer == {"type": "error", "job_id": "a", "detail": detail}
        await send_action(socket, "subscribe", "a")
        assert await received(socket, 4) == {"a": [0, 1, 2, "live"]}


async def test_subscription_that_redis_refuses(user, ids, monkeypatch):
    """The error of Redis is not sent: it may contain addresses."""

    async def refuse(self):
        raise RedisCommandError("Redis refused 'XRANGE': MOVED 1 redis.internal:6379")

    async with connected(user) as socket:
        monkeypatch.setattr(Subscriber, "next", refuse)
        await send_action(socket, "subscribe", "a")
        detail = "The event log is unavailable."
        assert await socket.receive() == {"type": "error", "job_id": "a", "detail": detail}


async def test_limit_of_subscriptions(user, ids, settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "MAX_SUBSCRIPTIONS": 2}
    async with connected(user) as socket:
        for job_id in ("a", "b", "c"):
            await send_action(socket, "subscribe", job_id, after=ids[job_id][2])
        assert await received(socket, 3) == {"a": ["live"], "b": ["live"], "c": ["error"]}
        await send_action(socket, "unsubscribe", "a")
        await send_action(socket, "subscribe", "c", after=ids["c"][2])
        assert await received(socket, 1) == {"c": ["live"]}


async def test_change_of_the_owner_ends_one_subscription(user, ids):
    async with connected(user) as socket:
        for job_id in ("a", "b"):
            await send_action(socket, "subscribe", job_id, after=ids[job_id][2])
        assert await received(socket, 2) == {"a": ["live"], "b": ["live"]}
        await Job.objects.filter(job_id="a").aupdate(owner=None)
        detail = "The job_id a is not available."
        assert await socket.receive() == {"type": "error", "job_id": "a", "detail": detail}
        for job_id in ("a", "b"):
            get_publisher().publish_event(job_id, {"n": 3})
        assert await received(socket, 1) == {"b": [3]}


async def test_unreadable_log_ends_one_subscription(user, ids, async_redis):
    await async_redis.delete("job_events:a")
    await async_redis.set("job_events:a", "text")
    async with connected(user) as socket:
        for job_id in ("a", "b"):
            await send_action(socket, "subscribe", job_id, after=ids[job_id][2])
        found = await received(socket, 2)
        assert found == {"a": ["error"], "b": ["live"]}


async def test_anonymous_socket_requires_a_ticket(user, ids, settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "LOGIN_TIMEOUT": 0.3}
    ticket = await in_thread(ticket_of)(user, "a")
    async with connected(None) as silent, connected(None) as socket:
        await send_action(socket, "subscribe", "a", ticket="x")
        assert await received(socket, 1) == {"a": ["error"]}
        await send_action(socket, "subscribe", "a", ticket=ticket)
        assert await received(socket, 4) == {"a": [0, 1, 2, "live"]}
        assert await silent.close_code() == 4401
        # A ticket is valid for one job.
        await send_action(socket, "subscribe", "b")
        await send_action(socket, "subscribe", "b", ticket=ticket)
        assert await received(socket, 2) == {"b": ["error", "error"]}
        more = await in_thread(ticket_of)(user, "b")
        await send_action(socket, "subscribe", "b", ticket=more, after=ids["b"][2])
        assert await received(socket, 1) == {"b": ["live"]}


@pytest.mark.parametrize(
    "text",
    [
        '{"action": "subscribe", "job_id": "a"}',
        '{"action": "unsubscribe", "job_id": "a"}',
        '{"action": "subscribe_jobs"}',
        "x",
    ],
)
async def test_other_messages_before_authentication_close_the_socket(user, ids, text):
    socket = await socket_of(None, SOCKET)
    assert await socket.connect() is None
    await socket.send(text=text)
    assert await socket.close_code() == 4401
    await socket.wait(TIMEOUT_SECONDS)


async def test_number_of_unauthenticated_sockets(user, ids, monkeypatch):
    monkeypatch.setattr("jobs.live.consumers.MAX_UNAUTHENTICATED_SOCKETS", 2)
    ticket = await in_thread(ticket_of)(user, "a")
    async with connected(None) as first, connected(None):
        third = await socket_of(None, SOCKET)
        assert await third.connect() == 1013
        await third.disconnect()
        await send_action(first, "subscribe", "a", ticket=ticket)
        assert await received(first, 4) == {"a": [0, 1, 2, "live"]}
        async with connected(None):
            pass
    async with connected(user), connected(user), connected(user):
        pass


@pytest.mark.parametrize(
    "data", [{"text": "x" * 16_385}, {"text": "ü" * 8_193}, {"bytes": b"x" * 16_385}]
)
async def test_large_message_closes_the_socket(user, ids, data):
    socket = await socket_of(user, SOCKET)
    assert await socket.connect() is None
    await socket.send(**data)
    assert await socket.close_code() == 1009
    await socket.wait(TIMEOUT_SECONDS)


async def test_too_many_messages_close_the_socket(user, ids, settings):
    """Twenty at once, and two for each possible subscription."""
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "MAX_SUBSCRIPTIONS": 5}
    before = asyncio.all_tasks()
    socket = await socket_of(user, SOCKET)
    assert await socket.connect() is None
    for _ in range(200):
        await send_action(socket, "unsubscribe", "b" * 65)
    answers = 0
    while (message := await socket.receive_output(TIMEOUT_SECONDS))["type"] == "websocket.send":
        answers += 1
    assert message == {"type": "websocket.close", "code": 1008}
    assert 30 <= answers < 100
    await socket.wait(TIMEOUT_SECONDS)
    await wait_until_gone(lambda: asyncio.all_tasks() - before)


async def test_logs_take_turns_in_reading_history(user, ids, monkeypatch):
    """A client that does not read costs one page, not one for each log."""
    for job_id in ids:
        get_publisher().publish_events(job_id, [{"n": n} for n in range(3, 200)])
    pages, catch_up = set(), Subscriber._catch_up

    async def counted(self):
        messages = await catch_up(self)
        if messages:
            pages.add(self._job_id)
        return messages

    monkeypatch.setattr(Subscriber, "_catch_up", counted)
    async with Multiplexer() as multiplexer:
        for job_id in ids:
            multiplexer.subscribe(job_id)
        await asyncio.sleep(0.5)
        # One batch is in the queue; the log that waits to put its batch has the turn.
        assert len(pages) <= 2
        numbers = {job_id: [] for job_id in ids}
        while any(len(each) < 200 for each in numbers.values()):
            batch = await multiplexer.next()
            numbers[batch.job_id] += [m.message.data.get("n", 0) for m in batch.messages if m.size]
        assert all(each == list(range(200)) for each in numbers.values())


async def test_ticket_of_another_user_is_rejected(user, other_user, staff, ids):
    ticket = await in_thread(ticket_of)(staff, "a")
    async with connected(user) as socket:
        await send_action(socket, "subscribe", "a", ticket=ticket)
        assert await received(socket, 1) == {"a": ["error"]}


async def test_keep_alives_without_subscriptions(user, settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "KEEP_ALIVE": 0.1}
    async with connected(user) as socket:
        for _ in range(3):
            message = await socket.receive_output(TIMEOUT_SECONDS)
            assert message["text"] == '{"type":"keep-alive"}'


async def test_disconnect_leaves_no_task(user, ids):
    before = asyncio.all_tasks()
    async with connected(user) as socket:
        for job_id in ids:
            await send_action(socket, "subscribe", job_id)
            await send_action(socket, "subscribe", job_id)
        await send_action(socket, "unsubscribe", "a")
        await socket.receive()
    await wait_until_gone(lambda: asyncio.all_tasks() - before)


async def test_stalled_client_is_closed(user, ids, settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "SEND_TIMEOUT": 0.2, "KEEP_ALIVE": 0.2}
    socket, closed = await socket_of(user, SOCKET), asyncio.Event()
    put = socket.output_queue.put

    async def take(message):
        if message["type"] == "websocket.close":
            closed.set()
        elif message["type"] == "websocket.send":
            await asyncio.Event().wait()
        await put(message)

    socket.output_queue.put = take
    assert await socket.connect() is None
    for job_id in ids:
        await send_action(socket, "subscribe", job_id)
    await asyncio.wait_for(closed.wait(), TIMEOUT_SECONDS)
    assert await socket.close_code() == 4408


# SSE


def parsed(body):
    """Return the name, id and data of each message of a response."""
    messages = []
    for block in body.decode().split("\n\n"):
        fields = dict(line.partition(": ")[::2] for line in block.split("\n"))
        if "data" in fields:
            data = json.loads(fields["data"])
            messages.append((fields.get("event"), fields.get("id"), data))
    return messages


@asynccontextmanager
async def listening(user, query, **headers):
    request = Request(path=f"{STREAM}?{query}", cookie=await cookie_of(user), **headers)
    yield request
    await request.disconnect()


async def until_live(request, count):
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while request.body.count(b"event: live") < count:
            await request.receive(len(request.sent))
    return parsed(request.body)


async def test_sse_ids_are_the_positions_in_all_jobs(user, ids):
    async with listening(user, f"job=a&job=b&after=0,{ids['b'][1]}") as request:
        messages = await until_live(request, 2)
        positions = {"a": "0-0", "b": ids["b"][1]}
        events = [(position, data) for name, position, data in messages if name is None]
        assert len(events) == 4
        for position, event in events:
            positions[event["job_id"]] = event["id"]
            assert position == f"{positions['a']},{positions['b']}"
        assert [data for name, _, data in messages if name == "live"] in (
            [{"job_id": "a"}, {"job_id": "b"}], [{"job_id": "b"}, {"job_id": "a"}],
        )  # fmt: skip


async def test_sse_reconnects_resume_all_jobs(user, ids):
    position = f"{ids['a'][1]},{ids['b'][2]}"
    for query, headers in (
        ("job=a&job=b", {"last-event-id": position}),
        ("job=a&job=b&after=0,0", {"last-event-id": position}),
        (f"job=a&job=b&after={position}", {}),
    ):
        async with listening(user, query, **headers) as request:
            messages = await until_live(request, 2)
            found = [data["id"] for name, _, data in messages if name is None]
            assert found == [ids["a"][2]]


async def test_sse_stream_ends_with_the_last_job(user, ids):
    async with listening(user, "job=a&job=b") as request:
        await until_live(request, 2)
        for job_id in ("a", "b"):
            await in_thread(services.job_cancel)(job_id=job_id)
        await asyncio.wait([request.task], timeout=TIMEOUT_SECONDS)
        assert request.sent[-1]["more_body"] is False
        ends = [data for name, _, data in parsed(request.body) if name == "end"]
        assert sorted(data["job_id"] for data in ends) == ["a", "b"]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 400), ("job=", 400), ("job=a&job=a", 400), ("job=a/b", 400), ("job=a&after=", 400),
        ("job=a&after=$", 400), ("job=a&job=b&after=0", 400), ("job=a&after=0,0", 400),
        ("job=a&job=none", 404), ("job=a&jobs=b", 400), ("job=" + "&job=a".join(["x"] * 101), 400),
        ("job=a&ticket=x", 403), ("job=a&job=b&ticket=x", 403), ("ticket=x", 403),
    ],
)  # fmt: skip
async def test_invalid_sse_requests(user, ids, query, status):
    async with listening(user, query) as request:
        assert await request.status() == status


async def test_sse_requires_a_ticket_for_each_job(user, other_user, make_job, ids):
    await in_thread(make_job)(owner=other_user, job_id="d")
    tickets = [await in_thread(ticket_of)(user, job_id) for job_id in ("a", "b")]
    other = await in_thread(ticket_of)(other_user, "d")
    query = f"job=a&job=b&ticket={tickets[0]}&ticket={tickets[1]}"
    request = Request(path=f"{STREAM}?{query}")
    assert len(await until_live(request, 2)) == 8
    await request.disconnect()
    for wrong in (
        f"job=a&job=b&ticket={tickets[1]}&ticket={tickets[0]}",
        f"job=a&job=d&ticket={tickets[0]}&ticket={other}",
        f"job=a&job=b&ticket={tickets[0]}",
    ):
        request = Request(path=f"{STREAM}?{wrong}")
        await asyncio.wait([request.task], timeout=TIMEOUT_SECONDS)
        assert request.sent[0]["status"] in (401, 403)


async def test_revocation_ends_the_sse_stream(user, ids):
    async with listening(user, "job=a&job=b") as request:
        await until_live(request, 2)
        await Job.objects.filter(job_id="a").aupdate(owner=None)
        await asyncio.wait([request.task], timeout=TIMEOUT_SECONDS)
        assert request.task.done()
    async with listening(user, "job=a&job=b") as request:
        await asyncio.wait([request.task], timeout=TIMEOUT_SECONDS)
        assert request.sent[0]["status"] == 404


async def test_stalled_sse_client_is_closed(user, ids, settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "SEND_TIMEOUT": 0.2, "KEEP_ALIVE": 0.2}
    path = f"{STREAM}?job=a&job=b"
    request = Request(path=path, cookie=await cookie_of(user), max_messages=3)
    await asyncio.wait([request.task], timeout=TIMEOUT_SECONDS)
    assert request.task.done()
