"""Check of the topology of Redis: one server, replicas, Sentinel, or a cluster."""

from collections.abc import Sequence
from typing import Any, Final

from events.codec import text_of
from events.doctor.checks import Check, Examination
from events.doctor.findings import Finding, error, ok, warning
from events.doctor.server import info_of
from events.exceptions import EventsError
from events.streams import commands
from events.streams.clients import get_redis, send_command, send_pipeline
from events.streams.cluster import is_cluster, masters_of
from events.streams.retry import raised


def check_topology(_examination: Examination) -> Finding:
    """Commands are sent to a master, and its failover is prepared."""
    client: Any = get_redis()
    if is_cluster(client):
        return _cluster(client)
    hello = commands.fields_of_info(send_command(client, commands.hello()))
    mode, role = text_of(hello["mode"]), text_of(hello.get("role", ""))
    if mode == "sentinel":
        return error("The address is that of a Sentinel, not of a Redis.")
    if mode == "cluster":
        return error("The address is that of a node of a cluster; the client is not a cluster's.")
    if role != "master":
        return error("The address is that of a replica, which refuses events.")
    pool = client.connection_pool
    manager = getattr(pool, "sentinel_manager", None)
    replicas = info_of(send_pipeline(client, [("INFO", "replication")])[0]).get("connected_slaves")
    if manager is not None:
        return _sentinels(manager.sentinels, pool.service_name, replicas)
    return ok(f"One server, {replicas or 'an unknown number of'} replicas.")


def _sentinels(sentinels: Sequence[Any], service: str, replicas: str | None) -> Finding:
    failures = [text for each in sentinels if (text := _quorum_failure(each, service))]
    seen = f"{len(sentinels) - len(failures)} of {len(sentinels)} Sentinels can fail over {service}"
    if len(failures) == len(sentinels):
        return error(f"{seen}: {failures[0]}")
    if failures:
        return warning(f"{seen}: {failures[0]}")
    if replicas == "0":
        return warning(f"{seen}, but it has no replica.")
    return ok(f"{seen}, replicas: {replicas or 'unknown'}.")


def _quorum_failure(sentinel: Any, service: str) -> str:
    try:
        send_command(sentinel, ("SENTINEL", "CKQUORUM", service))
    except EventsError as failure:
        return str(failure)
    return ""


def _cluster(client: Any) -> Finding:
    with masters_of(client) as masters:
        requests = [("CLUSTER", "INFO"), ("CLUSTER", "NODES")]
        replies = [send_pipeline(master, requests) for master in masters]
    if any(isinstance(info, EventsError) for info, _ in replies):
        return ok(f"A cluster of {len(replies)} masters; the Redis user may not run CLUSTER.")
    states = [info_of(info)["cluster_state"] for info, _ in replies]
    seen = f"A cluster of {len(states)} masters"
    if bad := len(states) - states.count("ok"):
        return error(f"{seen}; the cluster is down according to {bad} of them.")
    alone = _masters_without_replica(text_of(raised(replies[0][1])))
    if alone:
        return warning(f"{seen}; {alone} of them have no replica.")
    return ok(f"{seen}, each with a replica.")


def _masters_without_replica(nodes: str) -> int:
    """Count the masters with slots that have no connected replica, in the reply to CLUSTER NODES.

    https://redis.io/docs/latest/commands/cluster-nodes/
    """
    rows = [line.split() for line in nodes.splitlines()]
    healthy = [row for row in rows if "fail" not in row[2] and "noaddr" not in row[2]]
    replicated = {row[3] for row in healthy if "slave" in row[2]}
    masters = {row[0] for row in healthy if "master" in row[2] and len(row) > _SLOTS_COLUMN}
    return len(masters - replicated)


_SLOTS_COLUMN: Final = 8

CHECKS: Final = (
    Check(
        "redis-topology",
        check_topology,
        "Connect to the master, by REDIS_URL or REDIS_CLIENT_FACTORY; run replicas.",
        ("redis-connection",),
    ),
)
