"""Findings about replicas, Sentinel and clusters."""

import itertools

import pytest
import redis
import redis.asyncio

from events.exceptions import RedisUnavailable
from events.streams.clients import get_redis
from tests.integration.events.doctor.conftest import find
from tests.support.redis_nodes import SERVICE, cluster, nodes, sentinel, wait_until

pytestmark = [pytest.mark.django_db, pytest.mark.redis, pytest.mark.extended]

target: dict = {}
numbers = itertools.count()


def sentinel_service(asynchronous):
    module = redis.asyncio if asynchronous else redis
    options = {"socket_timeout": 2, "socket_connect_timeout": 2}
    return module.Sentinel(target["sentinels"], **options).master_for(SERVICE)


def cluster_client(asynchronous):
    module = redis.asyncio if asynchronous else redis
    return module.RedisCluster(host="127.0.0.1", port=target["port"], socket_timeout=2)


@pytest.fixture
def configure(settings):
    def configure(url="redis://127.0.0.1:1", factory=""):
        settings.JOB_EVENTS = {
            **settings.JOB_EVENTS,
            "REDIS_URL": url,
            "REDIS_CLIENT_FACTORY": factory and f"{__name__}.{factory}",
            "REDIS_TIMEOUT": 2 + next(numbers) / 1000,  # else the client of another test
        }

    yield configure
    get_redis().close()


def test_one_server():
    finding = find("redis-topology")
    assert (finding.state, finding.seen) == ("ok", "One server, 0 replicas.")


def test_replica(short_tmp, configure):
    with nodes(short_tmp, 2) as (primary, replica):
        replica.replicate(primary)
        configure(f"redis://127.0.0.1:{replica.port}")
        finding = find("redis-topology")
        assert (finding.state, "replica" in finding.seen) == ("error", True)
        assert find("redis-writes").state == "error"
        configure(f"redis://127.0.0.1:{primary.port}")
        assert find("redis-topology").seen == "One server, 1 replicas."


def test_sentinel(short_tmp, configure):
    with (
        nodes(short_tmp, 2) as (primary, replica),
        sentinel(short_tmp / "sentinel", primary) as watcher,
    ):
        port = watcher.connection_pool.connection_kwargs["port"]
        configure(f"redis://127.0.0.1:{port}")
        finding = find("redis-topology")
        assert (finding.state, "Sentinel" in finding.seen) == ("error", True)
        target["sentinels"] = [("127.0.0.1", port), ("127.0.0.1", 1)]
        configure(factory="sentinel_service")
        finding = find("redis-topology")
        assert (finding.state, finding.seen[:16]) == ("warning", "1 of 2 Sentinels")
        target["sentinels"] = [("127.0.0.1", port)]
        configure("redis://127.0.0.1:2", factory="sentinel_service")
        assert find("redis-topology").seen.endswith("but it has no replica.")
        replica.replicate(primary)
        assert find("redis-topology").state == "ok"
        watcher.execute_command("SENTINEL", "SET", SERVICE, "quorum", "2")
        finding = find("redis-topology")
        assert (finding.state, "NOQUORUM" in finding.seen) == ("error", True)


def test_cluster(short_tmp, configure):
    with cluster(short_tmp, replicas=2) as found:
        target["port"] = found.masters[0].port
        configure(f"redis://127.0.0.1:{target['port']}")
        finding = find("redis-topology")
        assert (finding.state, "node of a cluster" in finding.seen) == ("error", True)
        configure(factory="cluster_client")
        expected = "A cluster of 3 masters; 1 of them have no replica."
        wait_until(lambda: find("redis-topology").seen == expected)
        assert find("redis-topology").state == "warning"
        every = {check: find(check).state for check in ("redis-version", "redis-access")}
        assert every == {"redis-version": "ok", "redis-access": "ok"}
        found.masters[2].server.kill()
        with pytest.raises(RedisUnavailable, match=r"refused|closed"):
            find("redis-topology")


def test_all_checks_of_a_cluster(short_tmp, configure):
    with cluster(short_tmp) as found:
        target["port"] = found.masters[0].port
        configure(factory="cluster_client")
        for check in (
            "redis-connection", "redis-persistence", "redis-eviction", "redis-memory",
            "redis-writes", "redis-access", "redis-latency", "redis-clock", "orphaned-streams",
            "foreign-keys", "consumer-groups", "round-trip",
        ):  # fmt: skip
            assert find(check).state != "error", check
