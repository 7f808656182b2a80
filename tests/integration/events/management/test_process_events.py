"""`manage.py process_events` as a process that is stopped, killed and restarted."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from events.exceptions import RedisOutOfMemory
from events.models import ArchiveCheckpoint, ArchivedEvent, Processor
from events.outbox import publish_event
from events.processor import get_status, is_running
from events.publisher import get_publisher
from events.streams.clients import get_redis
from events.testing.redis_server import EmbeddedRedis
from jobs.models import Job
from tests.support.site import ROOT

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]

UNAVAILABLE = "unix:///nonexistent/redis.sock"


def database_url() -> str:
    """The URL of the test database, for child processes."""
    name = connection.settings_dict["NAME"]
    if connection.vendor == "sqlite":
        return f"sqlite:///{name}"
    return urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}").geturl()


class Manage:
    """Runs `manage.py process_events`."""

    def __init__(self, directory: Path, redis_url: str) -> None:
        self.directory = directory
        self.environment = {
            **os.environ,
            "LOCAL_DIR": str(directory),
            "REDIS_URL": redis_url,
            "DATABASE_URL": database_url(),
        }
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.directory / "log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "manage.py", "process_events", *arguments],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        self.processes.append(process)
        return process

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def log(self) -> str:
        return (self.directory / "log").read_text()

    def wait_for(self, condition, seconds=40.0):
        deadline = time.monotonic() + seconds
        while not condition():
            for process in self.processes:
                assert process.returncode is not None or process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.1)

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture
def manage(tmp_path: Path, redis_server: EmbeddedRedis) -> Iterator[Manage]:
    manage = Manage(tmp_path, redis_server.url)
    yield manage
    manage.end()


@pytest.fixture
def own_redis(short_tmp: Path, settings) -> Iterator[EmbeddedRedis]:
    """A Redis server that the test may stop."""
    redis = EmbeddedRedis(short_tmp / "own-redis")
    redis.start()
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "REDIS_URL": redis.url}
    yield redis
    redis.stop()


@pytest.fixture
def small_redis(short_tmp: Path, settings) -> Iterator[EmbeddedRedis]:
    """A Redis of 12 MiB."""
    redis = EmbeddedRedis(short_tmp / "small-redis", save="", appendonly="no", maxmemory="12mb")
    redis.start()
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "REDIS_URL": redis.url}
    yield redis
    redis.stop()


@pytest.fixture
def redis_down(settings) -> None:
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "REDIS_URL": UNAVAILABLE}


def archived(job_id="abc") -> list[str]:
    rows = ArchivedEvent.objects.filter(log__job_id=job_id, event_id__isnull=False)
    return list(rows.order_by("event_id").values_list("event_type", flat=True))


def publish(*event_types, job_id="abc"):
    for event_type in event_types:
        get_publisher().publish_event(job_id, {"event_type": event_type})


# Running until a signal


@pytest.mark.database
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_runs_until_a_signal(manage, number):
    publish("first")
    process = manage.start()
    manage.wait_for(is_running)
    publish_event("abc", {"event_type": "second"})
    manage.wait_for(lambda: archived() == ["first", "second"])
    process.send_signal(number)
    assert process.wait(20) == 0
    assert not Processor.objects.exists()
    log = manage.log()
    assert "Traceback" not in log
    first, *_, last = [line for line in log.splitlines() if "process_events_status" in line]
    assert "state='running'" in first
    assert "redis='ok'" in first
    assert "state='stopped'" in last


@pytest.mark.database
def test_events_committed_without_redis_are_appended(manage, settings, redis_server):
    down = {**settings.JOB_EVENTS, "REDIS_URL": UNAVAILABLE}
    up = settings.JOB_EVENTS
    settings.JOB_EVENTS = down
    publish_event("abc", {"event_type": "committed"})
    settings.JOB_EVENTS = up
    assert get_status().outbox.depth == 1
    manage.start()
    manage.wait_for(lambda: archived() == ["committed"])
    assert get_status().outbox.depth == 0


@pytest.mark.database
def test_another_process_continues_after_kill_9(manage):
    killed = manage.start()
    publish("first")
    manage.wait_for(lambda: archived() == ["first"] and Processor.objects.exists())
    killed.kill()
    killed.wait()
    assert Processor.objects.count() == 1  # a killed process does not delete its row
    publish("second")
    publish_event("abc", {"event_type": "third"})
    manage.start()
    manage.wait_for(lambda: archived() == ["first", "second", "third"])
    manage.wait_for(lambda: len({each.name for each in get_status().processors}) == 2)


@pytest.mark.extended
@pytest.mark.database
def test_several_instances(manage):
    processes = [manage.start(), manage.start()]
    manage.wait_for(lambda: Processor.objects.count() == 2)
    for number in range(50):
        publish(f"event_{number}")
    manage.wait_for(lambda: len(archived()) >= 50)
    for process in processes:
        process.terminate()
    assert [process.wait(20) for process in processes] == [0, 0]
    assert archived() == [f"event_{number}" for number in range(50)]
    assert not Processor.objects.exists()


def test_redis_is_restarted(manage, own_redis):
    manage.environment["REDIS_URL"] = own_redis.url
    process = manage.start()
    manage.wait_for(is_running)
    own_redis.kill()
    manage.wait_for(lambda: "loop_failed" in manage.log())
    publish_event("abc", {"event_type": "meanwhile"})
    own_redis.start()
    manage.wait_for(lambda: archived() == ["meanwhile"])
    process.terminate()
    assert process.wait(20) == 0
    assert "Traceback" not in manage.log()


def test_it_retries_until_the_tables_exist(manage, tmp_path):
    manage.environment["DATABASE_URL"] = f"sqlite:///{tmp_path / 'empty.sqlite3'}"
    process = manage.start()
    manage.wait_for(lambda: "loop_failed" in manage.log())
    assert manage.run("migrate", "--verbosity", "0").returncode == 0
    manage.wait_for(lambda: manage.run("process_events", "--status").returncode == 0)
    process.terminate()
    assert process.wait(20) == 0


def test_without_a_log_handler_it_logs_to_stderr(manage, tmp_path):
    (tmp_path / "quiet.py").write_text("from config.settings import *\nLOGGING = {}\n")
    manage.environment |= {"DJANGO_SETTINGS_MODULE": "quiet", "PYTHONPATH": str(tmp_path)}
    process = manage.start()
    manage.wait_for(is_running)
    process.terminate()
    assert process.wait(20) == 0
    lines = [line for line in manage.log().splitlines() if "process_events_status" in line]
    assert len(lines) == 2
    assert "state='running'" in lines[0]
    assert "outbox=0" in lines[0]


# A single pass


@pytest.mark.database
def test_once_processes_all_pending_work(manage, settings):
    publish("first", "second", "third")
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "REDIS_URL": UNAVAILABLE}
    publish_event("abc", {"event_type": "fourth"})
    publish_event("xyz", {"event_type": "fifth"})
    done = manage.run("process_events", "--once")
    assert done.stdout == "Appended 2 events, archived 5.\n", done.stderr
    assert done.returncode == 0
    assert archived() == ["first", "second", "third", "fourth"]
    assert archived("xyz") == ["fifth"]
    again = manage.run("process_events", "--once")
    assert (again.returncode, again.stdout) == (0, "Appended 0 events, archived 0.\n")
    assert not Processor.objects.exists()


def test_once_without_redis_is_a_command_error(manage):
    manage.environment["REDIS_URL"] = UNAVAILABLE
    done = manage.run("process_events", "--once")
    assert done.returncode == 1
    assert "CommandError: Redis did not answer" in done.stderr
    assert "Traceback" not in done.stderr


def test_missing_tables_are_a_command_error(manage, tmp_path):
    manage.environment["DATABASE_URL"] = f"sqlite:///{tmp_path / 'empty.sqlite3'}"
    done = manage.run("process_events", "--once")
    assert done.returncode == 1
    assert "CommandError: The database is not available or not migrated" in done.stderr
    assert "no such table" in done.stderr
    assert "Traceback" not in done.stderr


def test_once_without_the_database_is_a_command_error(manage, tmp_path):
    manage.environment["DATABASE_URL"] = f"postgres://user@/nothing?host={tmp_path}"
    done = manage.run("process_events", "--once")
    assert done.returncode == 1
    assert "CommandError: The database is not available" in done.stderr
    assert "Traceback" not in done.stderr


def test_once_reports_a_stalled_log(redis_client, capsys):
    redis_client.set("job_events:abc", "no stream")
    publish_event("abc", {"event_type": "first"})
    publish("first", job_id="fine")
    with pytest.raises(CommandError, match="log of job abc is stalled: NotAStream"):
        call_command("process_events", "--once")
    assert "archived 1." in capsys.readouterr().out
    assert archived("fine") == ["first"]
    redis_client.delete("job_events:abc")
    call_command("process_events", "--once")
    assert archived() == ["first"]
    assert not ArchiveCheckpoint.objects.exclude(error="").exists()


def test_once_reports_its_timeout(redis_client):
    publish("first")
    with pytest.raises(CommandError, match="There is more work"):
        call_command("process_events", "--once", "--timeout", "0")
    # Two rounds: the samples of a minute that has ended meanwhile are work, too.
    call_command("process_events", "--once", "--timeout", "5")


# The status


def test_status_when_not_running(capsys):
    with pytest.raises(SystemExit) as ended:
        call_command("process_events", "--status")
    assert ended.value.code == 1
    assert "process_events NOT RUNNING" in capsys.readouterr().out


@pytest.mark.database
def test_status_when_running(manage):
    manage.start()
    manage.wait_for(is_running)
    done = manage.run("process_events", "--status")
    assert done.returncode == 0, done.stdout
    assert "process_events running" in done.stdout
    as_json = json.loads(manage.run("process_events", "--status", "--json").stdout)
    assert (as_json["running"], as_json["healthy"]) == (True, True)
    assert as_json["processors"][0]["loops"]["relay"]["failures"] == 0


def test_status_without_redis(redis_down, capsys):
    with pytest.raises(SystemExit):
        call_command("process_events", "--status")
    assert "unknown: Redis did not answer." in capsys.readouterr().out


@pytest.mark.extended
def test_status_without_the_database(manage, tmp_path):
    manage.environment["DATABASE_URL"] = f"postgres://user@/nothing?host={tmp_path}"
    for options, start in (((), "The database is not available"), (("--json",), "{")):
        done = manage.run("process_events", "--status", *options)
        assert done.returncode == 1
        assert done.stdout.startswith(start)
        assert "Traceback" not in done.stderr


def test_invalid_options_have_an_exit_code_of_their_own(manage):
    assert manage.run("process_events", "--nonsense").returncode == 2


def test_publishing_recovers_while_the_process_runs(manage, small_redis):
    """Redis is full of logs whose jobs are finished: archiving them makes room at once."""
    manage.environment["REDIS_URL"] = small_redis.url
    at = timezone.now() - timedelta(minutes=1)
    finished = {"status": Job.Status.COMPLETED, "finished_at": at}
    jobs = Job.objects.bulk_create([Job(**finished) for _ in range(250)])
    count = 0
    with suppress(RedisOutOfMemory):
        while True:
            data = {"event_type": "x", "text": "x" * 4000}
            get_publisher().publish_event(jobs[count % 250].job_id, data)
            count += 1
    refused = manage.run("process_events", "--status")
    assert refused.returncode == 1
    assert refused.stdout.startswith("Redis is out of memory and refuses new events")
    manage.start()
    manage.wait_for(is_accepted)
    archived = ArchivedEvent.objects.filter(event_id__isnull=False)
    manage.wait_for(lambda: archived.count() == count + 1)
    manage.wait_for(lambda: manage.run("process_events", "--status").returncode == 0)
    assert "redis_memory_pressure" in manage.log()
    assert "log_stalled" not in manage.log()


def is_accepted():
    try:
        publish("accepted")
    except RedisOutOfMemory:
        return False
    return True


@pytest.mark.extended
def test_losses_are_reported_while_the_process_runs(manage, own_redis):
    manage.environment["REDIS_URL"] = own_redis.url
    manage.start()
    publish("first")
    manage.wait_for(lambda: archived() == ["first"])
    get_redis().flushall()
    manage.wait_for(lambda: archived() == ["first", "events_lost"])
    assert "events_lost" in manage.log()
    done = manage.run("process_events", "--status")
    assert done.returncode == 1
    assert done.stdout.startswith("Redis lost events. Gaps in 24 hours: 1, last of abc.")


def test_unsafe_eviction_policy_is_printed_and_does_not_prevent_archiving(manage, own_redis):
    get_redis().config_set("maxmemory-policy", "allkeys-lru")
    manage.environment["REDIS_URL"] = own_redis.url
    publish("first")
    done = manage.run("process_events", "--once")
    assert done.returncode == 0
    assert "job_events.E040" in done.stderr
    assert archived() == ["first"]


def test_json_requires_status():
    with pytest.raises(CommandError, match="--json requires --status"):
        call_command("process_events", "--json")


def test_modes_are_exclusive():
    with pytest.raises(CommandError, match="not allowed with"):
        call_command("process_events", "--once", "--status")
