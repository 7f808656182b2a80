"""Detached streaming responses: messages and held resources."""

import asyncio
import threading
from contextlib import asynccontextmanager

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings as django_settings
from django.http import HttpResponse

from config.asgi import application
from events.live.asgi import DetachedStreamingMiddleware, stream_response
from events.live.frames import SSE_OPENING
from events.publisher import get_publisher
from jobs import services
from tests.integration.jobs.asgi import TIMEOUT_SECONDS, Request, cookie_of, wait_until_gone

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def job(user, make_job):
    job = make_job(owner=user, job_id="abc")
    get_publisher().publish_events("abc", [{"event_type": "x", "n": n} for n in range(1, 4)])
    return job


@asynccontextmanager
async def listening(user):
    request = Request(cookie=await cookie_of(user))
    await request.until(b"event: live")
    yield request
    await request.disconnect()


async def test_events_until_the_end(user, job):
    async with listening(user) as request:
        start = request.sent[0]
        assert start["status"] == 200
        headers = {name.lower(): value for name, value in start["headers"]}
        assert headers[b"content-encoding"] == b"identity"
        assert b"content-length" not in headers
        assert request.body.count(b'"n":') == 3
        await sync_to_async(services.job_cancel)(job_id="abc")
        await request.until(b"event: end")
        await asyncio.wait([request.task], timeout=TIMEOUT_SECONDS)
        assert request.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("abc/events/stream/", 200),
        ("abc/events/stream/?after=x", 400),
        ("none/events/stream/", 404),
        ("abc/events/stream/?replay=1", 200),
        ("abc/events/export/", 200),
        ("abc/events/poll/", 200),
        ("abc/events/poll/?after=1-1", 410),
        ("../events/stream/?job=abc", 200),
    ],
)
async def test_live_responses_are_not_stored(user, job, path, status):
    path = path.removeprefix("../") if path.startswith("..") else f"jobs/{path}"
    request = Request(path=f"/api/{path}", cookie=await cookie_of(user))
    assert await request.status() == status
    headers = {name.lower(): value for name, value in request.sent[0]["headers"]}
    assert headers[b"cache-control"].startswith(b"private, no-store")
    await request.disconnect()


async def test_streams_occupy_no_threads(user, job):
    async with listening(user):
        before = threading.active_count()
        others = [Request(cookie=await cookie_of(user)) for _ in range(30)]
        for other in others:
            await other.until(b"event: live")
        # A few idle threads are kept for other requests.
        await wait_until_gone(lambda: threading.active_count() > before + 10)
        for other in others:
            await other.disconnect()


async def test_disconnect_leaves_no_task(user, job):
    before = asyncio.all_tasks()
    async with listening(user):
        pass
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while asyncio.all_tasks() - before:  # noqa: ASYNC110 - no event to wait for
            await asyncio.sleep(0.01)


async def test_response_without_stream(job):
    request = Request()
    await asyncio.wait([request.task], timeout=TIMEOUT_SECONDS)
    assert request.sent[0]["status"] in (401, 403)
    assert b"detail" in request.body


async def response_of(view):
    """Run a view behind the middleware; return the finished request."""
    closed = []

    async def frames():
        try:
            yield SSE_OPENING
            raise ValueError("broken")
        finally:
            closed.append(True)

    async def view_application(scope, receive, send):
        request = type("Request", (), {"scope": scope})()
        response = view(request, frames())
        headers = [(k.lower().encode(), v.encode()) for k, v in response.items()]
        status = response.status_code
        await send({"type": "http.response.start", "status": status, "headers": headers})
        if response.streaming:
            async for part in response:
                await send({"type": "http.response.body", "body": part, "more_body": True})
        body = b"" if response.streaming else response.content
        await send({"type": "http.response.body", "body": body})

    request = Request(DetachedStreamingMiddleware(view_application))
    await asyncio.wait([request.task], timeout=TIMEOUT_SECONDS)
    request.task.result()
    return request


async def test_middleware_replaces_the_response():
    def other(request, frames):
        stream_response(request, frames)
        return HttpResponse("Closed for today.", status=503)

    request = await response_of(other)
    assert request.sent[0]["status"] == 503
    assert request.body == b"Closed for today."


async def test_error_in_the_stream(caplog):
    """The body ends without its final message."""
    request = await response_of(stream_response)
    assert request.body == SSE_OPENING
    assert request.sent[-1]["more_body"] is True
    assert "live_delivery_failed" in caplog.messages


def test_site_uses_the_middleware():
    assert django_settings.ASGI_APPLICATION == "config.asgi.application"
    assert isinstance(application.application, DetachedStreamingMiddleware)
