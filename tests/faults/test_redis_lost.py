"""Redis loses everything, or something: the log does not."""

import random
from datetime import timedelta

import pytest

from tests.faults.loss import Viewer, World

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

WORK = ("commit", "commit_unseen", "roll_back", "publish", "stranger", "relay", "archive")
LOSSES = ("wipe", "delete_stream", "delete_state", "evict", "set_back", "snapshot", "fill", "empty")


@pytest.fixture(autouse=True)
def at_once(monkeypatch, settings):
    """The relay leaves nothing to those who have just committed; little is kept in Redis."""
    monkeypatch.setattr("events.relay._GRACE", timedelta())
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "STREAM_TAIL": 3, "KEEP_ALIVE": 0.1}


@pytest.fixture
def world(redis_client):
    world = World()
    yield world
    world.empty()


def run(world, steps, viewer=None):
    for step in steps:
        getattr(world, step)()
    world.settle()
    whole = world.check()
    world.check_pages(whole)
    if viewer is not None:
        viewer.check(whole)
    return whole


@pytest.mark.parametrize("loss", ["wipe", "delete_stream", "delete_state", "evict", "set_back"])
@pytest.mark.parametrize("place", range(0, 7, 2))
def test_each_loss_in_each_place(world, loss, place):
    """Between commit, append, archive and trim, with some of each before and after."""
    steps = ["commit", "publish", "snapshot", "commit", "publish", "archive", "commit", "publish"]
    steps += ["commit_unseen", "commit", "relay", "archive", "stranger", "commit"]
    at = 2 * place + 1
    run(world, [*steps[:at], loss, *steps[at:], loss, "commit", "publish"])


@pytest.mark.parametrize("seed", range(6))
def test_any_losses_in_any_order(world, seed):
    chance = random.Random(seed)
    steps = chance.choices([*WORK * 3, *LOSSES, "archive_late"], k=40)
    with Viewer() as viewer:
        run(world, steps, viewer)


@pytest.mark.parametrize("seed", range(6))
def test_the_clock_is_set_back_as_well(world, seed):
    """Ids of an hour ahead are in the archive, or were only in Redis."""
    chance = random.Random(seed)
    steps = chance.choices([*WORK * 3, *LOSSES, "archive_late", "from_the_future"], k=40)
    run(world, steps)
