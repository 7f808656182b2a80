"""The site under test: a world and its processes, which are restarted when they are killed."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from events.integrations.uvicorn import OPTIONS
from events.types import Cursor
from tests.faults.processes.forks import Child
from tests.faults.processes.world import World
from tests.support.site import ROOT, free_port, wait_for_port

WORKERS = "tests.faults.soak.workers"
WRITERS, PUBLISHERS, JOBS, PROCESSORS = 4, 2, 8, 2


@dataclass
class Worker:
    """A child process and the arguments to restart it."""

    role: str
    notes: Path
    arguments: dict[str, Any]
    child: Child
    generation: int = 0


class Tally:
    """Counts the events that the writers committed, by reading the new lines of their notes."""

    def __init__(self) -> None:
        self.committed = 0
        self._read: dict[Path, int] = {}

    def add(self, notes: Path) -> None:
        self._read[notes] = 0

    def read(self) -> int:
        for path, start in self._read.items():
            with path.open("rb") as file:
                file.seek(start)
                lines = file.read().rpartition(b"\n")[0]
            self._read[path] += len(lines) + bool(lines)
            for line in lines.splitlines():
                self.committed += len(json.loads(line)["events"]) if b'"committed"' in line else 0
        return self.committed


@dataclass
class Stage:
    """Writers, publishers, readers, processors and a web server."""

    world: World
    directory: Path
    seed: int
    writers: list[Worker] = field(default_factory=list)
    publishers: list[Worker] = field(default_factory=list)
    readers: list[Worker] = field(default_factory=list)
    processors: list[subprocess.Popen[bytes]] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)

    @property
    def jobs(self) -> list[str]:
        return [f"job-{number}" for number in range(JOBS)]

    @property
    def restartable_readers(self) -> list[Worker]:
        """All readers except those that stay connected from start to end."""
        return [reader for reader in self.readers if "connected" not in reader.notes.name]

    def start(self) -> None:
        session = self._child("prepare", jobs=self.jobs).wait_for("session")
        self._port = free_port()
        command = ("-m", "uvicorn", "config.asgi:application", "--port", str(self._port))
        self._web = self._spawn("web", *command, *OPTIONS, "--log-level", "error")
        self.processors = [self._processor() for _ in range(PROCESSORS)]
        wait_for_port(self._port, self._web)
        url = f"http://127.0.0.1:{self._port}"
        self.readers = [
            self._worker("follow_all", "reader-connected", jobs=self.jobs),
            self._worker("follow_all", "reader-resuming", jobs=self.jobs),
            self._worker("subscribe_all", "reader-sse", jobs=self.jobs, url=url, session=session),
            self._worker("read_all", "reader-history", jobs=self.jobs),
        ]
        for number in range(WRITERS):
            job = self.jobs[number]
            self.writers.append(
                self._worker(
                    "write", f"writer-{number}", jobs=self.jobs, own=job,
                    name=f"w{number}", seed=self.seed + number,
                )
            )  # fmt: skip
        for writer in self.writers:
            self.tally.add(writer.notes)
        for number in range(PUBLISHERS):
            self.publishers.append(
                self._worker(
                    "publish", f"publisher-{number}", jobs=self.jobs,
                    name=f"p{number}", seed=self.seed + 100 + number,
                )
            )  # fmt: skip

    def _child(self, role: str, **arguments: Any) -> Child:
        return self.world.forks.run(f"{WORKERS}:{role}", **arguments)

    def _worker(self, role: str, file: str, **arguments: Any) -> Worker:
        notes = self.directory / f"{file}.notes"
        notes.touch()
        child = self._child(role, notes=str(notes), **arguments)
        return Worker(role, notes, arguments, child)

    def replace(self, worker: Worker) -> None:
        """Kill a worker and start another one that continues its work."""
        worker.child.kill()
        worker.generation += 1
        arguments = dict(worker.arguments)
        if "name" in arguments:
            arguments["name"] += f"g{worker.generation}"
            arguments["seed"] += 1000 * worker.generation
        worker.child = self._child(worker.role, notes=str(worker.notes), **arguments)

    def _processor(self) -> subprocess.Popen[bytes]:
        return self._spawn("processor", "manage.py", "process_events")

    def replace_processor(self, index: int) -> None:
        os.killpg(self.processors[index].pid, signal.SIGKILL)
        self.processors[index].wait()
        self.processors[index] = self._processor()

    def _spawn(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.directory / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, *arguments],
                cwd=ROOT,
                env={**os.environ, **self.world.environment},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def check(self) -> None:
        """Raise if a process has exited that was not killed by a fault."""
        for worker in [*self.writers, *self.publishers, *self.readers]:
            if worker.child.has_exited():
                raise RuntimeError(f"{worker.notes.name} ended: {self.world.forks.log()[-3000:]}")
        for index, processor in enumerate(self.processors):
            if processor.poll() is not None:
                raise RuntimeError(f"processor {index} ended with {processor.returncode}")

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
        processes = [*self.processors, self._web] if hasattr(self, "_web") else self.processors
        for process in processes:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.world.stop()
