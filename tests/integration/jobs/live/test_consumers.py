"""The WebSocket of one job: messages, rejections, and faults."""

import asyncio
import json
import threading
from contextlib import asynccontextmanager

import pytest
import redis
import websockets
from asgiref.sync import sync_to_async
from django.db.backends.utils import CursorWrapper
from websockets.exceptions import ConnectionClosed, InvalidStatus

from events.live import follow, rejection
from events.publisher import SyncRedisStreamPublisher, get_publisher
from events.testing.redis_server import EmbeddedRedis
from jobs import services
from tests.integration.jobs.asgi import (
    ORIGIN,
    TIMEOUT_SECONDS,
    Socket,
    cookie_of,
    label,
    socket_of,
    wait_until_gone,
)
from tests.support.database import failing_database

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def job(user, make_job):
    """A job of anna with six events; the first is `job_created`."""
    job = make_job(owner=user, job_id="abc")
    get_publisher().publish_events("abc", [{"event_type": "x", "n": n} for n in range(1, 6)])
    return job


@pytest.fixture
def ids(job, log):
    return [str(event.id) for event in log(job)]


@asynccontextmanager
async def watching(user, query=""):
    socket = await socket_of(user, f"/ws/jobs/abc/{query}")
    assert await socket.connect() is None
    yield socket
    await socket.disconnect()


in_thread = sync_to_async


# Messages


async def test_all_events_from_the_start(user, ids):
    async with watching(user) as socket:
        assert await socket.until("live") == [0, 1, 2, 3, 4, 5, "live"]


async def test_events_are_identical_to_those_of_the_api(user, ids, client):
    async with watching(user) as socket:
        message = await socket.receive()
    await in_thread(client.force_login)(user)
    page = await in_thread(client.get)("/api/jobs/abc/events/")
    assert message == {"type": "event", "event": page.json()["results"][0]}


async def test_events_after_a_cursor(user, ids):
    async with watching(user, f"?after={ids[3]}") as socket:
        assert await socket.until("live") == [4, 5, "live"]
    async with watching(user, "?after=0") as socket:
        assert await socket.until("live") == [0, 1, 2, 3, 4, 5, "live"]


async def test_live_events(user, ids, async_redis):
    async with watching(user, f"?after={ids[5]}") as socket:
        assert await socket.until("live") == ["live"]
        for n in range(6, 12):
            await async_redis.xadd("job_events:abc", {"data": b'{"n": %d}' % n})
            assert await socket.until(n) == [n]


async def test_end(user, ids):
    async with watching(user) as socket:
        await socket.until("live")
        await in_thread(services.job_start)(job_id="abc")
        await in_thread(services.job_complete)(job_id="abc", result=1)
        assert await socket.until("end") == [0, 0, "end"]
        assert await socket.close_code() == 1000


async def test_job_that_finished_long_ago(user, make_job):
    await in_thread(make_job)("completed", owner=user, job_id="abc")
    async with watching(user) as socket:
        assert await socket.until("end") == [0, 0, 0, "live", "end"]
        assert await socket.close_code() == 1000


async def test_retried_job_is_not_finished(user, make_job):
    await in_thread(make_job)("failed", owner=user, job_id="abc")
    await in_thread(services.job_retry)(job_id="abc")
    async with watching(user) as socket:
        assert await socket.until("live") == [0, 0, 0, "live"]
        await in_thread(services.job_cancel)(job_id="abc")
        assert await socket.until("end") == [0, "end"]


async def test_events_appended_during_the_subscription(user, job, async_redis):
    """A writer appends without a pause: there is an event at each step of catch-up and tail."""
    count = 2000

    async def write():
        for n in range(6, count):
            await async_redis.xadd("job_events:abc", {"data": b'{"n": %d}' % n})

    writer = asyncio.create_task(write())
    viewers = []
    for _ in range(5):
        viewers.append(await socket_of(user))
        assert await viewers[-1].connect() is None
    for socket in viewers:
        labels = await socket.until(count - 1)
        assert [n for n in labels if n != "live"] == list(range(count))
        assert labels.count("live") <= 1
        await socket.disconnect()
    await writer


async def test_entries_of_other_producers(user, job, async_redis):
    hostile = [b"{broken", b"", b'{"x":\n' * 600 + b"1" + b"}" * 600, b"\xff", b"x" * 1_000_000]
    for data in hostile:
        await async_redis.xadd("job_events:abc", {"data": data})
    async with watching(user) as socket:
        assert len(await socket.until("live")) == 6 + len(hostile) + 1


