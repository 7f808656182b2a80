"""The site with real logs of each kind of producer, and a history of ordinary jobs."""

import os
import signal
import subprocess
from time import monotonic, sleep
from typing import Any

from tests.support.site import Site

QUESTION = "Should we sell home batteries in the EU?"
# An hour of jobs, oldest first: created by the services, then moved back in time; and the figures
# of its minutes. For the last ten minutes the mail server rejects invoices.
HISTORY = """
from datetime import timedelta
from random import Random
from time import sleep
from django.contrib.auth import get_user_model
from django.utils import timezone
from jobs import services
from jobs.models import Attempt, Job
from jobs.monitoring.gauges import read_gauges
from jobs.monitoring.rows import figures_from_rows, floor_time
from jobs.monitoring.samples import write_samples
TYPES = {
    "billing.send_invoice": ("Invoice {n} to Meier GmbH", 0.4, 1.5),
    "media.resize_images": ("Resize the images of album {n}", 3, 8),
    "reports.weekly": ("Weekly report of region {n}", 15, 40),
    "search.reindex": ("Index the products of shop {n}", 7, 14),
}
ERRORS = {
    "billing.send_invoice": "SMTPServerDisconnected: mail.example.org closed the connection",
    "media.resize_images": "OSError: album.zip is not an archive",
}
COUNT, STUCK = 120, 70
random = Random(7)
users = {user.username: user for user in get_user_model().objects.all()}
now, jobs = timezone.now(), {}
for n in range(COUNT):
    task_type = list(TYPES)[n % 4]
    title, least, most = TYPES[task_type]
    owner = users["anna" if n % 3 == 0 else "demo"]
    job_id = services.job_create(
        task_type=task_type, owner=owner, title=title.format(n=4100 + n)
    ).job_id
    created = now - timedelta(seconds=30 * (COUNT - n) + random.uniform(0, 20))
    started = created + timedelta(seconds=random.uniform(0.01, 0.4))
    jobs[job_id] = created, started, started + timedelta(seconds=random.uniform(least, most)), n
    if n >= COUNT - 2:
        continue
    services.job_start(job_id=job_id)
    if n == STUCK:
        continue
    services.job_progress(job_id=job_id, progress=50, message="Half is done")
    if n % 8 == 4 and n > COUNT - 24 or n in (20, 33, 65):
        services.job_fail(job_id=job_id, error=ERRORS.get(task_type, ERRORS["media.resize_images"]))
    elif n % 37 == 5:
        services.job_cancel(job_id=job_id)
    else:
        services.job_complete(job_id=job_id, result={"number": n})
sleep(2)
while Job.objects.filter(event_count=0).exists():
    sleep(0.1)
for job_id, (created, started, ended, n) in jobs.items():
    for rows in (Job.objects.filter(job_id=job_id), Attempt.objects.filter(job__job_id=job_id)):
        rows.update(created_at=created)
        rows.exclude(started_at=None).update(started_at=started)
        rows.exclude(finished_at=None).update(finished_at=min(ended, now))
    rows = Job.objects.filter(job_id=job_id)
    rows.update(first_event_at=None if n >= COUNT - 2 else started)
    rows.update(last_event_at=started if n == STUCK else min(ended, now))
end = floor_time(timezone.now(), 60)
figures = figures_from_rows(end - timedelta(minutes=60), end, 60)
gauges = read_gauges()
write_samples({at: {**values, **gauges} for at, values in figures.items()}, end)
"""


