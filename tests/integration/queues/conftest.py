"""A site with a worker of each queue, restarted when a test has killed it."""

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from tests.support.site import started
from tests.support.workers import Workers

COMMANDS = {
    "django_tasks": (
        "manage.py",
        "db_worker",
        "--interval",
        "0.1",
        "--no-startup-delay",
        "--no-reload",
    ),
    "rq": ("-m", "tests.support.rq_worker"),
}


class QueueSite(Workers):
    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.environment["DJANGO_SETTINGS_MODULE"] = "tests.support.queue_settings"
        self.workers: dict[str, subprocess.Popen[bytes]] = {}

    def finished(self, job_id: str, **expected: Any) -> dict[str, Any]:
        """Wait until the job is terminal in its row and its log; the event follows the commit."""
        row = super().finished(job_id, **expected)
        deadline = monotonic() + 30
        while self.log(job_id)[-1].get("job_status") != row["status"]:
            assert monotonic() < deadline, self.log(job_id)
            sleep(0.05)
        return row

    def need_worker(self, queue: str) -> None:
        worker = self.workers.get(queue)
        if worker is None or worker.poll() is not None:
            self.workers[queue] = self._spawn("worker", *COMMANDS[queue])

    def stop_worker(self, queue: str) -> None:
        self.stop_child(self.workers.pop(queue), signal.SIGKILL)


@pytest.fixture(scope="session")
def queue_site(session_tmp: Path) -> Iterator[QueueSite]:
    with started(QueueSite, session_tmp / "queues") as site:
        yield site


@pytest.fixture(autouse=True)
def spans(queue_site: QueueSite) -> Iterator[None]:
    yield
    queue_site.check_spans()


@pytest.fixture(params=sorted(COMMANDS))
def queue(request: pytest.FixtureRequest, queue_site: QueueSite) -> str:
    queue_site.need_worker(request.param)
    return request.param


@pytest.fixture
def db_worker(queue_site: QueueSite) -> QueueSite:
    queue_site.need_worker("django_tasks")
    return queue_site


@pytest.fixture
def rq(queue_site: QueueSite) -> QueueSite:
    queue_site.need_worker("rq")
    return queue_site
