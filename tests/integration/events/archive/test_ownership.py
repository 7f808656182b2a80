"""Ownership of the streams: two projects with the same Redis and prefix."""

from uuid import uuid4

import pytest
from django.core import checks
from django.core.management import CommandError, call_command

from events.archive.ownership import claim_streams
from events.checks import check_redis
from events.doctor.key_scan import find_keys
from events.exceptions import StreamsOwned
from events.history import read_events
from events.models import ArchiveIdentity
from events.processor.processor import build_steps
from events.publisher import get_publisher

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.database,
    pytest.mark.redis,
]
OWNER = "job_events::owner"


@pytest.fixture
def other_project(redis_client):
    """Another project, whose archive has claimed the streams."""
    redis_client.set(OWNER, str(uuid4()))


def test_first_archive_claims_the_streams(redis_client):
    claim_streams()
    claim_streams()
    assert redis_client.get(OWNER).decode() == str(ArchiveIdentity.objects.get().uuid)
    assert check_redis(None) == []
    assert find_keys().foreign == []


def test_processor_of_another_project_refuses_to_start(other_project):
    for options in ({}, {"once": True}):
        with pytest.raises(CommandError, match=r"belong to archive .* --take-over"):
            call_command("process_events", **options)


@pytest.mark.parametrize("is_new", [True, False])
def test_system_check(other_project, is_new):
    if not is_new:
        ArchiveIdentity.objects.create(pk=ArchiveIdentity.PK)
    (message,) = check_redis(None)
    assert (message.id, message.level) == ("job_events.E042", checks.ERROR)
    assert ArchiveIdentity.objects.exists() != is_new


def test_running_processor_stops_when_another_project_claims_the_streams(redis_client):
    """Both projects start while Redis is down or empty."""
    steps = build_steps()
    get_publisher().publish_event("abc", {"event_type": "x"})
    assert steps["archiver"]() == 1
    redis_client.set(OWNER, str(uuid4()))
    get_publisher().publish_event("abc", {"event_type": "y"})
    steps = build_steps()
    for name in ("archiver", "relay", "eraser"):
        with pytest.raises(StreamsOwned):
            steps[name]()


def test_claim_is_repeated_after_redis_lost_it(redis_client):
    claim_streams()
    redis_client.flushdb()
    build_steps()["archiver"]()
    assert redis_client.exists(OWNER)


def test_take_over(other_project, redis_client):
    get_publisher().publish_event("abc", {"event_type": "x"})
    call_command("process_events", once=True, take_over=True)
    assert check_redis(None) == []
    assert [event.event_type for event in read_events("abc")] == ["x"]
