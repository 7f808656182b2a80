"""Rows follow logs: workers publish, the archiver applies the projection."""

import os
import random
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import product
from threading import Event as Flag
from threading import Thread
from typing import Any

import pytest
from django.db import connections, transaction
from django.utils import timezone

from events.archive.archiver import Archiver
from events.exceptions import ProducerFenced
from events.history import read_events
from events.models import ArchiveCheckpoint
from events.publisher import get_publisher
from events.types import START
from jobs import services
from jobs.exceptions import InvalidTransition
from jobs.models import Job
from jobs.projection import JobProjection
from tests.integration.jobs.conftest import archived, relayed
from tests.support.site import ROOT

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

WORKER = """\
import sys
import redis
from events.publisher import SyncRedisStreamPublisher

with redis.Redis.from_url(sys.argv[1]) as client:
    publisher = SyncRedisStreamPublisher(client, epoch=1)
    publisher.publish_task_started("abc", "report")
    for percent in (10, 60):
        publisher.publish_task_progress("abc", "report", percent)
    publisher.publish_task_completed("abc", "report", {"pages": 3})
"""


@pytest.fixture
def worker():
    """The publisher of a worker without a database."""
    return get_publisher()


def row(job_id="abc"):
    return Job.objects.get(job_id=job_id)


def test_worker_without_a_database_or_a_project(redis_server, make_job):
    make_job(job_id="abc")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("DJANGO", "DATABASE"))}
    subprocess.run(
        [sys.executable, "-c", WORKER, redis_server.url],
        env={**environment, "PYTHONPATH": str(ROOT)},
        check=True,
    )
    assert row().status == "pending"
    archived()
    job = row()
    assert (job.status, job.progress, job.result) == ("completed", 100, {"pages": 3})
    started, *_, completed = read_events("abc", event_types=["task_started", "task_completed"])
    assert job.started_at == datetime.fromisoformat(started.timestamp)
    assert job.finished_at == datetime.fromisoformat(completed.timestamp)
    assert job.created_at <= job.started_at <= job.finished_at <= timezone.now()


def test_failure_of_a_worker_may_be_retried(worker, make_job):
    make_job(job_id="abc")
    worker.publish_task_failed("abc", "report", "no ink")
    archived()
    assert (row().status, row().error) == ("failed", "no ink")
    services.job_retry(job_id="abc")
    worker.publish_task_started("abc", "report")
    archived()
    assert (row().status, row().attempt, row().error) == ("running", 2, "")


def test_worker_continues_a_job_started_by_a_service(worker, make_job):
    make_job("running", job_id="abc")
    started_at = row().started_at
    worker.publish_task_started("abc", "report")
    services.job_progress(job_id="abc", progress=50)
    worker.publish_task_progress("abc", "report", 40)
    archived()
    assert (row().progress, row().started_at) == (50, started_at)
    worker.publish_task_progress("abc", "report", 70)
    archived()
    assert row().progress == 70
    services.job_complete(job_id="abc", result="of the service")
    worker.publish_task_failed("abc", "report", "too late")
    archived()
    assert (row().status, row().result, row().error) == ("completed", "of the service", "")


def test_service_continues_a_job_started_by_a_worker(worker, make_job):
    make_job(job_id="abc")
    with pytest.raises(InvalidTransition):
        services.job_complete(job_id="abc")
    worker.publish_task_started("abc", "report")
    archived()
    assert services.job_complete(job_id="abc", result=1).started_at < timezone.now()


def test_end_of_one_of_several_tasks(worker, make_job):
    make_job(job_id="abc")
    worker.publish_task_started("abc", "outline")
    worker.publish_task_completed("abc", "outline", "an outline", job_status="running")
    archived()
    assert (row().status, row().result) == ("running", None)
    worker.publish_task_completed("abc", "document", "a document")
    archived()
    assert (row().status, row().result) == ("completed", "a document")


