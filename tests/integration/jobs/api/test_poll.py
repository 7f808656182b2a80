"""The long-poll, under ASGI and under WSGI."""

import asyncio
import json
import threading
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from time import monotonic

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.test import Client

from events.live.threads import in_database_thread
from events.outbox import writer
from events.publisher import get_publisher
from events.streams.clients import get_redis
from jobs import services
from jobs.api.views import live
from jobs.models import Job
from tests.integration.jobs.asgi import (
    TIMEOUT_SECONDS,
    Request,
    cookie_of,
    log_out,
    ticket_of,
    wait_until_gone,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

POLL = "/api/jobs/abc/events/poll/"


@pytest.fixture
def ids(user, make_job, log):
    make_job(owner=user, job_id="abc")
    get_publisher().publish_events("abc", [{"n": n} for n in (1, 2)])
    return [event.id for event in log("abc")]


def numbers(page):
    return [event["data"].get("n", 0) for event in page["results"]]


@asynccontextmanager
async def request_of(user, **query):
    """Send a request to the ASGI application."""
    text = "&".join(f"{name}={value}" for name, value in query.items())
    cookie = await cookie_of(user)
    request = Request(path=f"{POLL}?{text}", cookie=cookie)
    request.cookie = cookie
    yield request
    await request.disconnect()


async def page_of(request):
    await asyncio.wait([request.task], timeout=TIMEOUT_SECONDS)
    assert request.sent[0]["status"] == 200
    headers = dict(request.sent[0]["headers"])
    assert headers[b"Content-Type"] == b"application/json"
    return json.loads(request.body)


async def wait_started(request):
    """Wait until the request blocks: its head has been sent, but not its body."""
    await request.receive(0)
    assert not request.task.done()


async def test_existing_events_are_returned_at_once(user, ids):
    async with request_of(user, wait=30) as request:
        page = await page_of(request)
        assert numbers(page) == [0, 1, 2]
        assert page["cursor"] == ids[2]
    async with request_of(user, wait=30, after=ids[0], limit=1) as request:
        page = await page_of(request)
        assert numbers(page) == [1]
        assert page["next"] is not None


@pytest.mark.parametrize("is_asgi", [True, False], ids=["asgi", "wsgi"])
async def test_cursor_that_is_not_in_the_log(user, ids, client, is_asgi):
    """The response is 410 with the cursor of the event before it."""
    await sync_to_async(client.force_login)(user)
    cursor = ids[2].partition("-")[0] + "-1000"
    if is_asgi:
        async with request_of(user, wait=30, after=cursor) as request:
            assert await request.status() == 410
            problem = json.loads(request.body)
    else:
        response = await sync_to_async(client.get)(POLL, {"after": cursor, "wait": 5})
        assert response.status_code == 410
        problem = response.json()
    assert (problem["type"], problem["after"]) == ("urn:job-events:gone", ids[2])
    assert "first" not in problem


async def test_new_event_ends_the_wait(user, ids):
    async with request_of(user, wait=30, after=ids[2]) as request:
        await wait_started(request)
        get_publisher().publish_event("abc", {"n": 3})
        page = await page_of(request)
        assert numbers(page) == [3]
        assert page["job_status"] == "pending"


async def test_timeout_returns_an_empty_page(user, ids):
    async with request_of(user, wait=0.2, after=ids[2]) as request:
        page = await page_of(request)
        nothing = {"results": [], "next": None, "cursor": ids[2], "job_status": "pending"}
        assert page == {**nothing, "end": False, "waits": True}


async def test_finished_job_is_not_waited_for(user, ids):
    await sync_to_async(services.job_cancel)(job_id="abc")
    async with request_of(user, wait=30, limit=2) as request:
        page = await page_of(request)
        assert (numbers(page), page["end"]) == ([0, 1], False)
    async with request_of(user, wait=30, after=page["cursor"]) as request:
        page = await page_of(request)
        assert (numbers(page), page["end"], page["job_status"]) == ([2, 0], True, "cancelled")
    async with request_of(user, wait=30, after=page["cursor"]) as request:
        page = await page_of(request)
        assert (page["results"], page["end"]) == ([], True)


@pytest.fixture
def slow_append(monkeypatch):
    """A committed event is appended when the test sets the returned event."""
    append, is_allowed = writer._append, threading.Event()

    def append_later(*arguments):
        is_allowed.wait(TIMEOUT_SECONDS)
        append(*arguments)

    monkeypatch.setattr(writer, "_append", append_later)
    return is_allowed


async def test_last_event_is_appended_after_its_commit(user, ids, slow_append):
    """The job is finished, but its log is not complete: the poller waits for the last event."""
    cancel = asyncio.create_task(in_database_thread(partial(services.job_cancel, job_id="abc")))
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while not await Job.objects.filter(status="cancelled").aexists():  # noqa: ASYNC110 - no event to wait for
            await asyncio.sleep(0.01)
    async with request_of(user, after=ids[2]) as request:
        page = await page_of(request)
        assert (page["results"], page["end"], page["job_status"]) == ([], False, "cancelled")
    async with request_of(user, wait=30, after=ids[2]) as request:
        await wait_started(request)
        slow_append.set()
        page = await page_of(request)
        assert (numbers(page), page["end"]) == ([0], True)
    await cancel


async def test_last_event_in_the_outbox_is_part_of_the_log(user, ids, monkeypatch):
    """The event is overdue: the request appends it."""
    monkeypatch.setattr("jobs.completion.COMPLETION_GRACE", timedelta())
    with monkeypatch.context() as patch:
        patch.setattr(writer, "_append", lambda *_: None)
        await sync_to_async(services.job_cancel)(job_id="abc")
    async with request_of(user, after=ids[2]) as request:
        page = await page_of(request)
        assert (numbers(page), page["end"]) == ([0], False)
    async with request_of(user, wait=30, after=page["cursor"]) as request:
        page = await page_of(request)
        assert (numbers(page), page["end"]) == ([], True)


async def test_retry_before_the_page_is_read(user, ids, monkeypatch):
    """The page has events of the next attempt: it does not end the log."""
    await sync_to_async(services.job_cancel)(job_id="abc")
    find_end = live.end_of_log

    def retried(job_id):
        end = find_end(job_id)
        services.job_retry(job_id=job_id)
        return end

    monkeypatch.setattr(live, "end_of_log", retried)
    async with request_of(user, after=ids[2]) as request:
        page = await page_of(request)
        assert (numbers(page), page["end"]) == ([0, 0], False)


async def test_large_events_are_divided_into_pages(user, ids):
    """A page is at most 64 KiB, or one event."""
    sizes = [40_000, 20_000, 10_000, 100_000, 1000]
    texts = [{"text": "x" * size} for size in sizes]
    await sync_to_async(get_publisher().publish_events)("abc", texts)
    pages, after, has_more = [], ids[2], True
    while has_more:
        async with request_of(user, after=after) as request:
            page = await page_of(request)
        pages.append([len(event["data"]["text"]) for event in page["results"]])
        after, has_more = page["cursor"], page["next"]
    assert pages == [[40_000, 20_000], [10_000], [100_000], [1000]]


async def test_waiting_requests_occupy_no_threads(user, ids):
    async with request_of(user, wait=30, after=ids[2]) as first:
        await wait_started(first)
        before = threading.active_count()
        cookie = await cookie_of(user)
        path = f"{POLL}?wait=30&after={ids[2]}"
        others = [Request(path=path, cookie=cookie) for _ in range(60)]
        for other in others:
            await wait_started(other)
        # A few threads are kept for requests and for queries.
        await wait_until_gone(lambda: threading.active_count() > before + len(others) / 2)
        get_publisher().publish_event("abc", {"n": 3})
        for other in [first, *others]:
            assert numbers(await page_of(other)) == [3]


async def test_ticket(user, ids):
    ticket = await sync_to_async(ticket_of)(user, "abc")
    request = Request(path=f"{POLL}?ticket={ticket}")
    assert numbers(await page_of(request)) == [0, 1, 2]


async def remove_owner(user, cookie):
    await Job.objects.aupdate(owner=None)


async def deactivate(user, cookie):
    await type(user).objects.aupdate(is_active=False)


async def end_session(user, cookie):
    await log_out(cookie)


REVOCATIONS = [remove_owner, deactivate, end_session]


@pytest.mark.parametrize("revoke", REVOCATIONS)
async def test_access_lost_while_waiting(user, ids, revoke):
    async with request_of(user, wait=30, after=ids[2]) as request:
        await wait_started(request)
        await revoke(user, request.cookie)
        get_publisher().publish_event("abc", {"n": 3})
        assert numbers(await page_of(request)) == []


@pytest.mark.parametrize("revoke", REVOCATIONS)
def test_access_lost_while_waiting_under_wsgi(user, ids, revoke, client, monkeypatch):
    """The wait is replaced by the revocation and an event."""
    client.force_login(user)
    cookie = f"sessionid={client.cookies['sessionid'].value}"

    def wait(*args, **kwargs):
        async_to_sync(revoke)(user, cookie)
        get_publisher().publish_event("abc", {"n": 3})

    monkeypatch.setattr(live, "wait_for_events", wait)
    assert numbers(client.get(POLL, {"wait": "5", "after": ids[2]}).json()) == []


async def test_later_request_with_a_ticket_ends_an_earlier_one(user, ids):
    ticket = await sync_to_async(ticket_of)(user)
    path = f"{POLL}?wait=30&after={ids[2]}&ticket={ticket}"
    first = Request(path=path)
    await wait_started(first)
    second = Request(path=path)
    await wait_started(second)
    get_publisher().publish_event("abc", {"n": 3})
    assert numbers(await page_of(first)) == []
    assert numbers(await page_of(second)) == [3]


def test_under_wsgi(user, ids):
    client = Client()
    client.force_login(user)
    later = threading.Timer(0.3, lambda: get_publisher().publish_event("abc", {"n": 3}))
    later.start()
    page = client.get(POLL, {"wait": "20", "after": ids[2]}).json()
    later.join()
    assert numbers(page) == [3]
    page = client.get(POLL, {"wait": "0.1", "after": page["cursor"]}).json()
    assert numbers(page) == []
    assert page["waits"] is False


def test_wait_longer_than_the_redis_timeout(user, ids, settings):
    """A wait longer than the Redis timeout is divided into several commands."""
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "REDIS_TIMEOUT": 0.4}
    get_redis()
    client = Client()
    client.force_login(user)
    began = monotonic()
    response = client.get(POLL, {"wait": "1", "after": ids[2]})
    assert response.status_code == 200
    assert monotonic() - began >= 1


@pytest.mark.parametrize("wait", ["", "-1", "31", "x", "nan", "inf", "1e9", "9" * 99, "1\n", "٣"])
def test_invalid_wait(api, ids, wait):
    assert api.get("jobs/abc/events/poll/", {"wait": wait}).status_code == 400


def test_invalid_requests(api, other_api, anonymous_api, ids):
    path = "jobs/abc/events/poll/"
    for query in ({"after": "$"}, {"limit": "0"}, {"order": "desc"}, {"before": ids[2]}):
        assert api.get(path, query).status_code == 400
    assert other_api.get(path).status_code == 404
    assert anonymous_api.get(path).status_code in (401, 403)
