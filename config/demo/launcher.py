"""The demo: Redis, process_events, a web server and a Celery worker as children of one process.

States: *starting* (one part after the other, each waited for) -> *running* (until a child dies or
somebody stops it) -> *stopping* (in the reverse order). Whatever happens, every child that was
started is stopped: they stand on one exit stack.
"""

import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from types import FrameType

from config.environment import BASE_DIR, LOCAL_DIR
from events.streams.clients import answers
from events.testing.redis_server import EmbeddedRedis

_START_SECONDS = 60.0
_STOP_SECONDS = 10.0


class DemoError(Exception):
    """A part of the demo did not start, or died; the message says which and what to do."""


class Stopped(Exception):
    """Somebody asked the demo to stop."""


@dataclass(slots=True)
class Child:
    """One process of the demo, its output in a log file."""

    name: str
    arguments: list[str]
    log: Path
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            # In a session of its own: Ctrl-C reaches the demo alone, which stops them in order.
            self.process = subprocess.Popen(
                [sys.executable, *self.arguments],
                cwd=BASE_DIR,
                env={**os.environ, **self.environment},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def stop(self) -> None:
        if self.process is None:
            return
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(_STOP_SECONDS)
        # Its own children, too: a worker that did not end in time has a pool of them.
        self._kill_group(self.process.pid)
        self.process.wait()

    @staticmethod
    def _kill_group(pid: int) -> None:
        try:
            os.killpg(pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    def check(self) -> None:
        """Raise DemoError if the process has died."""
        if self.process is not None and self.process.poll() is not None:
            tail = self.log.read_text(errors="replace")[-1500:]
            raise DemoError(
                f"The {self.name} died (exit code {self.process.returncode}). Its log,"
                f" {self.log}, ends:\n\n{tail}\nMend that, and run it again."
            )


def check_environment() -> None:
    """Raise DemoError if the demo would work in somebody's database."""
    if os.environ.get("DATABASE_URL"):
        raise DemoError(
            "DATABASE_URL is set, and the demo makes a user demo / demo and gives up jobs that"
            " seem to run. Unset it for the demo's own database, or run uvicorn and celery"
            " yourself: docs/how-to.md, Deploy."
        )


def check_port(port: int) -> None:
    """Raise DemoError if the port cannot be listened on."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            raise DemoError(
                f"Port {port} cannot be used ({error}). Take another: make demo PORT={port + 1}"
            ) from error


def start_redis(stack: ExitStack) -> None:
    """Start the embedded Redis, or see that the one of REDIS_URL answers."""
    url = os.environ.get("REDIS_URL")
    if not url:
        redis = EmbeddedRedis(LOCAL_DIR / "redis")
        stack.callback(redis.stop)
        redis.start()
    elif not answers(url):
        raise DemoError(
            f"No Redis answers at REDIS_URL={url}. Start it, or unset REDIS_URL to get one."
        )


def children(port: int) -> list[Child]:
    """What processes the log, which is stopped last, the web server and the worker."""
    logs = LOCAL_DIR / "log"
    environment = {"JOB_EVENTS_DEMO": "1"}
    web = [
        "-m", "uvicorn", "config.asgi:application", "--port", str(port), "--no-access-log",
        "--timeout-graceful-shutdown", "2",
    ]  # fmt: skip
    worker = ["-m", "celery", "-A", "config", "worker", "--concurrency", "2", "--loglevel", "INFO"]
    processor = ["manage.py", "process_events"]
    return [
        Child("event processor", processor, logs / "process_events.log", environment),
        Child("web server", web, logs / "web.log", environment),
        Child("Celery worker", worker, logs / "worker.log", environment),
    ]


def wait_for_web(port: int, started: list[Child]) -> None:
    """Wait until the web server takes connections, and all children live."""
    deadline = monotonic() + _START_SECONDS
    while not _listens(port):
        for child in started:
            child.check()
        if monotonic() > deadline:
            raise DemoError(f"The web server did not answer within {_START_SECONDS:.0f} s.")
        sleep(0.1)


def _listens(port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex(("127.0.0.1", port)) == 0


def watch(started: list[Child]) -> None:
    """Return never: raise DemoError when a child dies, Stopped when somebody stops the demo."""
    while True:
        for child in started:
            child.check()
        sleep(0.5)


def stop_on_signals() -> None:
    """Let Ctrl-C, `kill` and a closed terminal raise Stopped, once."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _raise_stopped)


def _raise_stopped(_number: int, _frame: FrameType | None) -> None:
    # A second Ctrl-C must not interrupt the stopping, which leaves no process behind.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    raise Stopped
