"""The threads of requests under ASGI: bounded, reused, and not waited for."""

import asyncio
import json
import threading

import pytest
from asgiref.sync import ThreadSensitiveContext, sync_to_async

from events.live import threads
from events.live.asgi import DetachedStreamingMiddleware
from events.live.threads import in_database_thread
from tests.integration.jobs.asgi import TIMEOUT_SECONDS, Request

pytestmark = pytest.mark.django_db(transaction=True)


class Application:
    """An application with one call in the thread of the request, as Django has."""

    def __init__(self):
        self.entered, self.released = threading.Semaphore(0), threading.Event()
        self.threads = set()
        self.ends = asyncio.Event()

    async def __call__(self, scope, receive, send):
        async with ThreadSensitiveContext():
            while (await receive()).get("more_body"):
                pass
            work = asyncio.ensure_future(sync_to_async(self.work)(scope["path"]))
            disconnect = asyncio.ensure_future(receive())
            await asyncio.wait([work, disconnect], return_when=asyncio.FIRST_COMPLETED)
            disconnect.cancel()
            if not work.done():
                work.cancel()
                return
            await send({"type": "http.response.start", "status": 200, "headers": []})
            if scope["path"] == "/stream":
                await self.ends.wait()
            await send({"type": "http.response.body", "body": b""})

    def work(self, path):
        self.threads.add(threading.current_thread())
        self.entered.release()
        if path == "/hang":
            assert self.released.wait(TIMEOUT_SECONDS)

    async def until_entered(self, count):
        for _ in range(count):
            assert await asyncio.to_thread(self.entered.acquire, timeout=TIMEOUT_SECONDS)


@pytest.fixture
def application(settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "MAX_REQUESTS": 3}
    application = Application()
    yield application
    application.released.set()


@pytest.fixture
def send(application):
    """Sends a request to the application behind the middleware."""
    middleware = DetachedStreamingMiddleware(application)
    return lambda path="/": Request(middleware, path)


async def test_further_requests_are_answered_with_503(application, send, monkeypatch):
    monkeypatch.setattr(threads, "MAX_WAIT_SECONDS", 0.05)
    hanging = [send("/hang") for _ in range(3)]
    await application.until_entered(3)
    others = [send() for _ in range(20)]
    for other in others:
        assert await other.status() == 503
        assert (b"content-type", b"application/problem+json") in other.sent[0]["headers"]
        assert json.loads(other.body)["type"] == "urn:job-events:unavailable"
    assert len(application.threads) == 3
    application.released.set()
    for each in hanging:
        assert await each.status() == 200


async def test_requests_wait_for_a_place(application, send):
    hanging = [send("/hang") for _ in range(3)]
    await application.until_entered(3)
    others = [send() for _ in range(20)]
    application.released.set()
    for each in (*hanging, *others):
        assert await each.status() == 200


async def test_threads_are_reused(application, send):
    for _ in range(50):
        assert await send().status() == 200
    assert len(application.threads) < 50


async def test_disconnected_request_keeps_its_place_until_its_thread_is_idle(
    application, send, monkeypatch
):
    """Its end does not wait for the thread."""
    hanging = [send("/hang") for _ in range(3)]
    await application.until_entered(3)
    for each in hanging:
        await each.disconnect()
    with monkeypatch.context() as patch:
        patch.setattr(threads, "MAX_WAIT_SECONDS", 0.05)
        assert await send().status() == 503
    application.released.set()
    assert await send().status() == 200


async def test_request_leaves_its_place_when_its_response_starts(application, send):
    streams = [send("/stream") for _ in range(5)]
    for each in streams:
        assert await each.status() == 200
    assert await send().status() == 200
    application.ends.set()
    for each in streams:
        await each.task


async def test_sync_code_of_a_request_runs_in_one_thread():
    found = []

    async def application(scope, receive, send):
        async with ThreadSensitiveContext():
            found.extend([await sync_to_async(threading.current_thread)() for _ in range(3)])
            await send({"type": "http.response.start", "status": 204, "headers": []})

    assert await Request(DetachedStreamingMiddleware(application)).status() == 204
    assert len(set(found)) == 1


async def test_database_threads_are_bounded_and_not_those_of_the_loop():
    released, entered, found = threading.Event(), threading.Semaphore(0), set()

    def hang():
        found.add(threading.current_thread())
        entered.release()
        assert released.wait(TIMEOUT_SECONDS)

    calls = [asyncio.create_task(in_database_thread(hang)) for _ in range(50)]
    for _ in range(8):
        assert await asyncio.to_thread(entered.acquire, timeout=TIMEOUT_SECONDS)
    assert len(found) == 8
    released.set()
    await asyncio.gather(*calls)
    assert len(found) == 8
