"""Runs single checks, against servers whose state a test changes."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from events.doctor.checks import Examination, registered_checks
from events.doctor.findings import Finding
from events.streams.clients import get_redis
from events.testing.redis_server import EmbeddedRedis


def find(name: str, **options: str) -> Finding:
    """Run one check in this thread, whatever it needs."""
    (check,) = [check for check in registered_checks() if check.name == name]
    return check.run(Examination(**options))


@pytest.fixture
def redis_config(redis_client: Any) -> Iterator[Callable[[str, object], None]]:
    """Set a directive of Redis during the test."""
    changed = {}

    def set_directive(name: str, value: object) -> None:
        changed.setdefault(name, redis_client.config_get(name)[name])
        redis_client.config_set(name, value)

    yield set_directive
    for name, value in changed.items():
        redis_client.config_set(name, value)


@pytest.fixture
def own_redis(short_tmp: Path, settings: Any) -> Iterator[EmbeddedRedis]:
    """A Redis server that the test may damage."""
    redis = EmbeddedRedis(short_tmp / "doctor-redis", save="", appendonly="no")
    redis.start()
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "REDIS_URL": redis.url}
    yield redis
    get_redis().close()
    redis.kill()