class Showcase(Site):
    """A site with a job of each kind; `jobs` are their ids by kind."""

    jobs: dict[str, str]
    worker: subprocess.Popen[bytes] | None = None

    def __init__(self, directory: Any) -> None:
        super().__init__(directory)
        self.environment["DJANGO_SETTINGS_MODULE"] = "tests.support.showcase_settings"

    def start_worker(self) -> None:
        app = ("-m", "celery", "-A", "config", "worker", "--loglevel", "INFO")
        options = ("-n", "worker-1@%h", "--concurrency", "4")
        self.worker = self._spawn("worker", *app, *options)

    def stop(self) -> None:
        if self.worker is not None:
            os.killpg(self.worker.pid, signal.SIGKILL)  # it would wait for the running job
        super().stop()

    def start(self, *, worker: bool = True) -> None:
        super().start(worker=worker)
        deadline = monotonic() + 40
        while worker and " ready." not in self.log_of("worker"):
            if monotonic() > deadline:
                raise RuntimeError(f"no worker: {self.log_of('worker')}")
            sleep(0.1)

    def add_history(self) -> None:
        """Add an hour of ordinary jobs, their figures, and an alert that fires."""
        self.manage("shell", "--verbosity", "0", "-c", HISTORY)
        deadline = monotonic() + 40
        with self.client() as client:
            while not any(
                alert["state"] == "firing"
                for alert in client.get("/api/statistics/").json()["alerts"]
            ):
                if monotonic() > deadline:
                    raise RuntimeError("no alert fires")
                sleep(0.5)

    def run_jobs(self) -> dict[str, str]:
        """Run all kinds of jobs to their end, or to where they wait; return their ids."""
        self.jobs = {
            kind: self.create(*job)
            for kind, job in {
                "completed": ("agents.market_research", QUESTION,
                              {"question": QUESTION, "denied": False}),
                "agent": ("agents.market_research", QUESTION,
                          {"question": QUESTION, "denied": True}),
                "chain": ("billing.charge_orders", "Charge the orders of 25 November", {}),
                "thread": ("ops.nightly_backup", "Nightly backup of shop-db", {}),
                "waiting": ("marketing.newsletter", "Newsletter: battery passport", {}),
                "running": ("crm.sync_contacts", "Sync of CRM contacts", {}),
                "foreign": ("media.transcode", "Transcode keynote.mov for the web", {}),
            }.items()
        }  # fmt: skip
        self.transcode(self.jobs["foreign"])
        ends = {"completed": "completed", "waiting": "running", "running": "running"}
        for kind, job_id in self.jobs.items():
            self.wait_for_status(job_id, ends.get(kind, "failed"))
        self.wait_for_question(self.jobs["waiting"])
        return self.jobs

    def create(self, task_type: str, title: str, payload: dict[str, Any]) -> str:
        body = {"task_type": task_type, "title": title, "payload": payload}
        with self.client() as client:
            response = client.post("/api/jobs/", json=body)
        response.raise_for_status()
        return str(response.json()["job_id"])

    def transcode(self, job_id: str) -> None:
        """Publish as a program of another company does: over HTTP, with its own event types."""
        with self.client() as client:

            def publish(event_type: str, seconds: float = 0, **fields: Any) -> None:
                event = {"event_type": event_type, **fields}
                response = client.post(f"/api/jobs/{job_id}/events/", json=event)
                response.raise_for_status()
                sleep(seconds)

            publish("task_started", 0.2)
            publish("media.probed", 0.3, codec="prores", width=3840, height=2160, minutes=47)
            for profile, seconds in (("720p", 0.6), ("1080p", 0.9), ("2160p", 4.8)):
                publish("encode.started", seconds, profile=profile, encoder="x265")
                publish("encode.finished", profile=profile, frames=67_680, megabytes=412)
            publish("captions.requested", 0.5, language="en", provider="captions.example.org")
            message = "captions.example.org answered 402: the monthly quota of 600 minutes is used"
            publish("captions.failed", message=message, code=402, minutes_left=0)
            publish("task_failed", error=message)

    def wait_for_status(self, job_id: str, status: str, seconds: float = 60) -> None:
        deadline = monotonic() + seconds
        with self.client() as client:
            while (job := client.get(f"/api/jobs/{job_id}/").json())["status"] != status:
                if monotonic() > deadline or job["finished_at"]:
                    raise RuntimeError(f"not {status}: {job} {self.log_of('worker')[-3000:]}")
                sleep(0.2)

    def wait_for_question(self, job_id: str) -> None:
        with self.client() as client:
            deadline = monotonic() + 30
            while not client.get(f"/api/jobs/{job_id}/inputs/").json():
                if monotonic() > deadline:
                    raise RuntimeError(f"{job_id} has no question")
                sleep(0.2)
