"""A database that is restored from a backup: docs/operations.md#back-up-and-restore."""

from datetime import timedelta
from time import sleep

import pytest
from django.db import transaction

from events.archive.archiver import Archiver
from events.archive.losses import record_breaks, skip_trimmed, trimmed_id
from events.archive.store import get_or_create_checkpoints
from events.conf import event_settings
from events.history import read_events
from events.models import ArchiveCheckpoint, ArchivedEvent, EventLog, LogGap, Processor
from events.outbox import publish_event
from events.outbox.relay import Relay
from events.processor.losses import report_losses
from events.publisher import get_publisher
from events.streams.clients import get_redis, send_command
from events.streams.commands import expire, state_fields
from events.streams.keys import StreamKeys
from events.testing.redis_server import remove_keys

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

MODELS = (EventLog, ArchiveCheckpoint, ArchivedEvent, LogGap, Processor)


def back_up():
    return [(model, list(model.objects.all())) for model in MODELS]


def restore(backup):
    for model, _ in reversed(backup):
        model.objects.all().delete()
    for model, rows in backup:
        model.objects.bulk_create(rows)


def empty_redis():
    keys = StreamKeys(event_settings.STREAM_PREFIX)
    for pattern in (keys.pattern, keys.state_pattern):
        remove_keys(event_settings.REDIS_URL, pattern)


def process():
    """Do what process_events does, until nothing is pending."""
    archiver, relay = Archiver(), Relay()
    while archiver.step() + relay.step() + report_losses(timedelta()):
        pass


def to_stream(name):
    get_publisher().publish_event("abc", {"event_type": name})


def to_outbox(name):
    with transaction.atomic():
        publish_event("abc", {"event_type": name})


def types():
    return [event.event_type for event in read_events("abc")]


@pytest.fixture(autouse=True)
def _quick_relay(monkeypatch):
    monkeypatch.setattr("events.outbox.relay.MIN_AGE", timedelta())


@pytest.fixture(params=[to_stream, to_outbox], ids=["stream-first", "outbox"])
def publish(request):
    def publish(*names):
        for name in names:
            request.param(name)
        process()

    return publish


TAILS = pytest.mark.parametrize("tail", [1000, 0])


@TAILS
def test_documented_steps(publish, settings, tail):
    """Redis is kept: streams may be trimmed beyond the checkpoints of the backup."""
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "STREAM_TAIL": tail}
    publish("one", "two")
    backup = back_up()
    publish("three", "four")
    restore(backup)
    process()
    found = ["one", "two", *(["three", "four"] if tail else ["events_lost"])]
    assert types() == found
    publish("five", "six")
    assert types() == [*found, "five", "six"]
    assert ArchivedEvent.objects.filter(event_id=None).count() == 0
    assert LogGap.objects.count() == (tail == 0)


@TAILS
def test_events_after_the_backup_come_before_the_processor(publish, settings, tail):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "STREAM_TAIL": tail}
    publish("one")
    backup = back_up()
    publish("two", "three")
    restore(backup)
    to_outbox("four")
    to_stream("five")
    process()
    found = ["two", "three"] if tail else ["events_lost"]
    assert sorted(types()) == sorted(["one", "four", "five", *found])
    assert ArchivedEvent.objects.filter(event_id=None).count() == 0


@TAILS
def test_log_that_the_backup_does_not_have(publish, settings, tail):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "STREAM_TAIL": tail}
    backup = back_up()
    publish("one", "two")
    restore(backup)
    to_outbox("three")
    process()
    assert types() == [
        *(["one", "two"] if tail else []),
        "three",
        *([] if tail else ["events_lost"]),
    ]


def test_stream_that_has_expired_since_the_backup(publish, redis_client):
    publish("one")
    backup = back_up()
    publish("two")
    (stream,) = get_or_create_checkpoints(["abc"]).values()
    assert send_command(get_redis(), expire(stream.keys, stream.position, 1))
    sleep(0.05)
    assert not redis_client.exists(stream.keys[0])
    restore(backup)
    to_outbox("three")
    process()
    assert types() == ["one", "three", "events_lost"]
    assert LogGap.objects.get().reported


def test_archiver_that_is_behind_another_one(publish, settings):
    """What another archiver has trimmed is not lost."""
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "STREAM_TAIL": 0}
    publish("one")
    behind = Archiver()
    behind.step()
    (stream,) = behind._streams.values()
    publish("two", "three")
    skip_trimmed(stream, trimmed_id(send_command(get_redis(), state_fields(stream.keys))))
    record_breaks([stream])
    behind.step()
    assert not LogGap.objects.exists()
    assert types() == ["one", "two", "three"]


@TAILS
def test_empty_redis(publish, settings, tail):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "STREAM_TAIL": tail}
    publish("one", "two")
    backup = back_up()
    publish("three", "four")
    restore(backup)
    empty_redis()
    publish("five")
    assert types() == ["one", "two", "five", "events_lost"]
    assert ArchivedEvent.objects.filter(event_id=None).count() == 0


def test_outbox_of_the_backup_is_appended():
    to_stream("one")
    process()
    with transaction.atomic():
        publish_event("abc", {"event_type": "two"})
        backup = back_up()
    process()
    restore(backup)
    empty_redis()
    process()
    assert [each for each in types() if each != "events_lost"] == ["one", "two"]
