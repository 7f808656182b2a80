"""Export of a log over HTTP, and import of the file by a command."""

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
HOSTILE = [
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
    monkeypatch.setattr(export, "_MAX_PAGE_EVENTS", 4)


def export_of(client, **query):
    response = client.get(PATH, query)
    assert response.status_code == 200, response.content
    return response, response.getvalue()


def whole_log(api):
    return api.get("jobs/abc/events/").json()["results"]


@pytest.mark.parametrize("where", ["stream", "archive", "both"])
def test_ndjson_export(api, job, where):
    if where != "stream":
        archived()
    if where == "archive":
        get_redis().flushall()
    if where == "both":
        get_publisher().publish_event("abc", {"n": 9})
    response, body = export_of(api.client)
    assert [json.loads(line) for line in body.splitlines()] == whole_log(api)
    assert response["Content-Type"] == "application/x-ndjson"
    assert response["Content-Disposition"] == 'attachment; filename="abc.ndjson"'


def test_export_with_conditions(api, job):
    events = whole_log(api)
    _, body = export_of(api.client, after=events[2]["id"], before=events[8]["id"])
    assert [json.loads(line) for line in body.splitlines()] == events[3:8]
    _, body = export_of(api.client, **{"event_type": "x", "data.n": "5"})
    assert [json.loads(line)["data"]["n"] for line in body.splitlines()] == [5]
    _, body = export_of(api.client, search="nothing")
    assert body == b""


def test_export_of_an_empty_log(api, user, make_job):
    make_job(owner=user, job_id="abc")
    get_redis().flushall()
    EventLog.objects.all().delete()
    assert export_of(api.client)[1] == b""
    assert export_of(api.client, format="csv")[1] == b"id,job_id,event_type,timestamp,data\r\n"


def test_csv_escapes_formulas(api, job):
    for text in HOSTILE:
        entry = {"data": json.dumps({"text": text}), "event_type": text, "timestamp": text}
        get_redis().xadd("job_events:abc", entry)
    response, body = export_of(api.client, format="csv")
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    rows = list(csv.reader(StringIO(body.decode(), newline="")))
    assert rows[0] == ["id", "job_id", "event_type", "timestamp", "data"]
    events = whole_log(api)
    assert len(rows) == len(events) + 1
    for row, event in zip(rows[1:], events, strict=True):
        assert row[0] == event["id"]
        assert row[2].removeprefix("'") == event["event_type"].removeprefix("'")
        assert json.loads(row[4]) == event["data"]
        assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row)


@pytest.mark.parametrize(
    "query",
    [{"format": "xml"}, {"format": ""}, {"after": "x"}, {"limit": "5"}, {"order": "desc"}],
)  # fmt: skip
def test_invalid_parameters(api, job, query):
    assert api.get("jobs/abc/events/export/", query).status_code == 400


def test_export_of_an_invisible_job(other_api, job):
    assert other_api.get("jobs/abc/events/export/").status_code == 404
    assert Client().get(PATH).status_code in (401, 403)


def test_key_of_another_type(api, job):
    get_redis().delete("job_events:abc")
    get_redis().set("job_events:abc", "x")
    assert api.get("jobs/abc/events/export/").status_code == 409


def test_export_is_not_stored(api, job):
    assert export_of(api.client)[0]["Cache-Control"] == "private, no-store"


async def test_asgi_streams_page_by_page(user, job):
    request = Request(path=PATH, cookie=await cookie_of(user))
    await request.task
    assert request.body.count(b"\n") == 10
    assert len([message for message in request.sent if message.get("body")]) == 3
    left = Request(path=PATH, cookie=await cookie_of(user), max_messages=2)
    await left.until(b"\n")
    await left.disconnect()


# Import


def run_import(body, *arguments):
    out = StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdin", type("", (), {"buffer": BytesIO(body)}))
        call_command("import_events", "-", *arguments, stdout=out)
    return out.getvalue().strip()


@pytest.fixture
def body(api, job):
    for text in HOSTILE:
        get_redis().xadd("job_events:abc", {"data": json.dumps({"text": text})})
    get_redis().xadd("job_events:abc", {"data": "broken {"})
    _, body = export_of(api.client)
    return body