async def test_messages_to_a_socket_without_replay_are_errors(user, job):
    async with watching(user) as socket:
        await socket.until("live")
        await socket.send(text='{"action": "subscribe"}')
        assert await socket.until("error") == ["error"]
        await socket.send(bytes=b"\x00\xff")
        assert await socket.until("error") == ["error"]
        await in_thread(services.job_cancel)(job_id="abc")
        assert await socket.until("end") == [0, "end"]


async def test_disconnect_leaves_no_task(user, job, settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "KEEP_ALIVE": 0.1}
    before = asyncio.all_tasks()
    for _ in range(3):
        async with watching(user) as socket:
            await socket.receive()
    await wait_until_gone(lambda: asyncio.all_tasks() - before)


async def test_subscriber_may_be_cancelled_at_any_await(settings, async_redis):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "KEEP_ALIVE": 0.1}
    await async_redis.xadd("job_events:abc", {"data": b"{}"})

    async def watch():
        async for _ in follow("abc"):
            pass

    for steps in range(60):
        task = asyncio.create_task(watch())
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task], timeout=TIMEOUT_SECONDS)
        assert task.cancelled(), f"after {steps} steps"


class StalledSocket(Socket):
    """A client that receives one message; later sends block."""

    def __init__(self, path, headers):
        super().__init__(path, headers)
        self.taken, self.closed = 0, asyncio.Event()
        application_send = self.output_queue.put

        async def put(message):
            if message["type"] == "websocket.close":
                self.closed.set()
            elif message["type"] == "websocket.send":
                self.taken += 1
                if self.taken > 1:
                    await asyncio.Event().wait()
            await application_send(message)

        self.output_queue.put = put


async def test_stalled_client_is_closed(user, ids, settings, caplog):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "SEND_TIMEOUT": 0.2, "KEEP_ALIVE": 0.2}
    cookie = await cookie_of(user)
    socket = StalledSocket("/ws/jobs/abc/", [(b"cookie", cookie.encode()), (b"origin", ORIGIN)])
    async with watching(user) as other:
        assert await socket.connect() is None
        await asyncio.wait_for(socket.closed.wait(), TIMEOUT_SECONDS)
        assert label(await socket.receive()) == 0
        assert await socket.close_code() == 4408
        assert "socket_closed" in caplog.messages
        assert await other.until("live") == [0, 1, 2, 3, 4, 5, "live"]
    await socket.disconnect()


async def test_number_of_queries_of_many_reconnects(user, ids, monkeypatch):
    """Session, user and visibility for each; the log is read once for all."""
    statements, execute = [], CursorWrapper.execute

    def counted(self, sql, params=None):
        statements.append(sql)
        return execute(self, sql, params)

    async with watching(user) as first:
        await first.until("live")
        sockets = [await socket_of(user, f"/ws/jobs/abc/?after={ids[2]}") for _ in range(60)]
        monkeypatch.setattr(CursorWrapper, "execute", counted)
        assert await asyncio.gather(*[socket.connect() for socket in sockets]) == [None] * 60
        for socket in sockets:
            assert await socket.until("live") == [3, 4, 5, "live"]
    selects = [sql for sql in statements if sql.startswith("SELECT")]
    assert len(selects) <= 3 * len(sockets) + 10
    assert (
        len([sql for sql in selects if "job_events_eventlog" in sql or "job_events_archive" in sql])
        <= 10
    )
    for socket in sockets:
        await socket.disconnect()


# Rejections


@pytest.mark.parametrize("failing_query", ["django_session", "job_events_jobs_job"])
async def test_handshake_while_the_database_fails(user, job, failing_query):
    """In the middleware that loads the session, and in the consumer."""
    socket = await socket_of(user)
    socket.scope["extensions"] = {"websocket.http.response": {}}
    with failing_database(applies=lambda sql: failing_query in sql):
        await socket.send_input({"type": "websocket.connect"})
        start = await socket.receive_output(TIMEOUT_SECONDS)
        body = await socket.receive_output(TIMEOUT_SECONDS)
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 503)
    assert (b"content-type", b"application/problem+json") in start["headers"]
    problem = json.loads(body["body"])
    assert (problem["type"], problem["status"]) == ("urn:job-events:unavailable", 503)
    assert "internal" not in problem["detail"]


async def test_handshake_while_the_database_fails_on_a_server_without_http_rejections(user, job):
    socket = await socket_of(user)
    with failing_database():
        assert await socket.connect() == 1013
    async with watching(user) as socket:
        assert await socket.until("live") == [0, 1, 2, 3, 4, 5, "live"]


