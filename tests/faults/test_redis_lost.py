"""Redis loses all or some of its data; the log stays consistent."""

import asyncio
import random
from datetime import timedelta
from time import sleep

import pytest

from events.live import hub
from events.live.stream_reader import StreamReader
from events.live.subscriber import Subscriber
from tests.faults.loss import FollowerLoop, LogFollower, World

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

WORK = ("commit", "commit_unseen", "roll_back", "publish", "external", "relay", "archive")
LOSSES = (
    "wipe",
    "delete_stream",
    "delete_state",
    "evict",
    "restart_from_snapshot",
    "snapshot",
    "fill",
    "empty",
)


@pytest.fixture(autouse=True)
def at_once(monkeypatch, settings):
    """The relay appends at once, and streams are trimmed early."""
    monkeypatch.setattr("events.outbox.relay.MIN_AGE", timedelta())
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "STREAM_TAIL": 3, "KEEP_ALIVE": 0.1}


@pytest.fixture
def world(redis_client):
    world = World()
    yield world
    world.empty()


@pytest.mark.parametrize(
    "loss", ["wipe", "delete_stream", "delete_state", "evict", "restart_from_snapshot"]
)
@pytest.mark.parametrize("place", range(0, 7, 2))
def test_each_loss_at_each_step(world, loss, place):
    """Between commit, append, archive and trim."""
    steps = ["commit", "publish", "snapshot", "commit", "publish", "archive", "commit", "publish"]
    steps += ["commit_unseen", "commit", "relay", "archive", "external", "commit"]
    at = 2 * place + 1
    world.do(*steps[:at], loss, *steps[at:], loss, "commit", "publish")
    world.finish()


@pytest.mark.parametrize(
    "then",
    [
        ["external", "archive"],
        ["external", "archive", "commit"],
        ["external", "archive", "commit_unseen", "relay"],
        ["commit", "commit"],
        ["relay", "commit"],
        ["delete_state", "commit"],
        ["external", "delete_state", "archive", "relay"],
    ],
    ids="-".join,
)
def test_lost_entries_return_below_the_archive_position(world, then):
    """The archive is ahead of it: it is neither read nor archived there."""
    lost = ["commit", "commit", "snapshot", "evict", "external", "archive", "restart_from_snapshot"]
    world.do("commit", "publish", "archive", *lost, *then)
    world.finish()


def test_an_older_snapshot_returns_what_a_follower_was_past(world):
    """It received the log without the event: it is reset to before it."""
    with LogFollower() as follower:
        with follower.paused():
            world.commit()
            follower.wait_for(1)
            world.do("commit", "snapshot", "evict", "publish")
        while [event.event_type for event in follower.events] != ["step"]:
            sleep(0.005)
        world.do("restart_from_snapshot", "commit")
        world.finish(follower)
    assert [event.data.get("tx") for event in follower.events] == [1, 2, 4]
    assert [reset.after for reset in follower.resets] == ["0-0", "0-0"]


@pytest.mark.parametrize("seed", range(6))
def test_any_losses_in_any_order(world, seed):
    chance = random.Random(seed)
    steps = chance.choices([*WORK * 3, *LOSSES, "archive_late"], k=40)
    with LogFollower() as follower:
        world.do(*steps)
        world.finish(follower)


def hesitating(call, chance):
    """Wrap a coroutine function: it may pause before and after the call."""

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
def test_followers_that_join_during_losses(world, monkeypatch, seed):
    """They share a hub and joined at different times; every step of delivery may be delayed."""
    chance = random.Random(seed)
    for where, name in (
        (hub, "aread_events"), (hub.Hub, "_verify"), (StreamReader, "_append"),
        (StreamReader, "_check_heads"), (Subscriber, "_catch_up"),
    ):  # fmt: skip
        monkeypatch.setattr(where, name, hesitating(getattr(where, name), random.Random(seed)))
    steps = chance.choices([*WORK * 3, *LOSSES, "archive_late"], k=40)
    with FollowerLoop() as followers:
        for n, step in enumerate(steps):
            if n == 0 or chance.random() < 0.15:
                followers.add()
            world.do(step)
        whole = world.finish()
    for follower in followers.followers:
        follower.check(whole)


@pytest.mark.parametrize("seed", range(6))
def test_losses_while_the_clock_goes_back(world, seed):
    """The archive, or Redis alone, has ids of an hour ahead."""
    chance = random.Random(seed)
    steps = chance.choices([*WORK * 3, *LOSSES, "archive_late", "from_the_future"], k=40)
    world.do(*steps)
    world.finish()