def test_import_restores_lost_events(api, body):
    before = whole_log(api)
    get_redis().flushall()
    EventLog.objects.all().delete()
    assert whole_log(api) == []
    assert run_import(body) == f"{len(before)} events imported."
    assert whole_log(api) == before
    assert run_import(body) == "0 events imported."
    assert whole_log(api) == before
    assert [e["data"]["n"] for e in api.get("jobs/abc/events/", {"data.n": "5"}).json()["results"]]
    new = get_publisher().publish_event("abc", {"n": 100})
    assert [event["id"] for event in whole_log(api)] == [*(e["id"] for e in before), new]
    archived()
    assert [event["id"] for event in whole_log(api)] == [*(e["id"] for e in before), new]


def test_import_keeps_archived_events(api, body):
    archived()
    before = whole_log(api)
    assert run_import(body) == "0 events imported."
    assert whole_log(api) == before


def test_import_into_another_job(body, api):
    assert "events imported" in run_import(body, "--job", "copy")
    assert [event.data for event in read_events("copy")] == [e["data"] for e in whole_log(api)]


def test_import_continues_a_partial_import(api, body):
    get_redis().flushall()
    EventLog.objects.all().delete()
    lines = body.splitlines(keepends=True)
    assert run_import(b"".join(lines[:5])) == "5 events imported."
    assert run_import(body) == f"{len(lines) - 5} events imported."
    assert len(whole_log(api)) == len(lines)


def changed(body, **fields):
    first, *others = body.splitlines(keepends=True)
    return b"".join([json.dumps({**json.loads(first), **fields}).encode() + b"\n", *others])


def test_import_refuses_conflicting_events(body):
    archived()
    for other in (changed(body, data={"n": "other"}), changed(body, id="1-1")):
        with pytest.raises(CommandError, match="different event"):
            run_import(other)


def test_import_refuses_an_unarchived_stream(body):
    with pytest.raises(CommandError, match="not archived yet"):
        run_import(body)
    assert not ArchivedEvent.objects.exclude(event_id=None).exists()


def test_import_refuses_future_events(body):
    with pytest.raises(CommandError, match="later than the clock"):
        run_import(changed(body, id="99999999999999-0").splitlines()[0])


INVALID_TIMESTAMPS = (None, 1, "", "now", "a\0b", "2026-13-01T00:00:00Z", "0001-01-01T00:00:00Z")


def line_of(**fields):
    line = {"id": "1-1", "job_id": "a", "event_type": "x", "timestamp": "2026-01-02T03:04:05Z"}
    return json.dumps({**line, "data": {}, **fields}).encode() + b"\n"


def nested(levels):
    return {"x": nested(levels - 1)} if levels else {}


@pytest.mark.parametrize(
    "line",
    [b"x", b"1", b"{}", b"[]", b'{"id": "1-1"}', b"\xff",
     line_of(id="x"), line_of(job_id="a/b"), line_of(event_type=5), line_of(event_type=""),
     line_of(event_type="a\0b"), line_of(data=[]),
     pytest.param(line_of(data=nested(300)), id="nested"),
     *[line_of(timestamp=value) for value in INVALID_TIMESTAMPS]],
)  # fmt: skip
def test_import_refuses_invalid_lines(line, job):
    """Nothing of the file is imported, also from earlier batches."""
    good = b"".join(line_of(id=f"{n}-0", job_id="other") for n in range(1, 1500))
    with pytest.raises(CommandError, match="Line 1500 is not an exported event"):
        run_import(good + line)
    assert read_events("other") == []
    assert not EventLog.objects.filter(job_id="other").exists()


def test_import_refuses_a_file_with_an_invalid_line(job, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(line_of(job_id="other") + line_of(job_id="other", id="2-0", timestamp="now"))
    with pytest.raises(CommandError, match=r"Line 2 .* timestamp must be a date and time"):
        call_command("import_events", str(path))
    assert read_events("other") == []
    path.write_bytes(line_of(job_id="other"))
    call_command("import_events", str(path), stdout=StringIO())
    assert len(read_events("other")) == 1


def test_import_refuses_unordered_events(job):
    line = line_of(id="%d-0", job_id="other")
    for ids in ((2, 1), (1, 1), (0,)):
        with pytest.raises(CommandError, match="order"):
            run_import(b"".join(line % number for number in ids))


def test_import_of_a_missing_file():
    with pytest.raises(CommandError, match="No such file"):
        call_command("import_events", "/nowhere/file")
