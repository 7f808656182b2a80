"""Findings about one Redis server."""

import time
from datetime import timedelta

import pytest

from events.database import database_now
from events.doctor import server
from events.exceptions import RedisUnavailable
from events.streams.clients import get_redis
from tests.integration.events.doctor.conftest import find

pytestmark = [pytest.mark.django_db, pytest.mark.redis]


def test_connection(settings):
    finding = find("redis-connection")
    assert finding.state == "ok"
    assert finding.seen.endswith(" ms.")
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "REDIS_URL": "redis://u:hunter22@127.0.0.1:1"}
    with pytest.raises(RedisUnavailable, match="Connection refused"):
        find("redis-connection")


def test_version(monkeypatch):
    assert find("redis-version").state == "ok"
    monkeypatch.setattr(server, "MIN_REDIS_VERSION", (99, 0))
    finding = find("redis-version")
    assert finding.state == "error"
    assert finding.seen.startswith(("redis ", "valkey "))


@pytest.mark.parametrize(
    ("directives", "state", "seen"),
    [
        ({"appendonly": "yes", "appendfsync": "everysec"}, "ok", "appendfsync everysec"),
        ({"appendonly": "yes", "appendfsync": "no"}, "warning", "appendfsync no"),
        ({"appendonly": "no", "save": "3600 1"}, "warning", "Snapshots only"),
        ({"appendonly": "no", "save": ""}, "warning", "a restart empties Redis"),
    ],
)
def test_persistence(own_redis, directives, state, seen):
    for name, value in directives.items():
        get_redis().config_set(name, value)
    finding = find("redis-persistence")
    assert (finding.state, seen in finding.seen) == (state, True), finding


def test_disk_that_cannot_be_written(own_redis):
    client = get_redis()
    (own_redis.directory / "dump.rdb").mkdir()
    client.bgsave()
    deadline = time.monotonic() + 10
    while client.info("persistence")["rdb_last_bgsave_status"] == "ok":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    finding = find("redis-persistence")
    assert finding.state == "error"
    assert "rdb_last_bgsave_status" in finding.seen


def test_eviction(redis_config):
    assert find("redis-eviction").state == "ok"
    redis_config("maxmemory-policy", "allkeys-lru")
    finding = find("redis-eviction")
    assert (finding.state, "allkeys-lru" in finding.seen) == ("error", True)


def test_memory(redis_config, redis_client):
    assert find("redis-memory").state == "warning"  # there is no maxmemory
    used = redis_client.info("memory")["used_memory"]
    redis_config("maxmemory", used * 100)
    assert find("redis-memory").state == "ok"
    redis_config("maxmemory", int(used * 1.2))
    finding = find("redis-memory")
    assert finding.state == "warning"
    assert "MiB" in finding.seen
    assert "MEMORY_PRESSURE" in finding.seen
    redis_config("maxmemory", 1)
    assert find("redis-memory").state == "error"
    assert find("redis-writes").state == "ok"  # the cause is reported once


def test_writes(redis_config):
    assert find("redis-writes").state == "ok"
    redis_config("min-replicas-to-write", 1)
    finding = find("redis-writes")
    assert finding.state == "error"
    assert "NOREPLICAS" in finding.seen or "replicas" in finding.seen


# The ACL


@pytest.fixture
def acl_user(own_redis, settings):
    """Use a user with these rules."""
    admin = get_redis()

    def acl_user(*rules):
        admin.execute_command("ACL", "SETUSER", "web", "reset", "on", ">hunter22", *rules)
        url = f"unix://web:hunter22@{own_redis.directory.resolve()}/redis.sock"
        settings.JOB_EVENTS = {**settings.JOB_EVENTS, "REDIS_URL": url}

    return acl_user


# As docs/operations.md has it.
DOCUMENTED = (
    "~job_events:*", "~{job_events:*", "+@stream", "+@hash", "+@string", "+@keyspace",
    "+@connection", "+eval", "+evalsha", "+scan", "+time", "-client",
)  # fmt: skip
MIRRORED = ("+publish", "&job:*:events")


def test_user_with_the_documented_permissions(acl_user):
    acl_user(*DOCUMENTED)
    finding = find("redis-access")
    assert finding.state == "ok"
    assert "CLIENT, CONFIG, INFO" in finding.seen
    states = {name: find(name).state for name in ("redis-version", "redis-topology")}
    assert states == {"redis-version": "ok", "redis-topology": "ok"}
    for name in ("redis-persistence", "redis-eviction", "redis-memory"):
        assert find(name).state == "skipped"
    assert find("redis-connection").seen.count("hunter22") == 0
    get_redis().xadd("job_events:abc", {"data": "{}"})
    acl_user(*DOCUMENTED, "-type")
    for name in ("orphaned-streams", "foreign-keys", "consumer-groups"):
        assert find(name).state == "skipped"


@pytest.mark.parametrize("command", ["xadd", "xsetid", "hset", "pexpire", "scan", "time"])
def test_missing_permission(acl_user, command):
    acl_user(*DOCUMENTED, f"-{command}")
    finding = find("redis-access")
    assert finding.state == "error"
    assert command.upper() in finding.seen


def test_channel_that_events_are_mirrored_to(acl_user, settings):
    acl_user(*DOCUMENTED, "resetchannels")
    assert find("redis-access").state == "ok"
    settings.JOB_EVENTS = {**settings.JOB_EVENTS, "MIRROR_PUBSUB": True}
    finding = find("redis-access")
    assert finding.state == "error"
    assert "may not run PUBLISH for job_events:doctor and job:doctor:events." in finding.seen
    acl_user(*DOCUMENTED, "+publish")
    assert find("redis-access").state == "error"
    acl_user(*DOCUMENTED, *MIRRORED)
    assert find("redis-access").state == "ok"


def test_key_of_the_owner(acl_user):
    """Without it, `process_events` archives nothing."""
    acl_user(*DOCUMENTED[2:], "~job_events:[a-z]*", "~{job_events:*")
    finding = find("redis-access")
    assert (finding.state, "GET, SET" in finding.seen) == ("error", True)


def test_keys_that_are_not_permitted(acl_user):
    acl_user(*DOCUMENTED[2:], "~other:*")
    with pytest.raises(Exception, match=r"NOPERM|permission"):
        find("redis-access")


# Time


@pytest.mark.database
@pytest.mark.parametrize(("seconds", "state"), [(0, "ok"), (5, "warning"), (-90, "error")])
def test_clock(monkeypatch, seconds, state):
    monkeypatch.setattr(server, "database_now", lambda: database_now() + timedelta(seconds=seconds))
    finding = find("redis-clock")
    assert finding.state == state
    assert f"{abs(seconds)}.0 s {'ahead of' if seconds < 0 else 'behind'}" in finding.seen


def test_latency(monkeypatch):
    assert find("redis-latency").seen.startswith("Median ")
    monkeypatch.setattr(server, "SLOW_PING_MS", 0.0)
    assert find("redis-latency").state == "warning"
