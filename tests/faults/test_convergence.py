"""After Redis lost events, every reader of every kind has the log that history returns."""

import random
from datetime import timedelta
from time import sleep

import pytest
from django.contrib.auth import get_user_model

from events.publisher import RedisStreamPublisher
from events.streams.clients import get_async_redis
from jobs.models import Job
from tests.faults.loss import JOB, World
from tests.faults.readers import KINDS, Audience

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

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


@pytest.fixture
def world(redis_client):
    world = World()
    yield world
    world.empty()


def work(world, audience, chance, count):
    for step in chance.choices(WORK, k=count):
        if step == "publish_async":
            number = world.next()
            audience.do(lambda number=number: publish(number))
        else:
            world.do(step)
        sleep(chance.choice([0, 0, 0.01]))


async def publish(number):
    publisher = RedisStreamPublisher(get_async_redis())
    await publisher.publish_event(JOB, {"event_type": "step", "n": number})


@pytest.mark.parametrize("losses", [("wipe",) * 4, *[LOSSES] * 3], ids=["wiped", "a", "b", "c"])
def test_readers_converge_after_losses(world, user, losses, request):
    """30 readers over four losses; some connect, disconnect and resume meanwhile."""
    chance = random.Random(request.node.name)
    kinds = list(KINDS)
    with Audience(user, seed=1) as audience:
        for number in range(16):
            audience.add(kinds[number % 4])
        for loss in chance.sample(losses, len(losses)):
            work(world, audience, chance, 5)
            world.do(*chance.choice([(), ("archive",), ("relay",)]), "snapshot")
            work(world, audience, chance, 5)
            for number in range(4):
                audience.add(kinds[number])
            sleep(chance.choice([0, 0.3]))
            world.do(loss)
            work(world, audience, chance, chance.choice([0, 3]))
        audience.check(world.finish())
    assert len(audience.readers) > 30


@pytest.mark.parametrize("loss", LOSSES)
def test_a_loss_without_later_events(world, user, loss):
    """Nothing is appended after the loss: XREAD returns nothing, and the readers converge."""
    with Audience(user, seed=2) as audience:
        world.do("commit", "archive", "snapshot")
        for kind in KINDS:
            audience.add(kind)
        world.do("publish", "publish")
        audience.check(world.check())
        world.do(loss)
        whole = world.check()
        assert len(whole) == 1
        audience.check(whole)
    # A poll that waits learns of the loss with its next request.
    assert all(reader.resets == 1 for reader in audience.readers)
