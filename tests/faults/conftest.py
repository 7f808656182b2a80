"""Fixtures of the fault tests."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from events.streams import scripts
from events.streams.clients import get_redis
from events.testing.redis_server import EmbeddedRedis, socket_path
from tests.faults.proxy import Proxy, proxied

pytest.register_assert_rewrite("tests.faults.loss", "tests.faults.clients")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all but extended tests, which have the marker themselves if they depend on Redis."""
    for item in items:
        is_extended = item.get_closest_marker("extended") is not None
        if item.path.is_relative_to(Path(__file__).parent) and not is_extended:
            item.add_marker("redis")


@pytest.fixture
def world(redis_client: redis.Redis) -> Iterator[Any]:
    """The log of one job, with the steps of `tests.faults.loss`."""
    from tests.faults.loss import World  # after its assertions are rewritten

    world = World()
    yield world
    world.empty()


@pytest.fixture
def fast_relay(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    """The relay appends without delay, and streams are trimmed early."""
    monkeypatch.setattr("events.outbox.relay.MIN_AGE", timedelta())
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "STREAM_TAIL": 3, "KEEP_ALIVE": 0.1}


@pytest.fixture
def proxy(redis_server: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy in front of the Redis of this run, with short retry delays."""
    monkeypatch.setattr("events.streams.retry.RETRY_DELAYS_SECONDS", (0.002, 0.005, 0.01, 0.0))
    for script in vars(scripts).values():  # otherwise the first call of a script takes two commands
        if isinstance(script, scripts.Script):
            get_redis().script_load(script.source)
    with proxied(socket_path(redis_server.directory)) as proxy:
        yield proxy
