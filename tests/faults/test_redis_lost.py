"""Redis loses everything, or something: the log does not."""

import asyncio
import random
from datetime import timedelta

import pytest

from events.live import continuity, hub, subscriber
from events.live.stream_reader import Reader
from tests.faults.loss import Gallery, Viewer, World

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

WORK = ("commit", "commit_unseen", "roll_back", "publish", "stranger", "relay", "archive")
LOSSES = ("wipe", "delete_stream", "delete_state", "evict", "set_back", "snapshot", "fill", "empty")


@pytest.fixture(autouse=True)
def at_once(monkeypatch, settings):
    """The relay leaves nothing to those who have just committed; little is kept in Redis."""
    monkeypatch.setattr("events.outbox.relay.MIN_AGE", timedelta())
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "STREAM_TAIL": 3, "KEEP_ALIVE": 0.1}


@pytest.fixture
def world(redis_client):
    world = World()
    yield world
    world.empty()


@pytest.mark.parametrize("loss", ["wipe", "delete_stream", "delete_state", "evict", "set_back"])
@pytest.mark.parametrize("place", range(0, 7, 2))
def test_each_loss_in_each_place(world, loss, place):
    """Between commit, append, archive and trim, with some of each before and after."""
    steps = ["commit", "publish", "snapshot", "commit", "publish", "archive", "commit", "publish"]
    steps += ["commit_unseen", "commit", "relay", "archive", "stranger", "commit"]
    at = 2 * place + 1
    world.do(*steps[:at], loss, *steps[at:], loss, "commit", "publish")
    world.finish()


@pytest.mark.parametrize(
    "then",
    [
        ["stranger", "archive"],
        ["stranger", "archive", "commit"],
        ["stranger", "archive", "commit_unseen", "relay"],
        ["commit", "commit"],
        ["relay", "commit"],
        ["delete_state", "commit"],
        ["stranger", "delete_state", "archive", "relay"],
    ],
    ids="-".join,
)
def test_what_was_lost_comes_back_behind_the_archive(world, then):
    """The archive had gone on without it: there it is read by nobody, and archived by nobody."""
    lost = ["commit", "commit", "snapshot", "evict", "stranger", "archive", "set_back"]
    world.do("commit", "publish", "archive", *lost, *then)
    world.finish()


def test_a_viewer_was_past_what_comes_back(world):
    """It saw the log without the event, and is told where it was another."""
    with Viewer() as viewer:
        with viewer.asleep():
            world.commit()
            viewer.wait_for(1)
            world.do("commit", "snapshot", "evict", "publish")
        viewer.wait_for(2)
        assert [event.event_type for event in viewer.events] == ["tx", "step"]
        world.do("set_back", "commit")
        world.finish(viewer)
    assert [reset.after for reset in viewer.resets] == [viewer.events[0].id]


@pytest.mark.parametrize("seed", range(6))
def test_any_losses_in_any_order(world, seed):
    chance = random.Random(seed)
    steps = chance.choices([*WORK * 3, *LOSSES, "archive_late"], k=40)
    with Viewer() as viewer:
        world.do(*steps)
        world.finish(viewer)


def hesitating(call, chance):
    """As the call, with a pause before or after it, in which something else may happen."""

    async def pause():
        if chance.random() < 0.5:
            await asyncio.sleep(chance.random() * 0.03)

    async def hesitating_call(*args, **kwargs):
        await pause()
        answer = await call(*args, **kwargs)
        await pause()
        return answer

    return hesitating_call


@pytest.mark.parametrize("seed", range(12))
def test_viewers_come_while_things_are_lost(world, monkeypatch, seed):
    """They share what is read, and each has its own past: what one was given, another was not."""
    chance = random.Random(seed)
    for where, name in (
        (hub, "aread_events"), (continuity, "aread_events"), (Reader, "_deliver"),
        (subscriber.Subscriber, "_catch_up"),
    ):  # fmt: skip
        monkeypatch.setattr(where, name, hesitating(getattr(where, name), random.Random(seed)))
    steps = chance.choices([*WORK * 3, *LOSSES, "archive_late"], k=40)
    with Gallery() as gallery:
        for n, step in enumerate(steps):
            if n == 0 or chance.random() < 0.15:
                gallery.enter()
            world.do(step)
        whole = world.finish()
    for visitor in gallery.viewers:
        visitor.check(whole)


@pytest.mark.parametrize("seed", range(6))
def test_the_clock_is_set_back_as_well(world, seed):
    """Ids of an hour ahead are in the archive, or were only in Redis."""
    chance = random.Random(seed)
    steps = chance.choices([*WORK * 3, *LOSSES, "archive_late", "from_the_future"], k=40)
    world.do(*steps)
    world.finish()
