"""A Redis and its replica behind one address, as behind a load balancer or a Kubernetes Service."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.proxy import Proxy, proxied
from tests.support.redis_nodes import Node, nodes


class FailoverPair:
    """Two Redis servers and a proxy to the one that is the primary."""

    def __init__(self, old: Node, new: Node, proxy: Proxy) -> None:
        self.old, self.new, self.proxy = old, new, proxy
        new.replicate(old)

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
    with nodes(directory, 2) as (old, new), proxied(old.socket) as proxy:
        yield FailoverPair(old, new, proxy)
