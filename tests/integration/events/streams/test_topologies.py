"""The whole log on every kind of Redis and client: publish, read, follow, archive, erase."""

import asyncio
import shutil
from datetime import timedelta
from time import sleep

import pytest
import redis
import redis.asyncio
from django.core.exceptions import ImproperlyConfigured
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from events.erasure import delete_log
from events.exceptions import LogDeleted, RedisUnavailable
from events.history.reader import has_log, wait_for_events
from events.live.presence import mark_watched, seconds_since_watched
from events.outbox import writer
from events.processor.status import get_status
from events.publisher import RedisStreamPublisher, get_publisher
from events.streams.clients import close_async_redis, get_async_redis, get_redis
from events.types import START
from tests.faults.loss import JOB, LogFollower, World
from tests.support.need import need
from tests.support.redis_nodes import SERVICE, cluster, make_certificate, nodes, sentinel

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.redis,
    pytest.mark.extended,
]

# What the factories of the settings below create clients for.
target: dict = {}


def blocking_pool(asynchronous):
    module = redis.asyncio if asynchronous else redis
    pool = module.BlockingConnectionPool.from_url(target["url"], max_connections=2, timeout=2)
    return module.Redis.from_pool(pool)


def own_pool(asynchronous):
    module = redis.asyncio if asynchronous else redis
    pool = module.BlockingConnectionPool.from_url(target["url"], max_connections=1, timeout=1)
    return module.Redis(connection_pool=pool)


def single_connection(asynchronous):
    module = redis.asyncio if asynchronous else redis
    options = {"protocol": 3, "decode_responses": True, "health_check_interval": 1}
    return module.Redis.from_url(target["url"], single_connection_client=True, **options)


def sentinel_service(asynchronous):
    module = redis.asyncio if asynchronous else redis
    options = {"socket_timeout": 2, "socket_connect_timeout": 2}
    service = module.Sentinel([("127.0.0.1", target["sentinel"])], **options)
    return service.master_for(
        SERVICE, retry=(AsyncRetry if asynchronous else Retry)(NoBackoff(), 2)
    )


def cluster_client(asynchronous):
    module = redis.asyncio if asynchronous else redis
    options = {"socket_timeout": 2, "socket_connect_timeout": 2, **target.get("options", {})}
    return module.RedisCluster(host="127.0.0.1", port=target["port"], **options)


def unreachable(asynchronous):
    raise redis.ConnectionError("no route")


FACTORY = f"{__name__}.{{}}"


@pytest.fixture
def configure(settings, monkeypatch):
    """Use another Redis or factory in a test."""
    monkeypatch.setattr("events.outbox.relay.MIN_AGE", timedelta())

    def configure(url="redis://127.0.0.1:1", factory=""):
        target["url"] = url
        settings.JOB_EVENTS = {
            **settings.JOB_EVENTS,
            "REDIS_URL": url,
            "REDIS_CLIENT_FACTORY": factory and FACTORY.format(factory),
            "REDIS_TIMEOUT": 2,
            "STREAM_TAIL": 3,
            "KEEP_ALIVE": 0.2,
        }
        writer.redis_breaker.record_success()

    yield configure
    writer.redis_breaker.record_success()


@pytest.fixture
def node(short_tmp):
    with nodes(short_tmp, 1) as (node,):
        yield node


def use_the_log():
    """Use everything that sends commands to Redis."""
    world = World()
    world.commit(2)
    world.publish(3)
    with LogFollower() as follower:
        follower.wait_for(5)
        world.publish(150)
        world.commit()
        asyncio.run(publish_async([world.next() for _ in range(40)]))
        follower.wait_for(196)
        mark_watched([JOB, "other"])
        assert seconds_since_watched([JOB, "other"]).keys() == {JOB, "other"}
        whole = world.finish(follower)
    assert follower.resets == []
    assert len(whole) == 196
    info, length = get_publisher().get_stream_info(JOB), get_publisher().get_stream_length(JOB)
    assert info["length"] == length < 196  # trimmed
    assert (get_status().archive.streams, get_status().archive.behind) == (1, 0)
    assert wait_for_events(JOB, after=START, seconds=2)
    assert not wait_for_events("other", after=START, seconds=0.1)
    assert has_log(JOB)
    assert not has_log("other")
    delete_log(JOB)
    with pytest.raises(LogDeleted):
        get_publisher().publish_event(JOB, {})


async def publish_async(numbers):
    publisher = RedisStreamPublisher(get_async_redis())
    first, *others = [{"event_type": "step", "n": number} for number in numbers]
    await publisher.publish_event(JOB, first)
    await asyncio.gather(*[publisher.publish_event(JOB, each) for each in others[:20]])
    await publisher.publish_events(JOB, others[20:])
    assert await publisher.get_stream_length(JOB) >= 40
    assert (await publisher.get_stream_info(JOB))["length"] >= 40
    assert await publisher.get_stream_info("other") is None
    await close_async_redis()


