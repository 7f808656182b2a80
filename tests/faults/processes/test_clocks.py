"""Processes whose wall clock is a day ahead or behind, or jumps; on PostgreSQL.

Liveness, deadlines and the outbox use the clock of the database.
"""

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from time import monotonic, sleep

import psycopg
import pytest

from tests.support.clocks import LIBRARY, SkewedClock
from tests.support.need import need
from tests.support.site import ROOT

pytestmark = pytest.mark.extended

TIMEOUT_SECONDS = 40
TABLES = "job_events_processor, job_events_jobs_job"

PRELUDE = """
import json
from django.db import connection
from django.utils import timezone
from events.execution.run import Delivery, TaskRun
from events.outbox import publish_event, relay, writer
from events.processor import get_status, is_running
from jobs import services
from jobs.execution.reaper import Reaper
from jobs.execution.tracker import JobRunTracker
from jobs.models import Job

def show(**values):
    print(json.dumps(values))

def delivery(key="k1"):
    return Delivery("test", key, "abc", "work", worker="w1")

def reap():
    return Reaper(single_pass=True).step()
"""


@pytest.fixture
def world(request, postgres_world):
    need(request, LIBRARY, "libfaketime (Debian: faketime)")
    yield postgres_world
    execute(postgres_world, f"TRUNCATE {TABLES} CASCADE")


