"""A Redis for a benchmark: on a unix socket of this machine, like the baseline's."""

from collections.abc import Iterator
from contextlib import contextmanager

import django
from django.conf import settings

from events.testing.redis_server import throwaway_redis


@contextmanager
def own_redis() -> Iterator[str]:
    """The address of a Redis that is gone afterwards."""
    if not settings.configured:
        settings.configure(INSTALLED_APPS=["events"], JOB_EVENTS={})
        django.setup()
    with throwaway_redis() as url:
        yield url
