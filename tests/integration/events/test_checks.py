"""`manage.py check`: warnings of `--database default`, and what `--deploy` finds in Redis."""

import os
import subprocess
import sys
from datetime import timedelta

import pytest
import redis
import redis.asyncio
from django.core import checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.utils import timezone

from events.checks import check_processing, check_redis
from events.conf import configured
from events.models import ArchiveCheckpoint, ArchivedEvent, EventLog, Processor
from events.streams.clients import get_redis
from events.streams.memory import RedisMemory
from tests.support.site import ROOT

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def make_log(error=""):
    log = EventLog.objects.create(job_id="abc")
    ArchiveCheckpoint.objects.create(log=log, error=error, failed_at=timezone.now())
    return log


def make_processor(seconds_ago=0):
    at = timezone.now() - timedelta(seconds=seconds_ago)
    return Processor.objects.create(name="host:1", started_at=at, heartbeat_at=at)


def found():
    return {message.id: message for message in check_processing(None, databases=["default"])}


def test_project_without_logs_has_no_warning():
    assert found() == {}


def test_logs_without_a_processor():
    make_log()
    message = found()["job_events.W010"]
    assert message.level == checks.WARNING
    assert message.msg.endswith("logs must be archived.")
    assert "manage.py process_events" in message.hint


def test_late_outbox_events_without_a_processor():
    at = timezone.now() - timedelta(seconds=61)
    row = {"event_type": "x", "timestamp": "x", "data": "{}"}
    ArchivedEvent.objects.create(log=make_log(), written_at=at, **row)
    make_processor(seconds_ago=40)
    assert "1 events are in the outbox" in found()["job_events.W010"].msg


def test_running_processor_has_no_warning():
    make_log()
    make_processor()
    assert found() == {}


def test_stalled_logs():
    make_log(error="NotAStream: a list is stored there")
    make_processor()
    (message,) = found().values()
    assert (message.id, message.level) == ("job_events.W011", checks.WARNING)
    assert "Job abc: NotAStream: a list is stored there" in message.msg


def test_without_databases_it_makes_no_query(django_assert_num_queries):
    make_log()
    with django_assert_num_queries(0):
        assert check_processing(None) == []
        assert check_processing(None, databases=[]) == []


def test_it_runs_with_check_database_only(capsys):
    make_log()
    call_command("check", databases=["default"])
    assert "job_events.W010" in capsys.readouterr().err
    call_command("check")
    assert "job_events.W010" not in capsys.readouterr().err


@pytest.mark.parametrize("url", ["sqlite:///{}/empty.sqlite3", "postgres://user@/no?host={}"])
def test_without_tables_or_database_it_reports_nothing(tmp_path, url):
    script = (
        "import django; django.setup()\n"
        "from events.checks import check_processing\n"
        "print(check_processing(None, databases=['default']))"
    )
    environment = {
        **os.environ,
        "LOCAL_DIR": str(tmp_path),
        "DATABASE_URL": url.format(tmp_path),
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "[]\n", done.stderr


# Redis


@pytest.fixture
def redis_config(redis_client):
    """Set a directive of Redis during the test."""
    changed = {}

    def set_directive(name, value):
        changed[name] = redis_client.config_get(name)[name]
        redis_client.config_set(name, value)

    yield set_directive
    for name, value in changed.items():
        redis_client.config_set(name, value)


def redis_messages():
    return [(message.id, message.level) for message in check_redis(None)]


def test_redis_that_evicts_nothing():
    assert redis_messages() == []


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl", "allkeys-random"])
def test_other_eviction_policies_are_errors(redis_config, policy):
    redis_config("maxmemory-policy", policy)
    (message,) = check_redis(None)
    assert (message.id, message.level) == ("job_events.E040", checks.ERROR)
    assert policy in message.msg


def test_redis_out_of_memory(redis_config):
    redis_config("maxmemory", 1)
    (message,) = check_redis(None)
    assert (message.id, message.level) == ("job_events.W012", checks.WARNING)
    assert "out of memory" in message.msg


@pytest.mark.parametrize("url", ["unix:///nonexistent/redis.sock", "redis://[::1"])
def test_unreachable_redis_is_no_failure(settings, url):
    """The settings of a deployment may be checked where its Redis is not reachable."""
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "REDIS_URL": url}
    assert redis_messages() == [("job_events.I012", checks.INFO)]


def other_kind(asynchronous):
    return redis.Redis() if asynchronous else redis.asyncio.Redis()


def sync_only(asynchronous):
    return get_redis() if asynchronous else redis.Redis.from_url(configured()["REDIS_URL"])


async def coroutine(asynchronous):
    """Not awaited by the caller."""


def nothing(asynchronous):
    return None


@pytest.mark.filterwarnings("ignore:coroutine:RuntimeWarning")
@pytest.mark.parametrize("factory", [other_kind, sync_only, coroutine, nothing])
def test_factory_of_other_clients(settings, factory):
    path = f"{__name__}.{factory.__name__}"
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "REDIS_CLIENT_FACTORY": path}
    (message,) = check_redis(None)
    assert (message.id, message.level) == ("job_events.E016", checks.ERROR)
    assert "REDIS_CLIENT_FACTORY returned" in message.msg


def test_owner_without_info(settings, redis_client, monkeypatch):
    """A user of Redis who may not run INFO."""
    monkeypatch.setattr("events.processor.status.read_memory", lambda client: RedisMemory())
    redis_client.set("job_events::owner", "another")
    assert [each.id for each in check_redis(None)] == ["job_events.I012", "job_events.E042"]


def test_redis_is_contacted_by_deployment_checks_only(redis_config, capsys):
    redis_config("maxmemory-policy", "allkeys-lru")
    with pytest.raises(SystemCheckError, match=r"job_events\.E040"):
        call_command("check", deploy=True, tags=["redis"])
    call_command("check")
    call_command("check", databases=["default"])
    call_command("migrate", verbosity=0)
    output = capsys.readouterr()
    assert "E040" not in output.out + output.err
