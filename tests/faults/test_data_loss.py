"""The log stays consistent when Redis loses all or some of its data."""

import asyncio
import random
from time import sleep

import pytest

from events.live import hub
from events.live.stream_reader import StreamReader
from events.live.subscriber import Subscriber
from tests.faults.loss import FollowerLoop, LogFollower

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.database,
    pytest.mark.usefixtures("fast_relay"),
]

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


@pytest.mark.parametrize(
    "loss", ["wipe", "delete_stream", "delete_state", "evict", "restart_from_snapshot"]
)
@pytest.mark.parametrize("place", range(0, 7, 2))
def test_loss_at_each_step_between_commit_and_trim(world, loss, place):
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
def test_entries_restored_below_the_archive_checkpoint(world, then):
    """They are neither read nor archived at their old ids."""
    lost = ["commit", "commit", "snapshot", "evict", "external", "archive", "restart_from_snapshot"]
    world.do("commit", "publish", "archive", *lost, *then)
    world.finish()


def test_follower_is_reset_before_an_event_restored_by_a_snapshot(world):
    """The follower had received the log without this event."""
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


@pytest.mark.extended
@pytest.mark.parametrize("seed", range(6))
def test_random_losses(world, seed):
    rng = random.Random(seed)
    steps = rng.choices([*WORK * 3, *LOSSES, "archive_late"], k=40)
    with LogFollower() as follower:
        world.do(*steps)
        world.finish(follower)


def with_random_pauses(call, rng):
    """Wrap a coroutine function: pause randomly before and after the call."""

    async def pause():
        if rng.random() < 0.5:
            await asyncio.sleep(rng.random() * 0.03)

    async def paused_call(*args, **kwargs):
        await pause()
        result = await call(*args, **kwargs)
        await pause()
        return result

    return paused_call


@pytest.mark.extended
@pytest.mark.parametrize("seed", range(12))
def test_followers_joining_during_losses(world, monkeypatch, seed):
    """They share a hub and join at different times. Each step of delivery may be delayed."""
    rng = random.Random(seed)
    for where, name in (
        (hub, "aread_events"), (hub.Hub, "_verify"), (StreamReader, "_append"),
        (StreamReader, "_check_heads"), (Subscriber, "_catch_up"),
    ):  # fmt: skip
        monkeypatch.setattr(
            where, name, with_random_pauses(getattr(where, name), random.Random(seed))
        )
    steps = rng.choices([*WORK * 3, *LOSSES, "archive_late"], k=40)
    with FollowerLoop() as followers:
        for n, step in enumerate(steps):
            if n == 0 or rng.random() < 0.15:
                followers.add()
            world.do(step)
        whole = world.finish()
    for follower in followers.followers:
        follower.check(whole)


@pytest.mark.parametrize("seed", range(6))
def test_losses_with_ids_ahead_of_the_clock(world, seed):
    """The archive, or only Redis, has ids that are an hour ahead."""
    rng = random.Random(seed)
    steps = rng.choices([*WORK * 3, *LOSSES, "archive_late", "from_the_future"], k=40)
    world.do(*steps)
    world.finish()
