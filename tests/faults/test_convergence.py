"""After Redis loses events, all readers converge to the log that history returns."""

import random
from datetime import timedelta
from time import sleep

import pytest
from django.contrib.auth import get_user_model

from events.publisher import RedisStreamPublisher
from events.streams.clients import get_async_redis
from jobs.models import Job
from tests.faults.loss import JOB
from tests.faults.readers import KINDS, ReaderGroup

pytestmark = [
    pytest.mark.django_db(transaction=True), pytest.mark.database, pytest.mark.redis,
    pytest.mark.extended,
]  # fmt: skip

LOSSES = ("wipe", "delete_stream", "evict", "restart_from_snapshot")
WORK = ("commit", "commit_unseen", "publish", "external", "publish_async")


@pytest.fixture(autouse=True)
def fast(monkeypatch, settings):
    monkeypatch.setattr("events.outbox.relay.MIN_AGE", timedelta())
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "STREAM_TAIL": 3, "KEEP_ALIVE": 0.2}


@pytest.fixture
def user(db):
    user = get_user_model().objects.create_superuser("anna")
    Job.objects.create(job_id=JOB, owner=user, status=Job.Status.RUNNING)
    return user


def work(world, group, rng, count):
    for step in rng.choices(WORK, k=count):
        if step == "publish_async":
            number = world.next()
            group.do(lambda number=number: publish(number))
        else:
            world.do(step)
        sleep(rng.choice([0, 0, 0.01]))


async def publish(number):
    publisher = RedisStreamPublisher(get_async_redis())
    await publisher.publish_event(JOB, {"event_type": "step", "n": number})


@pytest.mark.parametrize("losses", [("wipe",) * 4, *[LOSSES] * 3], ids=["wiped", "a", "b", "c"])
def test_readers_converge_after_losses(world, user, losses, request):
    """30 readers and four losses. Some readers connect, disconnect and resume meanwhile."""
    rng = random.Random(request.node.name)
    kinds = list(KINDS)
    with ReaderGroup(user, seed=1) as group:
        for number in range(16):
            group.add(kinds[number % 4])
        for loss in rng.sample(losses, len(losses)):
            work(world, group, rng, 5)
            world.do(*rng.choice([(), ("archive",), ("relay",)]), "snapshot")
            work(world, group, rng, 5)
            for number in range(4):
                group.add(kinds[number])
            sleep(rng.choice([0, 0.3]))
            world.do(loss)
            work(world, group, rng, rng.choice([0, 3]))
        group.check(world.finish())
    assert len(group.readers) > 30


@pytest.mark.parametrize("loss", LOSSES)
def test_readers_converge_without_events_after_the_loss(world, user, loss):
    """XREAD returns nothing after the loss."""
    with ReaderGroup(user, seed=2) as group:
        world.do("commit", "archive", "snapshot")
        for kind in KINDS:
            group.add(kind)
        world.do("publish", "publish")
        group.check(world.check())
        world.do(loss)
        whole = world.check()
        assert len(whole) == 1
        group.check(whole)
    # A waiting long-poll is reset with its next request.
    assert all(reader.resets == 1 for reader in group.readers)
