"""A log as a file, by HTTP, and the file as a log again, by a command."""

import csv
import json
from io import BytesIO, StringIO

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from events.history import read_events
from events.models import ArchivedEvent, EventLog
from events.publisher import get_publisher
from events.streams.clients import get_redis
from events.transfer import export
from tests.integration.jobs.asgi import Request, cookie_of
from tests.integration.jobs.conftest import archived

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

PATH = "/api/jobs/abc/events/export/"
NASTY = [
    "=1+1",
    "+1",
    "-1",
    "@x",
    "\ttab",
    "\rcr",
    "a,b",
    'a"b',
    "a\r\nb",
    "ü\u2028😀",
    "",
    "=cmd|' /C",
]


@pytest.fixture
def job(user, make_job):
    job = make_job(owner=user, job_id="abc")
    get_publisher().publish_events("abc", [{"event_type": "x", "n": n} for n in range(9)])
    return job


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch):
    monkeypatch.setattr(export, "_PAGE_EVENTS", 4)


def exported(client, **query):
    answer = client.get(PATH, query)
    assert answer.status_code == 200, answer.content
    return answer, answer.getvalue()


def everything(api):
    return api.get("jobs/abc/events/").json()["results"]


@pytest.mark.parametrize("where", ["stream", "archive", "both"])
def test_the_lines_are_the_events(api, job, where):
    if where != "stream":
        archived()
    if where == "archive":
        get_redis().flushall()
    if where == "both":
        get_publisher().publish_event("abc", {"n": 9})
    answer, body = exported(api.client)
    assert [json.loads(line) for line in body.splitlines()] == everything(api)
    assert answer["Content-Type"] == "application/x-ndjson"
    assert answer["Content-Disposition"] == 'attachment; filename="abc.ndjson"'


def test_a_part_of_a_log(api, job):
    events = everything(api)
    _, body = exported(api.client, after=events[2]["id"], before=events[8]["id"])
    assert [json.loads(line) for line in body.splitlines()] == events[3:8]
    _, body = exported(api.client, **{"event_type": "x", "data.n": "5"})
    assert [json.loads(line)["data"]["n"] for line in body.splitlines()] == [5]
    _, body = exported(api.client, search="nothing")
    assert body == b""


def test_an_empty_log(api, user, make_job):
    make_job(owner=user, job_id="abc")
    get_redis().flushall()
    EventLog.objects.all().delete()
    assert exported(api.client)[1] == b""
    assert exported(api.client, format="csv")[1] == b"id,job_id,event_type,timestamp,data\r\n"


def test_csv_has_no_formulas(api, job):
    for text in NASTY:
        entry = {"data": json.dumps({"text": text}), "event_type": text, "timestamp": text}
        get_redis().xadd("job_events:abc", entry)
    answer, body = exported(api.client, format="csv")
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    rows = list(csv.reader(StringIO(body.decode(), newline="")))
    assert rows[0] == ["id", "job_id", "event_type", "timestamp", "data"]
    events = everything(api)
    assert len(rows) == len(events) + 1
    for row, event in zip(rows[1:], events, strict=True):
        assert row[0] == event["id"]
        assert row[2].removeprefix("'") == event["event_type"].removeprefix("'")
        assert json.loads(row[4]) == event["data"]
        assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row)


@pytest.mark.parametrize(
    "query",
    [{"format": "xml"}, {"format": ""}, {"after": "x"}, {"limit": "5"}, {"order": "desc"},
     {"search": "?"}],
)  # fmt: skip
def test_a_bad_parameter(api, job, query):
    assert api.get("jobs/abc/events/export/", query).status_code == 400


def test_who_may_not_see_it(other_api, job):
    assert other_api.get("jobs/abc/events/export/").status_code == 404
    assert Client().get(PATH).status_code in (401, 403)


def test_a_key_that_is_no_stream(api, job):
    get_redis().delete("job_events:abc")
    get_redis().set("job_events:abc", "x")
    assert api.get("jobs/abc/events/export/").status_code == 409


