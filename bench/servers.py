"""Servers under measurement, pinned to a CPU core of their own if there are at least two."""

import os
import socket
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from events.integrations.uvicorn import OPTIONS


@dataclass(frozen=True, slots=True)
class Server:
    port: int
    pid: int


def reserve_core() -> Collection[int]:
    """Exclude one core from this process and its future children; return it, if there are two."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(cores) < 2:
        return ()
    os.sched_setaffinity(0, cores[1:])
    return cores[:1]


def pin_to_cores(cores: Collection[int], pid: int = 0) -> None:
    """Restrict a newly started process, or this one (0), to these cores; do nothing if empty."""
    if cores:
        os.sched_setaffinity(pid, cores)


@contextmanager
def run_server(
    application: str, environment: Mapping[str, str], cores: Collection[int] = ()
) -> Iterator[Server]:
    """Run uvicorn with an ASGI application, configured by environment variables."""
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        process = subprocess.Popen(
            [
                sys.executable, "-m", "uvicorn", application,
                "--fd", str(listener.fileno()), "--log-level", "error", *OPTIONS,
            ],
            env={**os.environ, **environment},
            pass_fds=[listener.fileno()],
        )  # fmt: skip
        try:
            pin_to_cores(cores, process.pid)
            yield Server(listener.getsockname()[1], process.pid)
        finally:
            process.kill()  # SIGTERM would wait for open connections
            process.wait()


@contextmanager
def run_fanout_site(url: str, directory: str, cores: Collection[int] = ()) -> Iterator[Server]:
    """Migrate the database of `bench.fanout_site` and run its server."""
    environment = {"REDIS_URL": url, "DATABASE": f"{directory}/db"}
    migrate = (
        "from django.core.management import call_command as call; call('migrate', verbosity=0)"
    )
    subprocess.run(
        [sys.executable, "-c", f"import bench.fanout_site; {migrate}"],
        env={**os.environ, **environment},
        check=True,
    )
    with run_server("bench.fanout_site:application", environment, cores) as server:
        yield server
