"""A site with a Celery worker that tests may kill and restart."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.site import started
from tests.support.workers import Workers


@pytest.fixture(scope="session")
def worker_site(session_tmp: Path) -> Iterator[Workers]:
    with started(Workers, session_tmp / "workers") as site:
        yield site


@pytest.fixture
def workers(worker_site: Workers) -> Iterator[Workers]:
    """A prefork worker; opens all gates after the test, so that no task keeps a pool child."""
    if worker_site.worker is None or worker_site.worker.poll() is not None:
        worker_site.kill_worker()
        worker_site.start_worker()
    yield worker_site
    worker_site.open(*worker_site.jobs)
    worker_site.check_spans()
