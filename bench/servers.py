"""A server for a benchmark, on a core that it has to itself if there are two."""

import os
import socket
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Server:
    port: int
    pid: int


def leave_a_core() -> Collection[int]:
    """Keep this process, and what it starts, off a core; that core, or nothing if there is one."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(cores) < 2:
        return ()
    os.sched_setaffinity(0, cores[1:])
    return cores[:1]


def keep_on(cores: Collection[int], pid: int = 0) -> None:
    """Let a process that has just begun, or this one, run on these cores only."""
    if cores:
        os.sched_setaffinity(pid, cores)


@contextmanager
def serving(
    application: str, environment: Mapping[str, str], cores: Collection[int] = ()
) -> Iterator[Server]:
    """A server that is gone afterwards, of an ASGI application that is made by `environment`."""
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listening:
        process = subprocess.Popen(
            [
                sys.executable, "-m", "uvicorn", application,
                "--fd", str(listening.fileno()), "--log-level", "error",
            ],
            env={**os.environ, **environment},
            pass_fds=[listening.fileno()],
        )  # fmt: skip
        try:
            keep_on(cores, process.pid)
            yield Server(listening.getsockname()[1], process.pid)
        finally:
            process.kill()  # it would wait for viewers
            process.wait()


@contextmanager
def fanout_site(url: str, directory: str, cores: Collection[int] = ()) -> Iterator[Server]:
    """The server that is `bench.fanout_site`."""
    environment = {"REDIS_URL": url, "DATABASE": f"{directory}/db"}
    migrate = (
        "from django.core.management import call_command as call; call('migrate', verbosity=0)"
    )
    subprocess.run(
        [sys.executable, "-c", f"import bench.fanout_site; {migrate}"],
        env={**os.environ, **environment},
        check=True,
    )
    with serving("bench.fanout_site:application", environment, cores) as server:
        yield server
