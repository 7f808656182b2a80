"""The long-poll: asked for what is not there yet, it answers when it is; also under WSGI."""

import asyncio
import json
import threading
from contextlib import asynccontextmanager
from time import monotonic

import pytest
from asgiref.sync import sync_to_async
from django.test import Client

from events.publisher import get_publisher
from events.streams.clients import get_redis
from jobs import services
from jobs.access.tickets import make_ticket
from jobs.models import Job
from tests.integration.jobs.asgi import PATIENCE, Request, cookie_of

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

POLL = "/api/jobs/abc/events/poll/"


@pytest.fixture
def ids(user, make_job, log):
    make_job(owner=user, job_id="abc")
    get_publisher().publish_events("abc", [{"n": n} for n in (1, 2)])
    return [event.id for event in log("abc")]


def ns(page):
    return [event["data"].get("n", 0) for event in page["results"]]


@asynccontextmanager
async def asked(user, **query):
    """A request under ASGI that has begun to wait."""
    text = "&".join(f"{name}={value}" for name, value in query.items())
    request = Request(path=f"{POLL}?{text}", cookie=await cookie_of(user))
    yield request
    await request.hang_up()


async def answer(request):
    await asyncio.wait([request.task], timeout=PATIENCE)
    assert request.sent[0]["status"] == 200
    headers = dict(request.sent[0]["headers"])
    assert headers[b"Content-Type"] == b"application/json"
    return json.loads(request.body)


async def waits(request):
    """Until it waits: the head is sent, and the body is not."""
    async with asyncio.timeout(PATIENCE):
        while not request.sent:
            request.news.clear()
            await request.news.wait()
    assert not request.task.done()


async def test_what_is_there_is_answered_at_once(user, ids):
    async with asked(user, wait=30) as request:
        page = await answer(request)
        assert ns(page) == [0, 1, 2]
        assert page["cursor"] == ids[2]
    async with asked(user, wait=30, after=ids[0], limit=1) as request:
        page = await answer(request)
        assert ns(page) == [1]
        assert page["next"] is not None


async def test_what_comes_is_answered_as_it_comes(user, ids):
    async with asked(user, wait=30, after=ids[2]) as request:
        await waits(request)
        get_publisher().publish_event("abc", {"n": 3})
        page = await answer(request)
        assert ns(page) == [3]
        assert page["job_status"] == "pending"


async def test_nothing_comes(user, ids):
    async with asked(user, wait=0.2, after=ids[2]) as request:
        page = await answer(request)
        nothing = {"results": [], "next": None, "cursor": ids[2], "job_status": "pending"}
        assert page == {**nothing, "waits": True}


async def test_nobody_waits_for_a_job_that_is_over(user, ids):
    await sync_to_async(services.job_cancel)(job_id="abc")
    async with asked(user, wait=30) as request:
        last = (await answer(request))["cursor"]
    async with asked(user, wait=30, after=last) as request:
        page = await answer(request)
        assert (page["results"], page["job_status"]) == ([], "cancelled")


async def test_many_who_wait_keep_no_thread(user, ids):
    async with asked(user, wait=30, after=ids[2]) as first:
        await waits(first)
        before = threading.active_count()
        cookie = await cookie_of(user)
        path = f"{POLL}?wait=30&after={ids[2]}"
        others = [Request(path=path, cookie=cookie) for _ in range(20)]
        for other in others:
            await waits(other)
        # The loop's own, which came and are kept for others, are a few.
        assert threading.active_count() < before + len(others) / 2
        get_publisher().publish_event("abc", {"n": 3})
        for other in [first, *others]:
            assert ns(await answer(other)) == [3]


async def test_a_ticket_will_do(user, ids):
    ticket = await sync_to_async(make_ticket)(user, "abc")
    request = Request(path=f"{POLL}?ticket={ticket}")
    assert ns(await answer(request)) == [0, 1, 2]


async def test_what_may_not_be_seen_any_more_is_not_answered(user, ids):
    async with asked(user, wait=30, after=ids[2]) as request:
        await waits(request)
        await Job.objects.aupdate(owner=None)
        get_publisher().publish_event("abc", {"n": 3})
        assert ns(await answer(request)) == []


def test_under_wsgi(user, ids):
    client = Client()
    client.force_login(user)
    later = threading.Timer(0.3, lambda: get_publisher().publish_event("abc", {"n": 3}))
    later.start()
    page = client.get(POLL, {"wait": "20", "after": ids[2]}).json()
    later.join()
    assert ns(page) == [3]
    page = client.get(POLL, {"wait": "0.1", "after": page["cursor"]}).json()
    assert ns(page) == []
    assert page["waits"] is False


def test_nobody_waits_longer_than_a_socket_to_redis(user, ids, settings):
    """Who waits for long asks Redis again and again."""
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "REDIS_TIMEOUT": 0.4}
    get_redis()
    client = Client()
    client.force_login(user)
    began = monotonic()
    response = client.get(POLL, {"wait": "1", "after": ids[2]})
    assert response.status_code == 200
    assert monotonic() - began >= 1


@pytest.mark.parametrize("wait", ["", "-1", "31", "x", "nan", "inf", "1e9", "9" * 99, "1\n", "٣"])
def test_a_wait_that_is_none(api, ids, wait):
    assert api.get("jobs/abc/events/poll/", {"wait": wait}).status_code == 400


def test_what_is_asked_wrongly(api, other_api, anonymous_api, ids):
    path = "jobs/abc/events/poll/"
    for query in ({"after": "$"}, {"limit": "0"}, {"order": "desc"}, {"before": ids[2]}):
        assert api.get(path, query).status_code == 400
    assert other_api.get(path).status_code == 404
    assert anonymous_api.get(path).status_code in (401, 403)
