"""The part of a Redis that a test run uses: its address and key names that no one else uses."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from secrets import token_hex
from typing import Final

from events.conf import event_settings
from events.exceptions import RedisUnavailable
from events.streams.clients import RedisClients, is_reachable
from events.testing.redis_server import remove_keys, throwaway_redis

URL_VARIABLE: Final = "JOB_EVENTS_TEST_REDIS_URL"
EMBEDDED: Final = "embedded"


class Space:
    """Keys under a random name in a Redis that others may use; each test has its own prefix."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.clients = RedisClients()
        self._name = f"scratch_{token_hex(8)}"
        self._numbers = count(1)

    def new_prefix(self) -> str:
        """Return the prefix of the next test's keys."""
        return f"{self._name}_{next(self._numbers)}:"

    @property
    def pattern(self) -> str:
        """The SCAN pattern of all streams and their states."""
        return f"*{self._name}_*"


@contextmanager
def opened_space() -> Iterator[Space]:
    """Find or start a Redis; remove the space's keys at the end, and no others.

    Raises RedisUnavailable, EmbeddedRedisError.
    """
    with _redis() as url:
        space = Space(url)
        try:
            yield space
        finally:
            remove_keys(url, space.pattern)


@contextmanager
def _redis() -> Iterator[str]:
    """Return the address of the Redis named for tests, the project's, or a new one."""
    named = os.environ.get(URL_VARIABLE)
    url = named or event_settings.REDIS_URL
    if named != EMBEDDED and is_reachable(url):
        yield url
    elif named and named != EMBEDDED:
        raise RedisUnavailable(
            f"No Redis answers at the address that {URL_VARIABLE} has. Without it, the project's is"
            f" used, or one is started; {EMBEDDED!r} starts one in any case."
        )
    else:
        with throwaway_redis() as started:
            yield started
