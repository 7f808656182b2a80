"""The site under test: a world and its processes, which are restarted when they are killed."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from bench.sockets import request_of
from events.integrations.uvicorn import OPTIONS
from events.types import Cursor
from tests.faults.processes.forks import Child, ForkServer
from tests.faults.processes.world import World
from tests.faults.soak.notes import PAUSE
from tests.support.clocks import SkewedClock
from tests.support.disk import SmallDisk
from tests.support.site import ROOT, free_port, wait_for_port

WORKERS = "tests.faults.soak.workers"
ENVIRONMENT = {
    "DJANGO_SETTINGS_MODULE": "tests.faults.soak.settings",
    # Otherwise each thread keeps memory that it has freed, and the heap more after large blocks.
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_TRIM_THRESHOLD_": "131072",
    "MALLOC_MMAP_THRESHOLD_": "131072",
}
WRITERS, PUBLISHERS, JOBS, PROCESSORS = 4, 2, 8, 2
UNREAD_JOBS = 2
CROWD, RECONNECT_SECONDS = 100, 3.0  # less than REDIS_TIMEOUT


@dataclass
class Worker:
    """A child process and the arguments to restart it."""

    role: str
    notes: Path
    forks: ForkServer
    arguments: dict[str, Any]
    generation: int = 0

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        arguments = dict(self.arguments)
        if self.generation and "name" in arguments:
            arguments["name"] += f"g{self.generation}"
            arguments["seed"] += 1000 * self.generation
        role = f"{WORKERS}:{self.role}"
        self.child = self.forks.run(role, notes=str(self.notes), **arguments)
        self.generation += 1

    def replace(self) -> None:
        """Kill the process and start another one that continues its work."""
        self.child.kill()
        self.start()


@dataclass
class Stage:
    """Writers, publishers, readers, processors and a web server.

    The first processor and half of the writers and publishers have the clocks of `clocks`, if any.
    `disks` are those of Redis and of the database, if they can be mounted.
    """

    world: World
    directory: Path
    seed: int
    clocks: Sequence[SkewedClock] = ()
    disks: Sequence[SmallDisk] = ()
    writers: list[Worker] = field(default_factory=list)
    publishers: list[Worker] = field(default_factory=list)
    readers: list[Worker] = field(default_factory=list)
    servers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _skewed: ForkServer | None = None

    @property
    def jobs(self) -> list[str]:
        return [f"job-{number}" for number in range(JOBS)]

    @property
    def restartable_readers(self) -> list[Worker]:
        """All readers except the first, which stays connected from start to end."""
        return self.readers[1:]

    @property
    def survivors(self) -> dict[str, int]:
        """The pids of the processes that no fault kills."""
        pids = {"web": self.servers[0].pid, "processor": self.servers[1].pid}
        return {**pids, "follower": self.readers[0].child.pid}

    def start(self) -> None:
        self._session = self._child("prepare", jobs=self.jobs).wait_for("session")
        self._port = free_port()
        command = ("-m", "uvicorn", "config.asgi:application", "--port", str(self._port))
        self.servers.append(self._spawn("web", *command, *OPTIONS, "--log-level", "error"))
        for index in range(PROCESSORS):
            self.servers.append(self._processor(index))
        wait_for_port(self._port, self.servers[0])
        self._start_readers(url=f"http://127.0.0.1:{self._port}", session=self._session)
        self._start_writing()

    def _start_readers(self, **site: str) -> None:
        for role, name, more in (
            ("follow_all", "reader-connected", {}),
            ("follow_all", "reader-resuming", {}),
            ("subscribe_all", "reader-sockets", {**site, "transports": ["sse", "websocket"]}),
            ("subscribe_all", "reader-polls", {**site, "transports": ["poll"]}),
            ("read_all", "reader-history", {}),
            ("never_read", "unread", {**site, "jobs": self.jobs[:UNREAD_JOBS]}),
        ):
            self.readers.append(self._worker(role, name, self.world.forks, **more))

    def _start_writing(self) -> None:
        forks = [self.world.forks, self._skewed_forks()]
        for number in range(WRITERS):
            arguments = {"name": f"w{number}", "seed": self.seed + number, "own": self.jobs[number]}
            name = f"writer-{number}"
            self.writers.append(self._worker("write", name, forks[number % 2], **arguments))
        for number in range(PUBLISHERS):
            arguments = {"name": f"p{number}", "seed": self.seed + 100 + number}
            name = f"publisher-{number}"
            self.publishers.append(self._worker("publish", name, forks[number % 2], **arguments))

    def _skewed_forks(self) -> ForkServer:
        """Return a fork server whose children have the second clock, if there is one."""
        if not self.clocks:
            return self.world.forks
        directory = self.directory / "skewed"
        directory.mkdir()
        environment = {**self.world.environment, **self.clocks[1].environment}
        self._skewed = ForkServer(directory, environment, WORKERS)
        return self._skewed

    def _child(self, role: str, **arguments: Any) -> Child:
        return self.world.forks.run(f"{WORKERS}:{role}", **arguments)

    def _worker(self, role: str, file: str, forks: ForkServer, **arguments: Any) -> Worker:
        notes = self.directory / f"{file}.notes"
        notes.touch()
        return Worker(role, notes, forks, {"jobs": self.jobs, **arguments})

    def _processor(self, index: int) -> subprocess.Popen[bytes]:
        clock = self.clocks[0].environment if self.clocks and index == 0 else {}
        return self._spawn("processor", "manage.py", "process_events", **clock)

    def replace_processor(self) -> None:
        """Kill another processor than the first, and start a new one."""
        os.killpg(self.servers[-1].pid, signal.SIGKILL)
        self.servers.pop().wait()
        self.servers.append(self._processor(PROCESSORS - 1))

    def _spawn(self, name: str, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        with (self.directory / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, *arguments],
                cwd=ROOT,
                env={**os.environ, **self.world.environment, **environment},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @contextmanager
    def paused_writing(self) -> Iterator[None]:
        """Pause all writers and publishers after what they are writing."""
        pause = self.directory / PAUSE
        pause.touch()
        try:
            yield
        finally:
            pause.unlink()

    def reconnect(self) -> None:
        """Connect all clients, and a crowd for some seconds, while Redis is paused.

        All wait for Redis at the same time. Pools of connections have the same size after that.
        """
        for reader in self.restartable_readers:
            reader.child.kill()
        job, position = next(iter(self.positions().items()))
        path = f"api/jobs/{job}/events/stream/?after={position}"
        request = request_of(path, f"Cookie: sessionid={self._session}")
        with ExitStack() as crowd, self._paused_redis():
            for _ in range(CROWD):
                client = socket.create_connection(("127.0.0.1", self._port))
                crowd.enter_context(client).sendall(request)
            for reader in self.restartable_readers:
                reader.start()
            sleep(RECONNECT_SECONDS)

    @contextmanager
    def _paused_redis(self) -> Iterator[None]:
        process: Any = self.world.redis.process
        process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)

    def check(self) -> None:
        """Raise if a process has exited that was not killed by a fault."""
        for worker in [*self.writers, *self.publishers, *self.readers]:
            if worker.child.has_exited():
                raise RuntimeError(f"{worker.notes.name} ended: {worker.forks.log()[-3000:]}")
        for server in self.servers:
            if server.poll() is not None:
                raise RuntimeError(f"{server.args} ended with {server.returncode}")

    def stop_writing(self) -> None:
        for worker in [*self.writers, *self.publishers]:
            worker.child.proceed()
        for worker in [*self.writers, *self.publishers]:
            worker.child.join()

    def stop_reading(self) -> None:
        for worker in self.readers:
            worker.child.proceed()
            worker.child.join()

    def wait_until_idle(self, seconds: float) -> None:
        """Wait until the processors have nothing to do."""
        deadline = monotonic() + seconds
        idle = 0
        while idle < 3:
            pending = self._child("is_idle").wait_for("pending")
            idle = 0 if pending else idle + 1
            if monotonic() > deadline:
                raise TimeoutError(f"{pending} events are pending after {seconds} s")
            sleep(0.3)

    def positions(self) -> dict[str, Cursor]:
        """Return the archive checkpoint of each log."""
        positions = self._child("send_positions").wait_for("positions")
        return {job: Cursor.parse(position) for job, position in positions.items()}

    def write_logs(self) -> tuple[Path, dict[str, int]]:
        path = self.directory / "logs"
        child = self._child("write_logs", path=str(path), jobs=self.jobs)
        return path, child.wait_for("sequences", 120)

    def stop(self) -> None:
        with ExitStack() as stack:
            for disk in self.disks:
                stack.callback(disk.unmount)
            stack.callback(self.world.stop)
            if self._skewed:
                stack.callback(self._skewed.stop)
            for server in self.servers:
                with suppress(ProcessLookupError):
                    os.killpg(server.pid, signal.SIGKILL)
                server.wait()