def execute(world, statement):
    with psycopg.connect(world.database.url, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchone() if cursor.description else None


def seconds_until(world, column, table):
    """Return how far a time in the database is ahead of the database's clock."""
    difference = f"extract(epoch FROM {column} - clock_timestamp())"
    return float(execute(world, f"SELECT {difference} FROM {table}")[0])


def command(*arguments):
    return [sys.executable, "manage.py", *arguments]


@pytest.fixture(params=[("+1d", "-1d"), ("-1d", "+1d")], ids=["ahead", "behind"])
def clocks(request, world, tmp_path):
    """The clock of the process under test, and the opposite one of another process."""
    return [SkewedClock(tmp_path, offset) for offset in request.param]


@pytest.fixture
def run(world):
    """Run a script of a project's process with a clock; return what it shows."""

    def run(clock, script):
        done = subprocess.run(
            command("shell", "--verbosity", "0", "-c", PRELUDE + script),
            cwd=ROOT,
            env={**os.environ, **world.environment, **clock.environment},
            capture_output=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        lines = done.stdout.decode().splitlines()
        return json.loads(lines[-1]) if lines else None

    return run


@contextmanager
def running(world, clock):
    """Run `process_events`; kill it at the end."""
    with (world.directory / "processor.log").open("ab") as log:
        process = subprocess.Popen(
            command("process_events"),
            cwd=ROOT,
            env={**os.environ, **world.environment, **clock.environment},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def until(condition):
    deadline = monotonic() + TIMEOUT_SECONDS
    while not (found := condition()):
        assert monotonic() < deadline, "the condition did not hold in time"
        sleep(0.05)
    return found


def heartbeat(world):
    """Return the last heartbeat of the processor, None before the first."""
    return execute(world, "SELECT heartbeat_at FROM job_events_processor")


def test_clock_of_the_process_is_wrong(clocks, run):
    """The other tests are void without this."""
    script = """
with connection.cursor() as cursor:
    cursor.execute("SELECT clock_timestamp()")
    show(skew=abs((timezone.now() - cursor.fetchone()[0]).total_seconds()))
"""
    assert abs(run(clocks[0], script)["skew"] - 86_400) < 60


STATUS = """
status = get_status()
show(running=status.running, is_running=is_running(), healthy=status.healthy,
     archive_age=status.archive.oldest_age, outbox_age=status.outbox.oldest_age)
"""


def test_processor(world, clocks, run):
    """It is running while it sends heartbeats, and then no longer, for a process with any clock."""
    clock, other = clocks
    with running(world, clock):
        first = until(lambda: heartbeat(world))
        assert abs(seconds_until(world, "heartbeat_at", "job_events_processor")) < 60
        assert abs(seconds_until(world, "started_at", "job_events_processor")) < 60
        assert run(other, STATUS) == {
            "running": True, "is_running": True, "healthy": True, "archive_age": None,
            "outbox_age": None,
        }  # fmt: skip
        clock.set("+2d")
        second = until(lambda: (heartbeat(world) != first) and heartbeat(world))
        clock.set("-2d")
        until(lambda: heartbeat(world) != second)
        assert abs(seconds_until(world, "heartbeat_at", "job_events_processor")) < 60
    execute(world, "UPDATE job_events_processor SET heartbeat_at = heartbeat_at - interval '31 s'")
    for each in clocks:
        found = run(each, STATUS)
        assert (found["running"], found["is_running"]) == (False, False)


def test_rows_of_dead_processors_are_deleted_by_their_age(world, clocks):
    execute(
        world,
        "INSERT INTO job_events_processor (name, started_at, heartbeat_at, loops) SELECT name,"
        " clock_timestamp() - age, clock_timestamp() - age, '{}' FROM (VALUES"
        " ('recent:1', interval '1 min'), ('old:1', interval '2 d')) AS dead (name, age)",
    )
    names = "SELECT array_agg(name ORDER BY name) FROM job_events_processor"
    with running(world, clocks[0]):
        until(lambda: "old:1" not in execute(world, names)[0])
        assert "recent:1" in execute(world, names)[0]


def test_outbox(world, clocks, run):
    """An event is due a second after it was written, and its age is counted from then."""
    clock, other = clocks
    run(clock, "writer._append = lambda *_: None\npublish_event('abc', {'c': 't1'})")
    assert abs(seconds_until(world, "written_at", "job_events_archivedevent")) < 60
    age = run(other, "show(age=get_status().outbox.oldest_age)")["age"]
    assert 0 <= age < 60
    execute(world, "UPDATE job_events_archivedevent SET written_at = written_at - interval '10 s'")
    assert run(other, "show(appended=relay.Relay().step())") == {"appended": 1}


def test_archive_lag(world, clocks, run):
    """Redis assigns the ids by its own clock."""
    world.write({"publish": "s1"})
    for clock in clocks:
        assert 0 <= run(clock, "show(age=get_status().archive.oldest_age)")["age"] < 60


def test_deadline_of_a_pending_job(world, clocks, run):
    """A worker that continues a job sets it, and a reaper with another clock compares it."""
    clock, other = clocks
    script = """
tracker = JobRunTracker()
services.job_create(job_id="abc", task_type="manual")
run = TaskRun(delivery(), *tracker.claim(delivery()), tracker)
tracker.complete(run, None, continues=True)
"""
    run(clock, script)
    assert abs(seconds_until(world, "deadline_at", "job_events_jobs_job") - 86_400) < 60
    for each in clocks:
        assert run(each, "show(ended=reap())") == {"ended": 0}
    execute(world, "UPDATE job_events_jobs_job SET deadline_at = clock_timestamp()")
    assert run(other, "show(ended=reap(), error=Job.objects.get().error)") == {
        "ended": 1, "error": "No worker claimed the job for 86400 s.",
    }  # fmt: skip


def test_heartbeats_and_time_limit_of_a_worker(world, clocks, run):
    clock, other = clocks
    script = """
services.job_create(job_id="abc", task_type="manual")
limited = Delivery("test", "k1", "abc", "work", worker="w1", time_limit=600)
JobRunTracker().claim(limited)
"""
    run(clock, script)
    assert abs(seconds_until(world, "heartbeat_at", "job_events_jobs_task")) < 60
    assert abs(seconds_until(world, "deadline", "job_events_jobs_task") - 600) < 60
    claim = """
try:
    JobRunTracker().claim(delivery())
except Exception as error:
    show(error=str(error))
"""
    set_heartbeat = "UPDATE job_events_jobs_task SET heartbeat_at = clock_timestamp()"
    for each in clocks:
        # A loaded machine may start a process in more than WORKER_TIMEOUT seconds.
        execute(world, f"{set_heartbeat} + interval '20 s'")
        assert run(each, "show(ended=reap())") == {"ended": 0}
        assert "sends heartbeats" in run(each, claim)["error"]
    execute(world, f"{set_heartbeat} - interval '1 min'")
    found = run(other, "show(ended=reap(), error=Job.objects.get().error)")
    assert found["ended"] == 1
    assert "no heartbeat" in found["error"]


def test_finished_job(world, clocks, run):
    """It is completed after the grace period, however the clock of the process that ended it."""
    clock, other = clocks
    script = """
services.job_create(job_id="abc", task_type="manual")
services.job_start(job_id="abc")
services.job_cancel(job_id="abc")
"""
    run(clock, script)
    assert abs(seconds_until(world, "started_at", "job_events_jobs_job")) < 60
    assert abs(seconds_until(world, "finished_at", "job_events_jobs_job")) < 60
    completed = """
from jobs.projection import JobProjection
show(completed=sorted(JobProjection().completed_jobs(["abc"])))
"""
    set_end = "UPDATE job_events_jobs_job SET finished_at = clock_timestamp()"
    execute(world, f"{set_end} + interval '10 min'")
    assert run(other, completed) == {"completed": []}
    execute(world, f"{set_end} - interval '10 s', started_at = NULL")
    for each in clocks:
        assert run(each, completed) == {"completed": ["abc"]}
