"""RedisSpace: the address of the Redis of a test run, and key prefixes for its tests."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from secrets import token_hex
from typing import Final

from events.conf import event_settings
from events.exceptions import RedisUnavailable
from events.streams.clients import is_reachable
from events.testing.redis_server import remove_keys, throwaway_redis

URL_VARIABLE: Final = "JOB_EVENTS_TEST_REDIS_URL"
EMBEDDED: Final = "embedded"


class RedisSpace:
    """Keys with a random prefix in a Redis that may contain other keys."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._name = f"scratch_{token_hex(8)}"
        self._numbers = count(1)

    def new_prefix(self) -> str:
        """Return the key prefix of the next test."""
        return f"{self._name}_{next(self._numbers)}:"

    @property
    def pattern(self) -> str:
        """The SCAN pattern of all streams and their states."""
        return f"*{self._name}_*"


@contextmanager
def open_space() -> Iterator[RedisSpace]:
    """Find or start a Redis; remove the keys of the space at the end.

    Raises RedisUnavailable, EmbeddedRedisError.
    """
    with _redis() as url:
        space = RedisSpace(url)
        try:
            yield space
        finally:
            remove_keys(url, space.pattern)


@contextmanager
def _redis() -> Iterator[str]:
    """Return the URL of the Redis named for tests, of the project's, or of a new one."""
    named = os.environ.get(URL_VARIABLE)
    url = named or event_settings.REDIS_URL
    if named != EMBEDDED and is_reachable(url):
        yield url
    elif named and named != EMBEDDED:
        raise RedisUnavailable(
            f"No Redis responds at the URL in {URL_VARIABLE}. Without this variable the project's"
            f" Redis is used, or one is started; the value {EMBEDDED!r} always starts one."
        )
    else:
        with throwaway_redis() as started:
            yield started