@pytest.mark.parametrize("archived_early", [True, False])
def test_late_worker_does_not_change_the_next_attempt(worker, make_job, archived_early):
    """Its events are ignored by position, by `attempt`, and by the epoch of the publisher."""
    make_job(job_id="abc")
    worker.publish_task_started("abc", "report")
    services.job_cancel(job_id="abc")
    worker.publish_task_progress("abc", "report", 50)
    worker.publish_task_completed("abc", "report", "before the retry")
    if archived_early:
        archived()
    services.job_retry(job_id="abc")
    worker.publish_task_completed("abc", "report", "after the retry", attempt=1)
    with pytest.raises(ProducerFenced):
        get_publisher(epoch=1).publish_task_completed("abc", "report", "of an old epoch")
    archived()
    assert (row().status, row().progress, row().result) == ("pending", 0, None)
    get_publisher(epoch=2).publish_task_completed("abc", "report", "of the new one")
    archived()
    assert (row().status, row().result, row().attempt) == ("completed", "of the new one", 2)


def test_worker_publishes_before_the_retry_is_appended(worker, redis_down, make_job, log_types):
    """Its event precedes `job_retried`, which a Redis outage delayed."""
    make_job("cancelled", job_id="abc")
    services.job_retry(job_id="abc")
    redis_down()
    worker.publish_task_started("abc", "report", attempt=2)
    archived()
    assert row().status == "running"
    relayed(3)
    worker.publish_task_completed("abc", "report", attempt=2)
    archived()
    assert (row().status, row().projected_attempt) == ("completed", 2)
    assert log_types("abc") == [
        "task_started", "job_created", "job_cancelled", "job_retried", "task_completed",
    ]  # fmt: skip


def test_events_appended_with_plain_xadd(redis_client, make_job):
    make_job(job_id="abc")
    for fields in (
        {"event_type": "task_progress", "data": '{"progress": 20}'},
        {"event_type": "task_progress", "data": "[" * 20_000},
        {"event_type": "task_failed"},
        {"event_type": "task_failed", "data": "not JSON", "producer": "outbox:9:9"},
        {"data": '{"event_type": "task_progress", "progress": 30}', "producer": "?"},
    ):
        redis_client.xadd("job_events:abc", fields)
    archived()
    assert (row().status, row().progress) == ("running", 30)
    assert not ArchiveCheckpoint.objects.exclude(error="").exists()


def test_log_without_a_job_is_archived(worker):
    worker.publish_task_completed("missing", "report")
    archived()
    assert [event.event_type for event in read_events("missing")] == ["task_completed"]
    assert not Job.objects.exists()


# Random order


TERMINAL = {"completed", "failed", "cancelled"}
RANK = {"pending": 0, "running": 1, "completed": 2, "failed": 2, "cancelled": 2}


@dataclass
class Model:
    """The expected row, as a minimal model."""

    status: str = "pending"
    attempt: int = 1
    progress: float = 0
    outcome: Any = None
    projected_attempt: int = 1
    log: list = field(default_factory=list)

    def apply_service(self, step, number):
        """Apply the transition and the event of a service."""
        if step == "job_retry":
            self.attempt += 1
            self.status, self.progress, self.outcome = "pending", 0, None
        elif step == "job_progress":
            self.progress = number
        else:
            self.set_status(TRANSITIONS[step][1], number)
        self.log.append(("step", self.attempt))

    def set_status(self, status, number):
        self.status = status
        if status == "completed":
            self.progress = 100
        if status in ("completed", "failed"):
            self.outcome = number

    def archive(self, count):
        """Apply the next events of the log, like the archiver."""
        for kind, attempt, *event in self.log[:count]:
            if kind == "step":
                self.projected_attempt = attempt
            elif self.status in TERMINAL:
                continue
            elif (attempt or self.projected_attempt) == self.attempt:
                self.apply_event(*event)
        del self.log[:count]

    def apply_event(self, event_type, job_status, number):
        status = job_status or {"task_completed": "completed", "task_failed": "failed"}.get(
            event_type, "running"
        )
        if RANK[status] > RANK[self.status]:
            self.set_status(status, number)
        if self.status == "running":
            self.progress = max(self.progress, number)


TRANSITIONS = {
    "job_start": ({"pending"}, "running"),
    "job_progress": ({"running"}, "running"),
    "job_complete": ({"running"}, "completed"),
    "job_fail": ({"pending", "running"}, "failed"),
    "job_cancel": ({"pending", "running"}, "cancelled"),
    "job_retry": ({"failed", "cancelled"}, "pending"),
}


