"""Live readers of a job that is deleted: they are closed, and receive neither `reset` nor `end`."""

import asyncio
import json

import pytest
from asgiref.sync import sync_to_async

from events.exceptions import LogDeleted
from events.publisher import get_publisher
from jobs import services
from jobs.access.session_guard import SessionGuard
from tests.integration.jobs.asgi import TIMEOUT_SECONDS, Request, cookie_of, socket_of

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

in_thread = sync_to_async


@pytest.fixture(params=["guard", "reader", "both"])
def job(request, user, make_job, settings, monkeypatch):
    """A job, and which of two components detect the deletion."""
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "RECHECK_LOGINS": 0.1, "KEEP_ALIVE": 0.1}
    if request.param == "guard":
        settings.JOB_EVENTS["KEEP_ALIVE"] = 15.0
    elif request.param == "reader":
        monkeypatch.setattr(SessionGuard, "check", lambda *_arguments: [])
    else:  # usually the reader first
        settings.JOB_EVENTS["RECHECK_LOGINS"] = 0.5
    make_job("running", owner=user, job_id="other")
    job = make_job("running", owner=user, job_id="abc")
    get_publisher().publish_event("abc", {"n": 1})
    return job


def delete():
    services.job_delete(job_id="abc")


@pytest.mark.parametrize("query", ["", "?replay=1&speed=100"])
async def test_socket_is_closed_as_not_found(user, job, query):
    socket = await socket_of(user, f"/ws/jobs/abc/{query}")
    assert await socket.connect() is None
    await socket.until("live")
    await in_thread(delete)()
    assert await socket.close_code() == 4404
    await socket.disconnect()
    again = await socket_of(user)
    assert await again.connect() == 4404


async def test_socket_of_several_jobs_stays_open(user, job):
    socket = await socket_of(user, "/ws/events/")
    assert await socket.connect() is None
    for job_id in ("abc", "other"):
        await socket.send(text=json.dumps({"action": "subscribe", "job_id": job_id}))
        await socket.until("live")
    await in_thread(delete)()
    message = await socket.receive()
    assert (message["type"], message["job_id"]) == ("error", "abc")
    await asyncio.sleep(0.7)  # for a second error message, which must not be sent
    await in_thread(get_publisher().publish_event)("other", {"n": 7})
    message = await socket.receive()
    assert message["event"]["data"]["n"] == 7
    await socket.disconnect()


@pytest.mark.parametrize(
    "path", ["/api/jobs/abc/events/stream/", "/api/events/stream/?job=abc&job=other"]
)
async def test_sse_response_ends(user, job, path, caplog):
    cookie = await cookie_of(user)
    request = Request(path=path, cookie=cookie)
    await request.until(b"event: live")
    await in_thread(delete)()
    await asyncio.wait([request.task], timeout=TIMEOUT_SECONDS)
    assert request.task.done()
    assert b"event: reset" not in request.body
    assert b"event: end" not in request.body
    assert "live_delivery_failed" not in caplog.messages
    again = Request(path=path, cookie=cookie)
    assert await again.status() == 404


async def test_long_poll_ends(user, job):
    cookie, last = await cookie_of(user), await in_thread(last_id)()
    poll = Request(path=f"/api/jobs/abc/events/poll/?after={last}&wait=1", cookie=cookie)
    await asyncio.sleep(0.1)
    await in_thread(delete)()
    await asyncio.wait([poll.task], timeout=TIMEOUT_SECONDS)
    assert poll.task.done()
    again = Request(path=f"/api/jobs/abc/events/poll/?after={last}&wait=1", cookie=cookie)
    assert await again.status() == 404


def last_id():
    return get_publisher().publish_event("abc", {"n": 2})


async def test_publisher_of_the_job_is_refused(user, job):
    await in_thread(delete)()
    with pytest.raises(LogDeleted):
        await in_thread(last_id)()
