"""A Redis for a benchmark: on a unix socket of this machine, like the baseline's."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import django
from django.conf import settings

from events.embedded import EmbeddedRedis


@contextmanager
def own_redis() -> Iterator[str]:
    """The address of a Redis that is gone afterwards."""
    if not settings.configured:
        settings.configure(INSTALLED_APPS=["events"], JOB_EVENTS={})
        django.setup()
    with tempfile.TemporaryDirectory(prefix="jb") as directory:
        server = EmbeddedRedis(Path(directory), save="", appendonly="no")
        server.start()
        try:
            yield server.url
        finally:
            server.stop()