@pytest.mark.parametrize(
    "address",
    [
        "redis://127.0.0.1:{port}/7",
        "redis://127.0.0.1:{port}/?decode_responses=True&protocol=2",
        "redis://127.0.0.1:{port}/?decode_responses=True&protocol=3",
        "redis://127.0.0.1:{port}/?protocol=2",
        "redis://127.0.0.1:{port}/?protocol=3",
        "unix://{socket}?db=7",
    ],
)
def test_urls(configure, node, address):
    configure(address.format(port=node.port, socket=node.socket))
    use_the_log()
    if "7" in address.rpartition("/")[2]:
        assert node.client.dbsize() == 0


@pytest.mark.parametrize(
    "rules", ["-config -client -script -info -type", "-@dangerous -@admin -@connection"]
)
def test_user_without_administrative_commands(configure, node, rules):
    allowed = "+@all", *rules.split(), "+auth", "+hello", "+select", "+ping"
    node.client.execute_command("ACL", "SETUSER", "a:p/p", "on", ">p@s #?", "~*", "&*", *allowed)
    configure(f"redis://a%3Ap%2Fp:p%40s%20%23%3F@127.0.0.1:{node.port}/0")
    use_the_log()


@pytest.mark.parametrize("factory", ["blocking_pool", "own_pool", "single_connection"])
def test_pools(configure, node, factory):
    configure(f"redis://127.0.0.1:{node.port}/0", factory)
    use_the_log()


@pytest.mark.parametrize("clients", ["no", "yes"])
def test_tls(configure, short_tmp, monkeypatch, request, clients):
    binary = shutil.which("redis-server") or ""
    need(request, binary, "redis-server with TLS")
    monkeypatch.setenv("REDIS_SERVER", binary)
    certificate, key = make_certificate(short_tmp)
    options = {"tls-port": "0", "tls-cert-file": str(certificate), "tls-key-file": str(key)}
    options |= {"tls-ca-cert-file": str(certificate), "tls-auth-clients": clients}
    with nodes(short_tmp, 1, **options) as (node,):
        node.client.config_set("port", 0)
        node.client = redis.Redis(unix_socket_path=str(node.socket))
        node.client.config_set("tls-port", node.port)
        url = f"rediss://127.0.0.1:{node.port}/0?ssl_ca_certs={certificate}"
        own = f"&ssl_certfile={certificate}&ssl_keyfile={key}"
        configure(url + own * (clients == "yes"))
        use_the_log()


def test_sentinel(configure, short_tmp):
    with nodes(short_tmp, 2) as (primary, replica):
        replica.replicate(primary)
        with sentinel(short_tmp / "sentinel", primary) as watching:
            target["sentinel"] = watching.get_connection_kwargs()["port"]
            configure(factory="sentinel_service")
            use_the_log()
            for client in get_redis().connection_pool.sentinel_manager.sentinels:
                client.close()


def test_error_of_a_factory(configure):
    configure(factory="unreachable")
    with pytest.raises(RedisUnavailable, match="no route"):
        get_publisher()
    assert "no route" in get_status().archive.error


@pytest.mark.filterwarnings("ignore:Call to '__init__':DeprecationWarning")
def test_cluster_client_that_reads_from_replicas(configure, short_tmp):
    with cluster(short_tmp) as nodes_of_cluster:
        port = nodes_of_cluster.masters[0].port
        target.update(port=port, options={"read_from_replicas": True})
        configure(factory="cluster_client")
        with pytest.raises(ImproperlyConfigured):
            get_redis()


@pytest.mark.parametrize("options", [{}, {"decode_responses": True, "protocol": 3}])
def test_cluster(configure, short_tmp, options):
    with cluster(short_tmp) as nodes_of_cluster:
        target.update(port=nodes_of_cluster.masters[0].port, options=options)
        configure(f"redis://127.0.0.1:{target['port']}", "cluster_client")
        use_the_log()
        get_redis().close()


@pytest.mark.parametrize("url", ["redis://127.0.0.1:{port}", "unix://{socket}"])
def test_server_that_closes_connections(configure, node, url):
    """Idle ones after a second, and all of them now and then."""
    configure(url.format(port=node.port, socket=node.socket))
    node.client.config_set("timeout", 1)
    world = World()
    with LogFollower() as follower:
        for how in ("idle", "killed"):
            world.publish(3)
            world.commit(2)
            asyncio.run(publish_async([world.next() for _ in range(40)]))
            world.archive()
            if how == "idle":
                sleep(2.5)
            else:
                node.client.client_kill_filter(_type="normal", skipme=True)
        world.publish(3)
        world.commit(2)
        assert len(world.finish(follower)) == 95
    assert follower.resets == []
