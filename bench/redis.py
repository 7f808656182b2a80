"""Redis for a benchmark, on a unix socket. The baseline uses the same server."""

from collections.abc import Iterator
from contextlib import contextmanager

import django
from django.conf import settings

from events.testing.redis_server import throwaway_redis


@contextmanager
def temporary_redis() -> Iterator[str]:
    """Yield the URL of a Redis that is stopped afterwards."""
    if not settings.configured:
        settings.configure(INSTALLED_APPS=["events"], JOB_EVENTS={})
        django.setup()
    with throwaway_redis() as url:
        yield url