async def test_under_asgi_it_is_sent_as_it_is_read(user, job):
    request = Request(path=PATH, cookie=await cookie_of(user))
    await request.task
    assert request.body.count(b"\n") == 10
    assert len([message for message in request.sent if message.get("body")]) == 3
    left = Request(path=PATH, cookie=await cookie_of(user), takes=2)
    await left.until(b"\n")
    await left.hang_up()


# The file as a log again


def restored(body, *arguments):
    out = StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdin", type("", (), {"buffer": BytesIO(body)}))
        call_command("import_events", "-", *arguments, stdout=out)
    return out.getvalue().strip()


@pytest.fixture
def body(api, job):
    for text in NASTY:
        get_redis().xadd("job_events:abc", {"data": json.dumps({"text": text})})
    get_redis().xadd("job_events:abc", {"data": "broken {"})
    _, body = exported(api.client)
    return body


def test_what_was_lost_is_restored(api, body):
    before = everything(api)
    get_redis().flushall()
    EventLog.objects.all().delete()
    assert everything(api) == []
    assert restored(body) == f"{len(before)} events imported."
    assert everything(api) == before
    assert restored(body) == "0 events imported."
    assert everything(api) == before
    assert [e["data"]["n"] for e in api.get("jobs/abc/events/", {"data.n": "5"}).json()["results"]]
    new = get_publisher().publish_event("abc", {"n": 100})
    assert [event["id"] for event in everything(api)] == [*(e["id"] for e in before), new]
    archived()
    assert [event["id"] for event in everything(api)] == [*(e["id"] for e in before), new]


def test_what_is_archived_is_left_as_it_is(api, body):
    archived()
    before = everything(api)
    assert restored(body) == "0 events imported."
    assert everything(api) == before


def test_the_log_of_another_job(body, api):
    assert "events imported" in restored(body, "--job", "copy")
    assert [event.data for event in read_events("copy")] == [e["data"] for e in everything(api)]


def test_half_a_file_and_then_the_whole(api, body):
    get_redis().flushall()
    EventLog.objects.all().delete()
    lines = body.splitlines(keepends=True)
    assert restored(b"".join(lines[:5])) == "5 events imported."
    assert restored(body) == f"{len(lines) - 5} events imported."
    assert len(everything(api)) == len(lines)


def changed(body, **fields):
    first, *others = body.splitlines(keepends=True)
    return b"".join([json.dumps({**json.loads(first), **fields}).encode() + b"\n", *others])


def test_a_log_that_has_something_else(body):
    archived()
    for other in (changed(body, data={"n": "other"}), changed(body, id="1-1")):
        with pytest.raises(CommandError, match="different event"):
            restored(other)


def test_a_stream_that_is_not_archived(body):
    with pytest.raises(CommandError, match="not archived yet"):
        restored(body)
    assert not ArchivedEvent.objects.exclude(event_id=None).exists()


def test_an_event_of_the_future(body):
    with pytest.raises(CommandError, match="later than the clock"):
        restored(changed(body, id="99999999999999-0").splitlines()[0])


@pytest.mark.parametrize(
    "line",
    [b"x", b"1", b"{}", b"[]", b'{"id": "1-1"}', b"\xff",
     b'{"id":"x","job_id":"a","event_type":"x","timestamp":"","data":{}}',
     b'{"id":"1-1","job_id":"a/b","event_type":"x","timestamp":"","data":{}}',
     b'{"id":"1-1","job_id":"a","event_type":5,"timestamp":"","data":{}}',
     b'{"id":"1-1","job_id":"a","event_type":"x","timestamp":"","data":[]}'],
)  # fmt: skip
def test_a_line_that_is_no_event(line, job):
    good = b'{"id":"1-0","job_id":"other","event_type":"x","timestamp":"","data":{}}\n'
    with pytest.raises(CommandError, match="Line 2"):
        restored(good + line)
    assert read_events("other") == []


def test_events_that_are_not_in_order(job):
    line = b'{"id":"%d-0","job_id":"other","event_type":"x","timestamp":"","data":{}}\n'
    for ids in ((2, 1), (1, 1), (0,)):
        with pytest.raises(CommandError, match="order"):
            restored(b"".join(line % number for number in ids))


def test_a_file_that_is_not_there():
    with pytest.raises(CommandError, match="No such file"):
        call_command("import_events", "/nowhere/file")