async def test_handshake_while_the_database_does_not_answer(user, job, monkeypatch):
    monkeypatch.setattr(rejection, "MAX_WAIT_SECONDS", 0.1)
    answers = threading.Event()
    sockets = [await socket_of(user) for _ in range(5)]
    with failing_database(applies=lambda _sql: not answers.wait(TIMEOUT_SECONDS)):
        for socket in sockets:
            assert await socket.connect() == 1013
        answers.set()
    monkeypatch.setattr(rejection, "MAX_WAIT_SECONDS", TIMEOUT_SECONDS)
    async with watching(user) as socket:
        assert await socket.until("live") == [0, 1, 2, 3, 4, 5, "live"]


async def test_job_of_another_user_is_not_found(job, other_user):
    for other in (other_user, None):
        for path in ("/ws/jobs/abc/", "/ws/jobs/missing/"):
            socket = await socket_of(other, path)
            assert await socket.connect() == 4404


async def test_missing_job(user, job):
    socket = await socket_of(user, "/ws/jobs/missing/")
    assert await socket.connect() == 4404


async def test_inactive_user(user, job):
    socket = await socket_of(user)
    user.is_active = False
    await user.asave()
    assert await socket.connect() == 4404


async def test_staff_may_watch_all_jobs(staff, job):
    async with watching(staff) as socket:
        assert await socket.until("live") == [0, 1, 2, 3, 4, 5, "live"]


@pytest.mark.parametrize(
    "path",
    [
        "/ws/jobs/a%20b/",
        "/ws/jobs/a.b/",
        "/ws/jobs/%00/",
        f"/ws/jobs/{'x' * 65}/",
        "/ws/jobs/ü/",
        "/ws/jobs/abc/?after=$",
        "/ws/jobs/abc/?after=",
        "/ws/jobs/abc/?after",
        "/ws/jobs/abc/?after=1",
        "/ws/jobs/abc/?after=%00",
        "/ws/jobs/abc/?after=%ED%A0%80",
        "/ws/jobs/abc/?after=0&after=x",
        "/ws/jobs/abc/?after=999999999999999999999-0",
    ],
)
async def test_invalid_job_id_or_cursor(user, job, path):
    socket = await socket_of(user, path)
    assert await socket.connect() == 4500


async def test_another_origin(user, job):
    for origin in (b"http://evil.example", b"null", None):
        socket = await socket_of(user, origin=origin)
        assert await socket.connect() is not None, origin


async def problem_of_handshake(user):
    socket = await socket_of(user)
    socket.scope["extensions"] = {"websocket.http.response": {}}
    await socket.send_input({"type": "websocket.connect"})
    start = await socket.receive_output(TIMEOUT_SECONDS)
    problem = json.loads((await socket.receive_output(TIMEOUT_SECONDS))["body"])
    assert start["status"] == problem["status"]
    return problem


async def test_unreadable_log(user, job, redis_down, client):
    socket = await socket_of(user)
    assert await socket.connect() == 1013
    await in_thread(client.force_login)(user)
    problem = (await in_thread(client.get)("/api/jobs/abc/events/")).json()
    assert problem["status"] == 503
    assert await problem_of_handshake(user) == problem
    assert "nonexistent" not in problem["detail"]


async def test_key_that_is_not_a_stream(user, make_job, async_redis, client):
    await async_redis.set("job_events:abc", "text")
    await in_thread(make_job)(owner=user, job_id="abc")
    socket = await socket_of(user)
    assert await socket.connect() == 1013
    await in_thread(client.force_login)(user)
    problem = (await in_thread(client.get)("/api/jobs/abc/events/")).json()
    assert problem["status"] == 409
    assert await problem_of_handshake(user) == problem


async def test_stream_that_is_replaced_by_another_type_closes_the_socket(
    user, job, async_redis, caplog, settings
):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "KEEP_ALIVE": 0.1}
    async with watching(user) as socket:
        await socket.until("live")
        await async_redis.delete("job_events:abc")
        await async_redis.set("job_events:abc", "text")
        assert await socket.close_code() == 1011
    assert "live_delivery_failed" in caplog.messages


# Redis is killed and restarted


@pytest.fixture
def own_redis(short_tmp, settings):
    """A Redis for one test, which writes each command to disk at once."""
    server = EmbeddedRedis(short_tmp / "own", appendfsync="always")
    server.start()
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "REDIS_URL": server.url, "REDIS_TIMEOUT": 2}
    yield server
    server.stop()


