"""A database that is restored from a backup: docs/operations.md#back-up-and-restore."""

from datetime import timedelta

import pytest
from django.db import transaction

from events.archive.archiver import Archiver
from events.conf import event_settings
from events.history import read_events
from events.models import ArchiveCheckpoint, ArchivedEvent, EventLog, LogGap, Processor
from events.outbox import publish_event
from events.outbox.relay import Relay
from events.processor.losses import report_losses
from events.publisher import get_publisher
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


@pytest.mark.parametrize("tail", [1000, 0])
def test_documented_steps(publish, settings, tail):
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "STREAM_TAIL": tail}
    publish("one", "two")
    backup = back_up()
    publish("three", "four")
    restore(backup)
    process()  # archives what the streams have
    recovered = ["three", "four"] if tail else []
    assert types() == ["one", "two", *recovered]
    empty_redis()
    publish("five")
    assert types() == ["one", "two", *recovered, "five", "events_lost"]
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
