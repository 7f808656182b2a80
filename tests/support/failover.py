"""A Redis and its replica behind one address, as behind a load balancer or a Kubernetes Service."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep

import redis

from events.testing.redis_server import EmbeddedRedis
from tests.faults.proxy import Proxy, proxied
from tests.support.site import free_port


class Node:
    """A Redis with a TCP port."""

    def __init__(self, directory: Path, **options: str) -> None:
        self.port = free_port()
        options = {"save": "", "appendonly": "no", "repl-diskless-sync-delay": "0", **options}
        self.server = EmbeddedRedis(directory, port=str(self.port), bind="127.0.0.1", **options)
        self.socket = directory / "redis.sock"
        self.client = redis.Redis(port=self.port)
        self.server.start()

    def stop(self) -> None:
        self.client.close()
        self.server.kill()
        shutil.rmtree(self.server.directory)


class FailoverPair:
    """Two Redis servers and a proxy to the one that is the primary."""

    def __init__(self, old: Node, new: Node, proxy: Proxy) -> None:
        self.old, self.new, self.proxy = old, new, proxy
        self.replicate(new, old)

    def replicate(self, replica: Node, primary: Node) -> None:
        """Make a node a replica, and wait until it has all data."""
        replica.client.replicaof("127.0.0.1", primary.port)
        while replica.client.info("replication")["master_link_status"] != "up":
            sleep(0.02)
        primary.client.set("barrier", "1")
        while not replica.client.get("barrier"):
            sleep(0.02)
        primary.client.delete("barrier")

    def stop_replication(self) -> None:
        """Make the replica a primary that receives no more data."""
        self.new.client.replicaof("NO", "ONE")

    def demote(self) -> None:
        """Make the primary a read-only replica; its connections stay open."""
        self.old.client.replicaof("127.0.0.1", self.new.port)

    def move(self) -> None:
        """Lead new connections to the new primary."""
        self.proxy.redirect(self.new.socket)

    def fail_over(self) -> None:
        self.stop_replication()
        self.move()
        self.demote()


@contextmanager
def failover_pair(directory: Path) -> Iterator[FailoverPair]:
    nodes = [Node(directory / name) for name in ("old", "new")]
    try:
        with proxied(nodes[0].socket) as proxy:
            yield FailoverPair(*nodes, proxy)
    finally:
        for node in nodes:
            node.stop()