async def test_redis_is_killed_while_a_subscriber_tails(own_redis, user, job, caplog):
    async with watching(user) as socket:
        assert await socket.until("live") == [0, 1, 2, 3, 4, 5, "live"]
        for n in (6, 7, 8):
            await in_thread(own_redis.kill)()
            await wait_until_gone(lambda n=n: caplog.messages.count("live_read_failed") < n - 5)
            await in_thread(own_redis.start)()
            await in_thread(get_publisher().publish_event)("abc", {"n": n})
            assert await socket.until(n) == [n]


async def test_redis_is_killed_while_a_subscriber_catches_up(own_redis, user, job):
    events = [{"n": n, "text": "x" * 1000} for n in range(6, 3000)]
    await in_thread(get_publisher().publish_events)("abc", events)
    async with watching(user) as socket:
        labels = await socket.until(10)
        await in_thread(own_redis.kill)()
        await in_thread(own_redis.start)()
        labels += await socket.until(2999)
    assert [n for n in labels if n != "live"] == list(range(3000))


# On the real site


@pytest.fixture
def site_job(site):
    """A pending job of anna on the real site, and a publisher to its log."""
    with site.client("anna") as client:
        job_id = client.post("/api/jobs/", json={"task_type": "manual"}).json()["job_id"]
    connection = redis.Redis.from_url(site.redis.url)
    yield job_id, SyncRedisStreamPublisher(connection)
    connection.close()


@pytest.fixture
def site_cookie_of(site):
    """Logs in on the login page of the site, and returns the session cookie."""

    def site_cookie_of(user):
        with site.client() as client:
            client.auth = None
            client.get("/jobs/login/")
            form = {
                "username": user,
                "password": user,
                "csrfmiddlewaretoken": client.cookies["csrftoken"],
            }
            assert client.post("/jobs/login/", data=form).status_code == 302
            return {"Cookie": f"sessionid={client.cookies['sessionid']}"}

    return site_cookie_of


def connect(site, job_id, headers, query="", origin=None):
    return websockets.connect(
        f"{site.ws_url}/ws/jobs/{job_id}/{query}",
        additional_headers=headers,
        origin=origin or site.url,
    )


async def numbers_until(socket, wanted):
    labels = []
    async for text in socket:
        labels.append(label(json.loads(text)))
        if labels[-1] == wanted:
            break
    return labels


async def test_browser_on_the_real_site(site, site_job, site_cookie_of):
    job_id, publisher = site_job
    cookie = site_cookie_of("anna")
    ids = publisher.publish_events(job_id, [{"n": n} for n in range(1, 4)])
    async with connect(site, job_id, cookie) as socket:
        assert await numbers_until(socket, "live") == [0, 1, 2, 3, "live"]
        publisher.publish_event(job_id, {"n": 4})
        assert await numbers_until(socket, 4) == [4]
    async with connect(site, job_id, cookie, f"?after={ids[1]}") as socket:
        assert await numbers_until(socket, "live") == [3, 4, "live"]
        with site.client("anna") as client:
            client.post(f"/api/jobs/{job_id}/cancel/")
        assert await numbers_until(socket, "end") == [0, "end"]
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 1000


async def test_rejections_on_the_real_site_are_http_responses(site, site_job, site_cookie_of):
    job_id, _ = site_job
    anna, bert = site_cookie_of("anna"), site_cookie_of("bert")
    for headers, path, status in (
        (bert, job_id, 404),
        ({}, job_id, 404),
        (anna, "missing", 404),
        (anna, "a.b", 400),
    ):
        with pytest.raises(InvalidStatus) as caught:
            await connect(site, path, headers)
        assert caught.value.response.status_code == status
        assert caught.value.response.headers["cache-control"] == "private, no-store"
        problem = json.loads(caught.value.response.body)
        assert (problem["status"], " " in problem["detail"]) == (status, True)
    with pytest.raises(InvalidStatus) as caught:
        await connect(site, job_id, anna, "?after=$")
    assert caught.value.response.status_code == 400
    with pytest.raises(InvalidStatus) as caught:
        await connect(site, job_id, anna, origin="http://evil.example")
    assert caught.value.response.status_code == 403


async def test_aborted_connections_on_the_real_site(site, site_job, site_cookie_of):
    job_id, publisher = site_job
    cookie = site_cookie_of("anna")
    before = len(site.log_of())
    publisher.publish_events(job_id, [{"n": n, "text": "x" * 10_000} for n in range(1, 300)])
    connection = redis.Redis.from_url(site.redis.url, decode_responses=True)
    for _ in range(10):
        socket = await connect(site, job_id, cookie)
        await socket.recv()
        socket.transport.abort()
    await wait_until_gone(
        lambda: [c for c in connection.client_list() if c["cmd"] == "xread" and "b" in c["flags"]]
    )
    connection.close()
    assert "Traceback" not in site.log_of()[before:]
