"""Where the logs of a run of tests are: some Redis, and keys in it that nobody else has."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Final

from events.conf import event_settings
from events.exceptions import RedisUnavailable
from events.streams.clients import Connections, answers, remove_keys
from events.streams.keys import Scratch
from events.testing.redis_server import throwaway_redis

URL_VARIABLE: Final = "JOB_EVENTS_TEST_REDIS_URL"
EMBEDDED: Final = "embedded"


class Space:
    """A part of a Redis; each test has a prefix of its own in it."""

    def __init__(self, url: str, scratch: Scratch) -> None:
        self.url = url
        self.connections = Connections()
        self._scratch = scratch
        self._numbers = count(1)

    def new_prefix(self) -> str:
        """What the keys of the next test begin with."""
        return self._scratch.prefix(next(self._numbers))


@contextmanager
def opened_space() -> Iterator[Space]:
    """Find a Redis, or start one; in the end the keys are removed, and no others.

    Raises RedisUnavailable, EmbeddedRedisError.
    """
    scratch = Scratch()
    with _redis() as url:
        try:
            yield Space(url, scratch)
        finally:
            remove_keys(url, scratch.pattern)


@contextmanager
def _redis() -> Iterator[str]:
    """The address of the Redis that was named for tests, of the project's, or of our own."""
    named = os.environ.get(URL_VARIABLE)
    url = named or event_settings.REDIS_URL
    if named != EMBEDDED and _answers(url):
        yield url
    elif named and named != EMBEDDED:
        raise RedisUnavailable(
            f"No Redis answers at the address that {URL_VARIABLE} has. Without it, the project's is"
            f" used, or one is started; {EMBEDDED!r} starts one in any case."
        )
    else:
        with throwaway_redis() as started:
            yield started


def _answers(url: str) -> bool:
    try:
        return answers(url)
    except ValueError:  # it is no address at all
        return False
