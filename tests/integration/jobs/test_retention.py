"""Retention deletes old events by the setting RETENTION; readers get CursorExpired."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from events.archive import retention
from events.archive.archiver import Archiver
from events.exceptions import CursorExpired
from events.history import read_events
from events.models import ArchivedEvent, EventLog
from events.publisher import get_publisher
from events.streams.clients import get_redis
from jobs.models import Job
from tests.integration.jobs.asgi import Request, cookie_of
from tests.integration.jobs.conftest import archived

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

DAY = 24 * 60 * 60 * 1000


@pytest.fixture
def logs(user, make_job):
    """Jobs of two types and a log without a job, each with one event per day for ten days."""
    now = int(timezone.now().timestamp() * 1000)
    for job_id in ("one", "two", "none"):
        for days in range(10, 0, -1):
            entry = {"data": f'{{"event_type": "x", "days": {days}}}'}
            get_redis().xadd(f"job_events:{job_id}", entry, id=f"{now - days * DAY}-0")
    archived()
    for job_id in ("one", "two"):
        Job.objects.create(owner=user, job_id=job_id, task_type=f"type_{job_id}")


@pytest.fixture
def keep(settings):
    def keep(**rules):
        rules = {name.replace("others", "*"): rule for name, rule in rules.items()}
        settings.JOB_EVENTS = {**settings.JOB_EVENTS, "RETENTION": rules}

    return keep


def prune(*arguments):
    out = StringIO()
    call_command("prune_events", *arguments, stdout=out)
    return out.getvalue().splitlines()


def days(job_id):
    return [event.data["days"] for event in read_events(job_id)]


def remaining():
    return {job_id: len(days(job_id)) for job_id in ("one", "two", "none")}


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({"others": {"days": 5.5}}, (5, 5, 5)),
        ({"others": {"events": 3}}, (3, 3, 3)),
        ({"others": {"days": 5.5, "events": 3}}, (3, 3, 3)),
        ({"others": {"days": 2.5, "events": 3}}, (2, 2, 2)),
        ({"type_one": {"events": 3}}, (3, 10, 10)),
        ({"type_one": {"events": 3}, "others": {"events": 6}}, (3, 6, 6)),
        ({"others": {"days": 100, "events": 100}}, (10, 10, 10)),
        ({"others": {"days": 0.5}}, (0, 0, 0)),
    ],
)
def test_rules(logs, keep, rules, expected):
    keep(**rules)
    before = remaining()
    planned = prune("--dry-run")
    assert remaining() == before
    assert planned[-1].endswith("would be removed.")
    removed = prune()
    assert tuple(remaining().values()) == expected
    assert removed[-1].split(" of ")[0] == f"Total: {30 - sum(expected)} events"
    assert [line.replace("removed", "would be removed") for line in removed] == planned
    assert prune() == ["Total: 0 events of 0 logs removed."]
    assert days("one") == list(range(expected[0], 0, -1))
    assert ArchivedEvent.objects.count() == sum(expected)


def test_cursor_before_deleted_events_is_expired(api, logs, keep):
    events = read_events("one")
    keep(type_one={"events": 3})
    prune()
    with pytest.raises(CursorExpired) as expired:
        read_events("one", after=events[2].id)
    assert expired.value.truncated_before == str(events[6].cursor.next())
    assert [event.id for event in read_events("one", after=expired.value.after)] == [
        event.id for event in events[7:]
    ]
    response = api.get("jobs/one/events/", {"after": events[2].id})
    assert (response.status_code, response.json()["first"]) == (410, expired.value.truncated_before)
    assert api.get("jobs/one/events/", {"after": events[6].id}).status_code == 200
    assert api.get("jobs/one/events/export/", {"after": events[2].id}).status_code == 410
    assert api.get("jobs/one/stream/").json()["first_id"] == events[7].id


async def test_subscriber_before_deleted_events_is_reset(user, logs, keep, asgi_prune):
    events = await asgi_prune()
    path = f"/api/jobs/one/events/stream/?after={events[2].id}"
    request = Request(path=path, cookie=await cookie_of(user))
    await request.until(b"event: live")
    await request.disconnect()
    assert b"event: reset" in request.body
    assert request.body.count(b"\nid: ") == 3


@pytest.fixture
def asgi_prune(keep):
    from asgiref.sync import sync_to_async

    def work():
        events = read_events("one")
        keep(type_one={"events": 3})
        prune()
        return events

    return sync_to_async(work)


def test_log_truncated_during_a_read(logs, keep, monkeypatch):
    """The log is truncated between two pages, and between the queries of a page."""
    events = read_events("one")
    assert len(read_events("one", after=events[0].id, limit=2)) == 2
    archived_log = retention.archived_log

    def truncate_meanwhile(job_id):
        log = archived_log(job_id)
        EventLog.objects.filter(job_id="one").update(truncated_before=events[8].id)
        ArchivedEvent.objects.filter(event_id__lt=events[8].cursor, log__job_id="one").delete()
        return log

    monkeypatch.setattr("events.history.reader.archived_log", truncate_meanwhile)
    with pytest.raises(CursorExpired):
        read_events("one", after=events[0].id, limit=2)


def test_events_are_deleted_in_batches(logs):
    log = EventLog.objects.get(job_id="one")
    events = read_events("one")
    assert retention.delete_before(log.pk, events[8].cursor, batch=3) == 3
    log.refresh_from_db()
    assert log.truncated_before == events[2].cursor.next()
    assert days("one") == list(range(7, 0, -1))
    deleted = [retention.delete_before(log.pk, events[8].cursor, batch=3) for _ in range(3)]
    assert deleted == [3, 2, 0]


def test_unarchived_events_are_kept(logs, keep):
    keep(others={"events": 1})
    get_publisher().publish_event("one", {"days": 0})
    prune()
    assert days("one") == [1, 0]
    archived()
    prune()
    assert days("one") == [0]


def test_stream_of_a_truncated_log_is_trimmed(logs, keep, settings):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "STREAM_TAIL": 200}
    for _ in range(5):
        get_publisher().publish_events("one", [{"days": 0}] * 100)
    archived()
    keep(type_one={"events": 50})
    prune()
    get_publisher().publish_events("one", [{"days": 0}] * 100)
    for _ in range(3):
        Archiver().step()
    archived()
    assert get_redis().xlen("job_events:one") < 400
    assert len(read_events("one")) == 150


def test_deleted_events_do_not_return_from_a_rewound_redis(logs, keep):
    """The stream still has entries that retention deleted from the archive."""
    keep(type_one={"events": 3})
    prune()
    events = get_redis().xrange("job_events:one")
    get_redis().delete("job_events:one")
    for event_id, fields in events[:-1]:  # the stream of a day before
        get_redis().xadd("job_events:one", fields, id=event_id)
    archived()
    for _ in range(3):
        Archiver().step()
    assert days("one") == [3, 2, 1]


def test_without_rules_everything_is_kept():
    with pytest.raises(CommandError, match="everything is kept"):
        prune()
