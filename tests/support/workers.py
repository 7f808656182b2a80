"""A site with Celery workers that tests start and kill."""

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import httpx
import redis

from tests.support.site import ROOT, Site
from tests.support.spans import ended_spans

TERMINAL_STATUSES = {"completed", "failed", "cancelled"}
TERMINAL_TYPES = {"task_completed", "task_failed", "job_cancelled", "task_revoked"}

# anna chooses the ids of her jobs.
PERMISSION_SCRIPT = """
from django.contrib.auth.models import Permission, User
anna = User.objects.get(username="anna")
anna.user_permissions.add(Permission.objects.get(codename="add_job"))
"""


class Workers(Site):
    """A site with the tasks of `tests.support.worker_tasks`."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.environment["DJANGO_SETTINGS_MODULE"] = "tests.support.worker_settings"
        self.worker: subprocess.Popen[bytes] | None = None
        self.api: httpx.Client | None = None
        self.jobs: list[str] = []

    def start(self, *, worker: bool = False) -> None:
        super().start(worker=worker)
        self.manage("shell", "--verbosity", "0", "-c", PERMISSION_SCRIPT)
        self.api = self.client("anna")

    def stop(self) -> None:
        if self.api is not None:
            self.api.close()
        super().stop()

    def start_worker(self, pool: str = "prefork", name: str = "celery") -> None:
        """Start a worker and wait until it accepts tasks."""
        options = ("-n", f"{name}@%h", "-c", "2", "--pool", pool, "--loglevel", "INFO")
        before = len(self.log_of("worker")) if (self.directory / "worker.log").exists() else 0
        app = ("-m", "celery", "-A", "tests.support.worker_app", "worker")
        self.worker = self._spawn("worker", *app, *options)
        deadline = monotonic() + 40
        while " ready." not in self.log_of("worker")[before:]:
            if self.worker.poll() is not None or monotonic() > deadline:
                raise RuntimeError(f"no worker: {self.worker_log()}")
            sleep(0.05)

    def kill_worker(self, worker: subprocess.Popen[bytes] | None = None) -> None:
        """Kill a worker and all of its children, like the loss of a machine."""
        worker = worker or self.worker
        if worker is not None:
            with suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
            self._children.remove(worker)
        if worker is self.worker:
            self.worker = None

    def redis_client(self) -> redis.Redis:
        return redis.Redis.from_url(self.redis.url)

    def job(self, task_type: str, *kill_points: str, **payload: Any) -> str:
        """Start a job; `kill_points` are the points at which a process is killed."""
        job_id = f"{task_type}-{os.urandom(6).hex()}"
        if kill_points:
            with self.redis_client() as client:
                client.rpush(f"kill:{job_id}", *kill_points)
        body = {"task_type": task_type, "payload": payload, "job_id": job_id}
        self.jobs.append(job_id)
        response = self._api.post("/api/jobs/", json=body)
        assert response.status_code == 201, response.text
        return job_id

    def open(self, *job_ids: str) -> None:
        """Open the gates of jobs."""
        with self.redis_client() as client:
            for job_id in job_ids:
                client.set(f"open:{job_id}", "1")

    def row(self, job_id: str) -> dict[str, Any]:
        return dict(self._api.get(f"/api/jobs/{job_id}/").json())

    def post(self, job_id: str, action: str, **body: Any) -> httpx.Response:
        return self._api.post(f"/api/jobs/{job_id}/{action}/", json=body)

    def delete(self, job_id: str) -> httpx.Response:
        return self._api.delete(f"/api/jobs/{job_id}/")

    def log(self, job_id: str) -> list[dict[str, Any]]:
        """Return the event dicts of a job's log."""
        page = self._api.get(f"/api/jobs/{job_id}/events/", params={"limit": 1000})
        results = page.json()["results"]
        return [event["data"] for event in results]

    def check_spans(self) -> None:
        """Forget the jobs; check that each delivery of a task of a finished one is a span."""
        jobs, self.jobs[:] = list(self.jobs), []
        for job_id in jobs:
            if self.row(job_id).get("finished_at"):  # it may be deleted
                log = self.log(job_id)
                ended_spans(e for e in log if e["event_type"].startswith(("task_", "job_")))

    def finished(
        self, job_id: str, *, seconds: float = 40, attempt: int = 1, until: str = ""
    ) -> dict[str, Any]:
        """Wait until the job is terminal (or has status `until`) at an attempt; return its row.

        Waits for the log, too: the event is appended shortly after the commit of the row.
        """
        deadline = monotonic() + seconds
        row = self.until_row(
            job_id, *([until] if until else TERMINAL_STATUSES), attempt=attempt, seconds=seconds
        )
        while (row["attempt"], row["status"]) not in self._logged_statuses(job_id):
            assert monotonic() < deadline, (row, self.log(job_id), self.worker_log())
            sleep(0.05)
        return row

    def until_row(
        self, job_id: str, *statuses: str, attempt: int = 1, seconds: float = 40
    ) -> dict[str, Any]:
        """Wait until the row has one of some statuses; return the row."""
        deadline = monotonic() + seconds
        while True:
            row = self.row(job_id)
            if row["status"] in statuses and row["attempt"] >= attempt:
                return row
            assert monotonic() < deadline, (row, self.log(job_id), self.worker_log())
            sleep(0.1)

    def _logged_statuses(self, job_id: str) -> set[tuple[int | None, str | None]]:
        return {(event.get("attempt"), event.get("job_status")) for event in self.log(job_id)}

    def until(self, job_id: str, event_type: str, count: int = 1, seconds: float = 30) -> dict:
        """Wait for `count` events of a type; return the last of them."""
        deadline = monotonic() + seconds
        while True:
            found = [event for event in self.log(job_id) if event["event_type"] == event_type]
            if len(found) >= count:
                return found[count - 1]
            assert monotonic() < deadline, (self.log(job_id), self.worker_log())
            sleep(0.05)

    def until_log(self, *texts: str, seconds: float = 40) -> None:
        """Wait until the worker has logged a line that contains all texts."""
        deadline = monotonic() + seconds
        while not any(
            all(text in line for text in texts) for line in self.log_of("worker").splitlines()
        ):
            assert monotonic() < deadline, (texts, self.worker_log())
            sleep(0.1)

    def celery(self, code: str) -> None:
        """Run a line of Python with the Celery app as `app`."""
        script = f"from tests.support.worker_app import app; {code}"
        command = [sys.executable, "-c", script]
        subprocess.run(command, cwd=ROOT, env=self.environment, check=True, timeout=60)

    def external_id_of(self, job_id: str) -> str:
        """Return Celery's id of the only task of a job from the worker's log."""
        self.until_log(" received ", job_id)
        log = self.log_of("worker")
        return re.findall(rf"'id': '([0-9a-f-]+)'[^\n]*{job_id}", log)[0]

    def worker_log(self) -> str:
        return self.log_of("worker")[-3000:]

    @property
    def _api(self) -> httpx.Client:
        if self.api is None:
            raise RuntimeError("the site is not running")
        return self.api


def kinds(log: list[dict[str, Any]]) -> list[str]:
    return [event["event_type"] for event in log]


def ends(log: list[dict[str, Any]]) -> list[tuple[int, str]]:
    """Return (attempt, event type) of the terminal events, without those of single steps."""
    statuses = {"completed", "failed", "cancelled"}
    return [
        (event["attempt"], event["event_type"])
        for event in log
        if event["event_type"] in TERMINAL_TYPES
        and (event["job_status"] in statuses or event.get("reason") == "worker_lost")
    ]
