"""What sockets and streams count: subscribers by transport, reconnects, and closes by code."""

import json

import pytest
from asgiref.sync import sync_to_async

from jobs import services
from tests.integration.jobs.asgi import Request, cookie_of, socket_of, wait_until_gone
from tests.support.metrics import increase

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def job(user, make_job):
    return make_job("running", owner=user, job_id="abc")


def subscribers(transport):
    return increase("subscribers", transport=transport)


async def test_socket_of_one_job(user, job):
    sockets, resumed = subscribers("websocket"), increase("subscriptions_total", resumes="true")
    ended = increase("socket_closes_total", code="1000")
    socket = await socket_of(user, "/ws/jobs/abc/")
    await socket.connect()
    await socket.until("live")
    assert (sockets(), resumed(), ended()) == (1, 0, 0)
    await sync_to_async(services.job_complete)(job_id="abc")
    await socket.until("end")
    assert await socket.close_code() == 1000
    assert (sockets(), ended()) == (0, 1)


async def test_socket_that_sends_too_much(user, job):
    closed = increase("socket_closes_total", code="1009")
    socket = await socket_of(user, "/ws/jobs/abc/")
    await socket.connect()
    await socket.until("live")
    await socket.send(text="x" * 100_000)
    assert await socket.close_code() == 1009
    assert closed() == 1


async def test_socket_of_several_jobs(user, job):
    sockets = subscribers("websocket_multi")
    socket = await socket_of(user, "/ws/events/")
    await socket.connect()
    await socket.send(text=json.dumps({"action": "subscribe", "job_id": "abc"}))
    await socket.until("live")
    assert sockets() == 1
    await socket.disconnect()
    await wait_until_gone(sockets)


async def test_reconnecting_stream(user, job, log):
    events = await sync_to_async(log)(job)
    streams = subscribers("sse")
    resumed = increase("subscriptions_total", transport="sse", resumes="true")
    path = f"/api/jobs/abc/events/stream/?after={events[0].id}"
    request = Request(path=path, cookie=await cookie_of(user))
    await request.until(b"event: live")
    assert (streams(), resumed()) == (1, 1)
    await request.disconnect()
    assert streams() == 0