@dataclass
class Scenario:
    """A job and a model to which the same random operations are applied."""

    rng: random.Random
    model: Model = field(default_factory=lambda: Model(log=[("step", 1)]))
    cursor: Any = START
    number: int = 0

    def act(self):
        self.number += 1
        self.rng.choices([self.call_service, self.publish, self.archive], [3, 5, 2])[0]()

    def call_service(self):
        step = self.rng.choice(list(TRANSITIONS))
        more = {
            "job_progress": {"progress": self.number % 100},
            "job_complete": {"result": self.number},
            "job_fail": {"error": str(self.number)},
        }
        call = getattr(services, step)
        if self.model.status in TRANSITIONS[step][0]:
            call(job_id="abc", **more.get(step, {}))
            number = self.number % 100 if step == "job_progress" else self.number
            self.model.apply_service(step, number)
        else:
            with pytest.raises(InvalidTransition):
                call(job_id="abc", **more.get(step, {}))

    def publish(self):
        event_type = self.rng.choices(
            ["task_started", "task_progress", "task_completed", "task_failed"], [3, 6, 1, 1]
        )[0]
        job_status = self.rng.choices([None, *RANK], [20, 1, 2, 1, 1, 1])[0]
        attempt = self.rng.randint(1, self.model.attempt)
        label = self.rng.choice(["none", "attempt", "epoch"])
        number = self.number % 100
        data = {"event_type": event_type, "progress": number, "result": number, "error": number}
        data |= {"attempt": attempt} if label == "attempt" else {}
        data |= {"job_status": job_status} if job_status else {}
        publisher = get_publisher(epoch=attempt if label == "epoch" else 0)
        if label == "epoch" and attempt < self.model.attempt:
            with pytest.raises(ProducerFenced):
                publisher.publish_event("abc", data)
            return
        publisher.publish_event("abc", data)
        known = attempt if label != "none" else None
        self.model.log.append(("event", known, event_type, job_status, number))

    def archive(self, count=None):
        count = count or self.rng.randint(1, 8)
        events = read_events("abc", after=self.cursor, limit=count)
        before = row()
        with transaction.atomic():
            JobProjection().apply({"abc": events})
        self.cursor = events[-1].cursor if events else self.cursor
        self.model.archive(count)
        after = row()
        assert after.attempt == before.attempt
        assert RANK[after.status] >= RANK[before.status]
        assert after.progress >= before.progress
        if before.is_terminal:
            assert (after.status, after.finished_at) == (before.status, before.finished_at)

    def check(self):
        job, model = row(), self.model
        outcome = {"completed": job.result, "failed": int(job.error or 0)}.get(job.status)
        assert (job.status, job.attempt, job.progress, outcome, job.projected_attempt) == (
            model.status, model.attempt, model.progress, model.outcome, model.projected_attempt,
        )  # fmt: skip


@pytest.mark.parametrize("round_", range(12))
def test_random_sequences_match_the_model(make_job, round_):
    seed = random.randrange(10**9) + round_
    make_job(job_id="abc")
    scenario = Scenario(random.Random(seed))
    try:
        for _ in range(80):
            scenario.act()
            scenario.check()
        scenario.archive(1000)
        scenario.check()
    except BaseException as error:
        raise AssertionError(f"with the seed {seed}") from error


def in_threads(*functions):
    """Run the functions in concurrent threads; return the exceptions."""
    raised = []

    def run(function):
        try:
            function()
        except Exception as error:  # noqa: BLE001 - returned to the test
            raised.append(error)
        finally:
            connections.close_all()

    threads = [Thread(target=run, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


def test_concurrent_services_workers_and_archivers(make_job):
    job_ids = [make_job().job_id for _ in range(4)]
    done = Flag()

    def work():
        try:
            for percent, job_id in product(range(60), job_ids):
                get_publisher(epoch=1).publish_task_progress(job_id, "report", percent)
            for job_id in job_ids:
                get_publisher(epoch=1).publish_task_completed(job_id, "report", job_id)
        finally:
            done.set()

    def report_progress():
        while not done.is_set():
            # Locks several rows, in another order than the archiver.
            with suppress(InvalidTransition), transaction.atomic():
                for job_id in random.sample(job_ids, 2):
                    services.job_progress(job_id=job_id, progress=10)

    def archive():
        archiver = Archiver()
        while not done.is_set():
            archiver.step()

    assert not in_threads(work, report_progress, archive, archive)
    archived()
    found = Job.objects.values_list("job_id", "status", "result")
    assert set(found) == {(job_id, "completed", job_id) for job_id in job_ids}
    assert not ArchiveCheckpoint.objects.exclude(error="").exists()
