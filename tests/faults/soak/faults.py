"""Faults of the soak test, selected at random by a seed. Each takes some seconds."""

import os
import random
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import psycopg
import redis

from events.types import Cursor
from tests.faults.processes.world import Postgres
from tests.faults.soak.stage import Stage
from tests.support.disk import SmallDisk

_FREE_MEMORY_BYTES = 200_000
_MAX_PAUSE_SECONDS = 8.0  # longer than a connection attempt waits
_RECOVERY_SECONDS = 30.0
_OFFSETS = ("-1d", "+0d", "+1d")


@dataclass(frozen=True)
class Loss:
    """Redis lost the events of one job or all jobs that were appended after `since`.

    The loss ended at `until`. `archived` are the archive checkpoints just before it.
    """

    since: float
    until: float
    archived: Mapping[str, Cursor]
    job: str | None = None


class Faults:
    """Injects faults into a stage and records the losses of Redis."""

    def __init__(self, stage: Stage, rng: random.Random) -> None:
        self.stage, self.random = stage, rng
        self.losses: list[Loss] = []
        self.done: list[str] = []
        self._snapshot: float | None = None
        self._kinds: dict[str, tuple[int, Callable[[], None]]] = {
            "kill -9 a writer": (12, self.kill_writer),
            "kill -9 a publisher": (5, self.kill_publisher),
            "kill -9 a reader": (4, self.kill_reader),
            "kill -9 a processor": (14, self.kill_processor),
            "kill -9 Redis": (10, self.kill_redis),
            "SIGSTOP a writer": (7, self.stop_writer),
            "SIGSTOP a processor": (10, self.stop_processor),
            "SIGSTOP a reader": (5, self.stop_reader),
            "SIGSTOP the web server": (3, self.stop_web),
            "SIGSTOP Redis": (3, self.stop_redis),
            "FLUSHALL": (6, self.flush),
            "DEL a stream": (6, self.delete_stream),
            "roll Redis back": (10, self.roll_back),
            "CLIENT KILL": (8, self.kill_clients),
            "SCRIPT FLUSH": (4, self.flush_scripts),
            "no memory": (8, self.limit_memory),
            "paused database": (8, self.pause_database),
        }
        if stage.disks:
            self._kinds["full disk of Redis"] = (6, self.fill_disk_of_redis)
            self._kinds["full disk of the database"] = (6, self.fill_disk_of_database)
        if stage.clocks:
            self._kinds["clock jumps"] = (8, self.set_clock)
        if isinstance(stage.world.database, Postgres):
            self._kinds["kill -9 PostgreSQL"] = (8, self.kill_database)
            self._kinds["kill -9 a PostgreSQL backend"] = (6, self.kill_backend)
            self._kinds["pg_terminate_backend"] = (6, self.terminate_backends)
        self._order = self._kinds_in_order()

    def _kinds_in_order(self) -> Iterator[str]:
        """Yield the kinds of faults: each once, then by weight."""
        kinds = list(self._kinds)
        yield from self.random.sample(kinds, len(kinds))
        while True:
            yield from self.random.choices(kinds, [self._kinds[kind][0] for kind in kinds])

    def do_next(self) -> None:
        kind = next(self._order)
        self._kinds[kind][1]()
        self.done.append(kind)
        if self.random.random() < 0.4:
            self.take_snapshot()

    # Processes

    def kill_writer(self) -> None:
        self.random.choice(self.stage.writers).replace()

    def kill_publisher(self) -> None:
        self.random.choice(self.stage.publishers).replace()

    def kill_reader(self) -> None:
        self.random.choice(self.stage.restartable_readers).replace()

    def kill_processor(self) -> None:
        self.stage.replace_processor()

    def stop_writer(self) -> None:
        self._stop(self.random.choice(self.stage.writers).child.pid)

    def stop_reader(self) -> None:
        self._stop(self.random.choice(self.stage.readers).child.pid)

    def stop_processor(self) -> None:
        self._stop(self.random.choice(self.stage.servers[1:]).pid)

    def stop_web(self) -> None:
        self._stop(self.stage.servers[0].pid)

    def _stop(self, pid: int, longest: float = 2.0) -> None:
        os.kill(pid, signal.SIGSTOP)
        try:
            sleep(self.random.uniform(0.2, longest))
        finally:
            os.kill(pid, signal.SIGCONT)

    # Redis

    def kill_redis(self) -> None:
        self.stage.world.redis.kill()
        sleep(self.random.choice([0.0, 0.1, 0.5, 1.0]))
        self.stage.world.redis.start()

    def stop_redis(self) -> None:
        process = self.stage.world.redis.process
        if process is not None:
            self._stop(process.pid, 1.0)

    def flush(self) -> None:
        archived = self.stage.positions()
        with self._client() as client:
            client.flushall()
        self.losses.append(Loss(0.0, monotonic(), archived))

    def delete_stream(self) -> None:
        job, archived = self.random.choice(self.stage.jobs), self.stage.positions()
        with self._client() as client:
            client.delete(f"job_events:{job}")
        self.losses.append(Loss(0.0, monotonic(), archived, job))

    def take_snapshot(self) -> None:
        """Copy the append-only file. Redis only appends to it, so a partial copy is consistent."""
        shutil.rmtree(self._backup, ignore_errors=True)
        start = monotonic()
        with suppress(FileNotFoundError):
            shutil.copytree(self._live, self._backup)
            self._snapshot = start

    def roll_back(self) -> None:
        """Restart Redis from the snapshot."""
        if self._snapshot is None:
            self.take_snapshot()
            sleep(0.5)
        archived = self.stage.positions()
        self.stage.world.redis.kill()
        shutil.rmtree(self._live)
        shutil.copytree(self._backup, self._live)
        sleep(self.random.choice([0.0, 0.3]))
        self.stage.world.redis.start()
        self.losses.append(Loss(self._snapshot or 0.0, monotonic(), archived))

    @property
    def _live(self) -> Path:
        return self.stage.world.redis.directory / "appendonlydir"

    @property
    def _backup(self) -> Path:
        return self.stage.directory / "snapshot"

    def kill_clients(self) -> None:
        for _ in range(3):
            with self._client() as client:
                client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            sleep(0.05)

    def flush_scripts(self) -> None:
        with self._client() as client:
            client.script_flush()

    def limit_memory(self) -> None:
        """Let Redis refuse all writes for a moment, or those that exceed a little memory."""
        with self._client() as client:
            used = client.info("memory")["used_memory"]
            limit, longest = self.random.choice([(1, 1.0), (used + _FREE_MEMORY_BYTES, 5.0)])
            client.config_set("maxmemory", limit)
            try:
                sleep(self.random.uniform(0.1, longest))
            finally:
                client.config_set("maxmemory", 0)

    def fill_disk_of_redis(self) -> None:
        self._fill(self.stage.disks[0])
        with self._client() as client:
            # Until then it lacks writes that it has acknowledged.
            self._wait(lambda: client.info("persistence")["aof_last_write_status"] == "ok")

    def fill_disk_of_database(self) -> None:
        self._fill(self.stage.disks[1])
        self.stage.world.restore()  # PostgreSQL ends if it cannot write the WAL
        if isinstance(self.stage.world.database, Postgres):
            self._server.wait()

    def _fill(self, disk: SmallDisk) -> None:
        disk.fill()
        try:
            sleep(self.random.uniform(0.5, 4.0))
        finally:
            disk.free()

    def _wait(self, condition: Callable[[], bool]) -> None:
        deadline = monotonic() + _RECOVERY_SECONDS
        while not condition():
            if monotonic() > deadline:
                raise TimeoutError(f"no recovery in {_RECOVERY_SECONDS} s")
            sleep(0.1)

    def _client(self) -> redis.Redis:
        return self.stage.world.client()

    # Databases

    def pause_database(self) -> None:
        with self.stage.world.database.paused():
            sleep(self.random.uniform(0.5, _MAX_PAUSE_SECONDS))

    def set_clock(self) -> None:
        self.random.choice(self.stage.clocks).set(self.random.choice(_OFFSETS))

    def kill_database(self) -> None:
        self._server.kill()
        sleep(self.random.choice([0.0, 0.5]))
        self._server.restart()

    def kill_backend(self) -> None:
        """Kill one backend: the postmaster terminates the others and recovers."""
        with suppress(ProcessLookupError, psycopg.Error):
            os.kill(self.random.choice(self._backends()), signal.SIGKILL)
        sleep(0.2)
        self._server.wait()

    def terminate_backends(self) -> None:
        with psycopg.connect(self.stage.world.database.url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            )

    def _backends(self) -> list[int]:
        with psycopg.connect(self.stage.world.database.url, autocommit=True) as connection:
            rows = connection.execute(
                "SELECT pid FROM pg_stat_activity"
                " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            )
            return [pid for (pid,) in rows]

    @property
    def _server(self) -> Any:
        return self.stage.world.database.server
