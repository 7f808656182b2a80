"""A job's log over HTTP: history, the stream's state, and server-sent events."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import sleep
from urllib.parse import urlsplit

import httpx
import pytest
import redis
from asgiref.sync import sync_to_async
from django.test import AsyncClient

from events.archive.archiver import Archiver
from events.archive.filters import EventFilter
from events.models import ArchivedEvent, EventLog
from events.publisher import SyncRedisStreamPublisher, get_publisher
from events.streams.clients import get_redis
from events.transfer import export
from events.types import Cursor
from jobs import services
from jobs.models import Job
from tests.integration.jobs.asgi import STREAM, TIMEOUT_SECONDS, Request, cookie_of
from tests.integration.jobs.conftest import response_text

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

LARGEST = "18446744073709551615-18446744073709551615"
BAD_CURSORS = (
    "", "$", "-", "+", "1", "1-", "-1", "a-b", "1-1\n", "1.5-0", "(1-1", "\x00", "ü", "٣-1", "1-1 ",
    "9" * 21 + "-0", "9" * 5000, "0x1-0", "<b>",
)  # fmt: skip
BAD_LIMITS = ("", "0", "-1", "1001", "9" * 5000, "1.5", "ten", "٣", " 1")
BAD_ORDERS = ("", "ASC", "up", "-id", "\x00")
BAD_TIMES = (
    "", "x", "yesterday", "2026-02-31", "2026-01-01T25:00:00", "0001-01-01T00:00:00+14:00", "\x00",
    "9999-12-31T23:59:59-14:00", "1795315967", "٢٠٢٦-01-01", "9" * 5000,
)  # fmt: skip
BAD_QUERIES = [
    *[{"after": cursor} for cursor in BAD_CURSORS],
    *[{"before": cursor} for cursor in BAD_CURSORS],
    *[{"limit": limit} for limit in BAD_LIMITS],
    *[{"order": order} for order in BAD_ORDERS],
    *[{name: time} for name in ("since", "until") for time in BAD_TIMES],
    {"search": " ".join("abcdefghijklmnopqrstuvw")},
    *[{path: "x"} for path in ("data.", "data." + "a" * 201, "data", "dat.a")],
    {"event_type": ["x"] * 21},
    {"search": "a", **{f"data.{n}": "x" for n in range(21)}},
    *[{name: "x"} for name in ("event", "limits", "cursor", "<b>", "\x00", "a" * 5000)],
]


@pytest.fixture
def job(user, make_job) -> Job:
    """A job of anna with ten events; the first is job_created."""
    job = make_job(owner=user, job_id="abc")
    get_publisher().publish_events("abc", [{"event_type": "x", "n": n} for n in range(1, 10)])
    return job


@pytest.fixture
def ids(job, log) -> list[str]:
    return [str(event.id) for event in log(job)]


def history(api, **query):
    return api.get("jobs/abc/events/", query).json()


def numbers(page):
    return [event["data"].get("n", 0) for event in page["results"]]


def followed(api, page):
    parts = urlsplit(page["next"])
    return api.client.get(f"{parts.path}?{parts.query}").json()


# History


def test_history_of_a_job(api, job, ids):
    page = history(api)
    assert numbers(page) == list(range(10))
    assert [event["id"] for event in page["results"]] == ids
    assert page["next"] is None
    assert page["cursor"] == ids[-1]
    assert page["job_status"] == "pending"


def test_event_json(api, job, ids, log):
    assert history(api)["results"][3] == {
        "id": ids[3],
        "job_id": "abc",
        "event_type": "x",
        "timestamp": log(job)[3].timestamp,
        "data": {"event_type": "x", "timestamp": log(job)[3].timestamp, "n": 3},
    }


def test_after_and_before_are_exclusive(api, ids):
    assert numbers(history(api, after=ids[3])) == [4, 5, 6, 7, 8, 9]
    assert numbers(history(api, before=ids[3])) == [0, 1, 2]
    assert numbers(history(api, after=ids[3], before=ids[6])) == [4, 5]
    assert numbers(history(api, after=ids[3], before=ids[4])) == []
    assert numbers(history(api, after=ids[6], before=ids[3])) == []
    assert numbers(history(api, after=ids[2], before=ids[8], order="desc", limit=2)) == [7, 6]


def test_smallest_and_largest_cursor(api, ids):
    assert len(history(api, after="0", before=LARGEST)["results"]) == 10
    assert len(history(api, after="0-0")["results"]) == 10
    assert history(api, before="0")["results"] == []
    empty = history(api, after=LARGEST)
    assert (empty["results"], empty["cursor"], empty["next"]) == ([], LARGEST, None)


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 3, 5, 9, 10, 11])
def test_next_links_cover_the_log(api, ids, order, limit):
    page = history(api, order=order, limit=limit)
    collected = numbers(page)
    while page["next"]:
        page = followed(api, page)
        assert 1 <= len(page["results"]) <= limit
        collected += numbers(page)
    assert collected == (list(range(10)) if order == "asc" else list(range(10))[::-1])


def test_next_link_keeps_other_parameters(api, ids):
    page = history(api, after=ids[1], before=ids[6], order="desc", limit=2)
    assert numbers(page) == [5, 4]
    page = followed(api, page)
    assert numbers(page) == [3, 2]
    assert page["next"] is None


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_cursor_of_a_page(api, ids, order):
    cursor = history(api, order=order)["cursor"]
    assert numbers(history(api, after=cursor)) == []
    get_publisher().publish_event("abc", {"n": 10})
    assert numbers(history(api, after=cursor)) == [10]


def test_page_limit_setting(api, ids, settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "PAGE_LIMIT": 4}
    page = history(api)
    assert numbers(page) == [0, 1, 2, 3]
    assert numbers(followed(api, page)) == [4, 5, 6, 7]
    assert api.get("jobs/abc/events/", {"limit": "5"}).status_code == 400


def test_job_without_events(api, user):
    Job.objects.create(job_id="abc", owner=user)
    page = history(api)
    assert (page["results"], page["next"], page["cursor"]) == ([], None, "0-0")


def test_staff_reads_every_log(staff_api, ids):
    assert numbers(history(staff_api)) == list(range(10))


@pytest.mark.parametrize("path", ["jobs/abc/events/", "jobs/abc/events/export/", "events/"])
def test_event_filter_is_built_once(api, job, path, monkeypatch):
    built, of = [], EventFilter.of
    monkeypatch.setattr(export, "_MAX_PAGE_EVENTS", 4)
    monkeypatch.setattr(EventFilter, "of", lambda *args: built.append(args) or of(*args))
    response = api.client.get(f"/api/{path}", {"event_type": "x", "data.n": "3"})
    assert response.status_code == 200
    assert [conditions for conditions in built if any(conditions)] == [(["x"], "", {"n": "3"})]


# The state of the stream


def test_stream_state(api, ids):
    assert api.get("jobs/abc/stream/").json() == {
        "job_id": "abc",
        "length": 10,
        "first_id": ids[0],
        "last_id": ids[-1],
        "archive_position": None,
    }
    while Archiver().step():
        pass
    assert api.get("jobs/abc/stream/").json()["archive_position"] == ids[-1]


def test_expired_cursor(api, ids):
    while Archiver().step():
        pass
    EventLog.objects.update(truncated_before=Cursor.parse(ids[5]))
    ArchivedEvent.objects.filter(event_id__lt=ids[5]).delete()
    get_redis().delete("job_events:abc")
    response = api.get("jobs/abc/events/", {"after": ids[2]})
    assert response.status_code == 410
    assert response.json()["first"] == ids[5]
    rest = api.get("jobs/abc/events/", {"after": response.json()["after"]}).json()["results"]
    assert [event["id"] for event in rest] == ids[5:]


def test_state_of_a_missing_stream(api, user):
    Job.objects.create(job_id="abc", owner=user)
    response = api.get("jobs/abc/stream/").json()
    assert (response["length"], response["first_id"], response["last_id"]) == (0, None, None)


# Invalid requests


def test_invalid_parameters_of_the_history(api, job):
    for query in BAD_QUERIES:
        response = api.get("jobs/abc/events/", query)
        assert response.status_code == 400, query
        assert len(response.json()["detail"]) < 300
        assert next(iter(query))[:4].replace("\x00", "x00") in response_text(response)


def test_all_invalid_parameters_are_reported(api, job):
    response = api.get("jobs/abc/events/", {"limit": "0", "order": "up", "since": "x"})
    assert [error["field"] for error in response.json()["errors"]] == ["since", "order", "limit"]


def test_repeated_parameter(api, job):
    response = api.get("jobs/abc/events/", {"limit": ["1", "2"]})
    assert response.status_code == 400
    assert response.json()["detail"] == "limit: Must occur only once."


@pytest.mark.parametrize("search", [" ", "!?", "\x00", "*"])
def test_search_without_a_word_matches_no_event(api, job, search):
    assert api.get("jobs/abc/events/", {"search": search}).json()["results"] == []
    assert api.get("events/", {"search": search}).json()["results"] == []


def test_cursors_above_64_bits(api, job):
    after = api.get("jobs/abc/events/", {"after": "0-18446744073709551616"}).json()
    assert len(after["results"]) == 10
    before = api.get("jobs/abc/events/", {"before": "99999999999999999999-0"}).json()
    assert len(before["results"]) == 10


def test_invalid_cursors_of_the_stream(api, job):
    for cursor in BAD_CURSORS:
        response = api.get("jobs/abc/events/stream/", {"after": cursor})
        assert response.status_code == 400, cursor
        if cursor.strip("\n\x00"):
            header = {"last-event-id": cursor.encode().decode("latin-1")}
            assert api.get("jobs/abc/events/stream/", **header).status_code == 400, cursor


def test_unknown_parameter_of_the_stream(api, job):
    assert api.get("jobs/abc/events/stream/", {"limit": "5"}).status_code == 400


def test_stream_under_wsgi_is_501(api, job):
    response = api.get("jobs/abc/events/stream/")
    assert response.status_code == 501
    assert "ASGI" in response_text(response)


@pytest.mark.parametrize("path", ["events/", "stream/"])
def test_redis_unavailable(api, job, redis_down, path, caplog):
    response = api.get(f"jobs/abc/{path}")
    assert response.status_code == 503
    assert "Redis does not answer" in response_text(response)
    assert "/nonexistent" not in response_text(response)
    (cause,) = [record.error for record in caplog.records if record.message == "request_failed"]
    assert "/nonexistent" in cause


@pytest.mark.parametrize("path", ["events/", "stream/"])
def test_key_of_another_type(api, make_job, user, redis_client, path):
    redis_client.set("job_events:abc", "text")
    make_job(owner=user, job_id="abc")
    response = api.get(f"jobs/abc/{path}")
    assert response.status_code == 409
    assert "stream" in response_text(response)


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_methods_not_allowed(api, job, method):
    paths = {"events/", "events/stream/", "events/poll/", "stream/"}
    for path in paths - ({"events/"} if method == "post" else set()):
        assert api.send(method, f"jobs/abc/{path}").status_code == 405


# Entries of other producers


FOREIGN = [
    {"data": b"{broken", "event_type": "x"},
    {"data": b"[1, 2]"},
    {"data": b""},
    {"data": b'{"x": NaN}'},
    {"data": b'{"x": "\\ud800"}'},
    {"data": b'{"x": "\\u0000"}'},
    {"data": b"\xff\xfe\x00"},
    {"data": b"[" * 20_000},
    {"data": b'{"x":' * 600 + b"1" + b"}" * 600},
    {"data": b'{"x":\n' * 600 + b"1" + b"\r\n}" * 600},
    {"data": b'{"event_type": {"a": 1}, "timestamp": [1]}'},
    {"data": b'{"timestamp": "0001-01-01T00:00:00+14:00"}'},
    {"data": b'{"event_type": "<script>alert(1)</script>"}'},
    {"data": b'{"job_id": "other", "id": "0-0"}'},
    {"other": b"x"},
    {b"\xff": b"\xfe"},
    {"data": b'{"x": %s}' % (b"9" * 200_000)},
    {"data": b'{"x": 123456789012345678901234567890}'},
    {"data": b"x" * 1_000_000},
]


def test_malformed_entries(api, job, redis_client):
    for fields in FOREIGN:
        event_id = redis_client.xadd("job_events:abc", fields).decode()
        page = history(api, limit=1, order="desc")
        (event,) = page["results"]
        assert (event["id"], event["job_id"]) == (event_id, "abc")
        assert isinstance(event["event_type"], str)
        assert isinstance(event["data"], dict)
        assert page["cursor"] == event_id
        assert api.get("jobs/abc/stream/").json()["last_id"] == event_id


def test_explicit_entry_ids(api, user, redis_client):
    Job.objects.create(job_id="abc", owner=user)
    for event_id in (
        "0-1",
        "5-0",
        "253402300799999-0",
        "18446744073709551615-18446744073709551615",
    ):
        redis_client.xadd("job_events:abc", {"data": "{}"}, id=event_id)
    page = history(api, limit=3)
    assert [event["id"] for event in page["results"]] == ["0-1", "5-0", "253402300799999-0"]
    page = followed(api, page)
    assert [event["id"] for event in page["results"]] == [LARGEST]
    assert page["next"] is None


# Server-sent events, in this process


@asynccontextmanager
async def listening(user, query="", **headers) -> AsyncIterator[AsyncIterator[dict[str, str]]]:
    """Yield the messages of the SSE view, as dicts of their fields."""
    request = Request(path=f"{STREAM}{query}", cookie=await cookie_of(user), **headers)
    assert await request.status() == 200, request.body
    sent = dict(request.sent[0]["headers"])
    assert sent[b"Content-Type"].startswith(b"text/event-stream")
    assert b"no-store" in sent[b"Cache-Control"]
    try:
        yield messages(request)
    finally:
        await request.disconnect()


async def messages(request) -> AsyncIterator[dict[str, str]]:
    read = 0
    while True:
        received = len(request.sent)
        *complete, _ = request.body.split(b"\n\n")
        for text in map(bytes.decode, complete[read:]):
            lines = [line for line in text.split("\n") if ": " in line]
            fields = dict(line.split(": ", 1) for line in lines)
            if "data" in fields:
                yield fields
        if not request.sent[received - 1].get("more_body", True):
            return
        read = len(complete)
        await request.receive(received)


def event_number(fields):
    return fields.get("event") or json.loads(fields["data"])["data"].get("n", 0)


async def until(messages, *names):
    """Return the messages up to the first with one of these names."""
    found = []
    async for fields in messages:
        found.append(event_number(fields))
        if found[-1] in names:
            return found
    return found


async def test_stream_from_the_start(user, ids):
    async with listening(user) as stream:
        assert await until(stream, "live") == [*range(10), "live"]


async def test_stream_closes_after_send_timeout(user, ids, settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "SEND_TIMEOUT": 0.2, "KEEP_ALIVE": 0.2}
    request = Request(cookie=await cookie_of(user), max_messages=3)
    await asyncio.wait([request.task], timeout=TIMEOUT_SECONDS)
    assert request.task.done()
    assert [message["type"] for message in request.sent] == [
        "http.response.start", "http.response.body", "http.response.body",
    ]  # fmt: skip


async def test_sse_ids_are_cursors(user, ids):
    async with listening(user) as stream:
        first = await anext(stream)
        assert first["id"] == ids[0] == json.loads(first["data"])["id"]


async def test_stream_after_a_cursor(user, ids):
    async with listening(user, f"?after={ids[6]}") as stream:
        assert await until(stream, "live") == [7, 8, 9, "live"]


async def test_last_event_id_overrides_after(user, ids):
    async with listening(user, f"?after={ids[2]}", **{"last-event-id": ids[7]}) as stream:
        assert await until(stream, "live") == [8, 9, "live"]


async def test_empty_last_event_id_is_ignored(user, ids):
    async with listening(user, f"?after={ids[7]}", **{"last-event-id": ""}) as stream:
        assert await until(stream, "live") == [8, 9, "live"]


async def test_stream_ends_with_the_job(user, ids, async_redis):
    async with listening(user, f"?after={ids[9]}") as stream:
        assert await until(stream, "live") == ["live"]
        await async_redis.xadd("job_events:abc", {"data": b'{"n": 10}'})
        assert await until(stream, 10) == [10]
        await sync_to_async(services.job_cancel)(job_id="abc")
        assert await until(stream, "end") == [0, "end"]
        assert await until(stream) == []


async def test_malformed_entries_are_single_sse_messages(user, job, async_redis):
    for fields in FOREIGN:
        await async_redis.xadd("job_events:abc", fields)
    async with listening(user) as stream:
        assert len(await until(stream, "live")) == 10 + len(FOREIGN) + 1


async def test_redis_unavailable_is_an_http_error(user, job, redis_down):
    client = AsyncClient()
    await client.aforce_login(user)
    response = await client.get("/api/jobs/abc/events/stream/")
    assert response.status_code == 503
    assert "Redis does not answer" in response_text(response)


# Server-sent events, from uvicorn


@pytest.fixture
def site_job(site):
    """A pending job of anna on the real site, and a publisher to its log."""
    with site.client("anna") as client:
        job_id = client.post("/api/jobs/", json={"task_type": "manual"}).json()["job_id"]
    connection = redis.Redis.from_url(site.redis.url)
    yield job_id, SyncRedisStreamPublisher(connection)
    connection.close()


def streamed(lines):
    for line in lines:
        if line.startswith("data: {"):
            yield json.loads(line.removeprefix("data: ")).get("data", {}).get("n")


def test_reconnect_after_a_lost_connection(site, site_job):
    job_id, publisher = site_job
    publisher.publish_events(job_id, [{"n": n} for n in range(1, 6)])
    url = f"/api/jobs/{job_id}/events/stream/"
    with site.client("anna") as client:
        with client.stream("GET", url) as response:
            assert response.headers["x-accel-buffering"] == "no"
            lines = response.iter_lines()
            last = next(line for line in lines if line.startswith("id: "))
            last = next(line for line in lines if line.startswith("id: ")).removeprefix("id: ")
        publisher.publish_event(job_id, {"n": 6})
        client.post(f"/api/jobs/{job_id}/cancel/")
        with client.stream("GET", url, headers={"Last-Event-ID": last}) as response:
            text = "\n".join(response.iter_lines())
    assert [n for n in streamed(text.split("\n")) if n] == [2, 3, 4, 5, 6]
    assert text.rstrip().endswith("event: end\ndata: {}")


@pytest.mark.parametrize(
    ("user", "status"), [("bert", 404), ("anonymous", 403), ("demo", 200), ("anna", 200)]
)
def test_stream_permissions(site, site_job, user, status):
    job_id, _ = site_job
    with (
        site.client(user) as client,
        client.stream("GET", f"/api/jobs/{job_id}/events/stream/") as response,
    ):
        assert response.status_code in (status, 401 if status == 403 else status)
        if status != 200:
            response.read()
            assert " " in response_text(response)


def test_invalid_requests_on_the_real_site(site, site_job):
    job_id, _ = site_job
    with site.client("anna") as client:
        for path, status in (
            (f"jobs/{job_id}/events/stream/?after=$", 400),
            (f"jobs/{job_id}/events/stream/?after=%00", 400),
            (f"jobs/{job_id}/events/?after=%ED%A0%80", 400),
            (f"jobs/{job_id}/events/?%ED%A0%80=1", 400),
            ("jobs/%ED%A0%80/", 400),
            ("jobs/%00/", 400),
            ("jobs/xyz/events/stream/", 404),
            ("jobs/?cursor=%ED%A0%80", 400),
        ):
            response = client.get(f"/api/{path}")
            assert response.status_code == status, path
            assert " " in response_text(response)


def test_incomplete_body_on_the_real_site(site):
    with site.client("anna") as client:
        response = client.post(
            "/api/jobs/",
            content=b'{"task_type": "manual", "payload": {"x": "' + b"a" * 3_000_000,
            headers={"content-type": "application/json"},
        )
        assert response.status_code == 413
        assert " " in response_text(response)


@pytest.mark.timeout(60)
def test_site_survives_aborted_streams(site, site_job):
    job_id, publisher = site_job
    before = len(site.log_of())
    for _ in range(10):
        with (
            site.client("anna") as client,
            client.stream("GET", f"/api/jobs/{job_id}/events/stream/") as response,
        ):
            next(response.iter_lines())
            publisher.publish_event(job_id, {"n": 1})
    assert httpx.get(f"{site.url}/api/jobs/", auth=("anna", "anna")).status_code == 200
    connection = redis.Redis.from_url(site.redis.url, decode_responses=True)
    while any(
        client["cmd"] == "xread" for client in connection.client_list() if "b" in client["flags"]
    ):
        sleep(0.05)
    connection.close()
    assert "Traceback" not in site.log_of()[before:]
