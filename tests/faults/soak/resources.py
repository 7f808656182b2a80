"""Memory and connections of the processes that survive the soak test, at its checkpoints."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median
from time import sleep

import psycopg

from tests.faults.processes.world import Postgres, World
from tests.faults.soak.stage import Stage

MAX_DIFFERENCE = 0.05
# Clients connect again, unread connections are aborted, and rings of quiet logs are released.
_SETTLE_SECONDS = 12.0
# Longer than SEND_TIMEOUT, after which clients that do not read are aborted and connect again.
_SAMPLES, _SAMPLE_SECONDS = 60, 0.5
_BACKENDS = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
)

# Values by name, each the median of some samples.
Checkpoint = dict[str, float]
# Not compared: these include the clients in processes that faults kill.
_ALL_CLIENTS = "all clients of Redis and the database"


def take_checkpoint(stage: Stage) -> Checkpoint:
    """Measure while all clients are connected, nothing is written, and no fault happens."""
    samples = []
    with stage.paused_writing():
        stage.reconnect()
        sleep(_SETTLE_SECONDS)
        for _ in range(_SAMPLES):
            samples.append(dict(_measure(stage)))
            sleep(_SAMPLE_SECONDS)
    return {name: median(sample[name] for sample in samples) for name in samples[0]}


def _measure(stage: Stage) -> Iterator[tuple[str, float]]:
    for name, pid in stage.survivors.items():
        yield f"{name} MiB", memory_of(pid) / 2**20
    yield "connections", sum(map(connections_of, stage.survivors.values()))
    yield _ALL_CLIENTS, clients_of(stage.world)


def clients_of(world: World) -> int:
    """Return the number of clients of Redis and PostgreSQL."""
    with world.client() as client:
        count = len(client.client_list()) - 1
    if isinstance(world.database, Postgres):
        with psycopg.connect(world.database.url, autocommit=True) as connection:
            count += connection.execute(_BACKENDS).fetchone()[0]
    return count


def memory_of(pid: int) -> int:
    """Return the resident memory of a process in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024


def connections_of(pid: int) -> int:
    """Return the number of sockets and SQLite connections of a process."""
    count = 0
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            target = os.readlink(link)
            # SQLite keeps files of closed connections open, but not those of the WAL.
            count += target.startswith("socket:") or target.endswith(".sqlite3-wal")
    return count


def differences(checkpoints: Sequence[Checkpoint]) -> dict[str, float]:
    """Return by how much the highest value of each name exceeds the lowest, as a fraction.

    The first checkpoint is the end of the warm-up.
    """
    found = {}
    for name in checkpoints[0].keys() - {_ALL_CLIENTS}:
        values = [checkpoint[name] for checkpoint in checkpoints[1:]]
        found[name] = max(values) / min(values) - 1.0 if values else 0.0
    return found
