"""Process launcher of the demo: Redis, the web server, a Celery worker and `process_events`.

Each child runs in its own session with its output in a log file. An exit stack stops the children
in reverse order.
"""

import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from time import monotonic, sleep

from config.environment import BASE_DIR, LOCAL_DIR
from events.integrations.uvicorn import OPTIONS

START_TIMEOUT_SECONDS = 60.0
STOP_TIMEOUT_SECONDS = 10.0
POLL_SECONDS = 0.2
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_received: list[int] = []

# Started in this order, stopped in the reverse order: `process_events` archives until the end.
COMMANDS = {
    "event processor": "manage.py process_events",
    "web server": "-m uvicorn config.asgi:application --port {port} --no-access-log"
    f" --timeout-graceful-shutdown 2 {' '.join(OPTIONS)}",
    "Celery worker": "-m celery -A config worker --concurrency 2 --loglevel INFO",
}


class DemoError(Exception):
    """A part of the demo did not start, or exited. The message names it and the remedy."""


class DemoStopped(Exception):
    """The demo received SIGINT, SIGTERM or SIGHUP."""


class Child:
    """A child process."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.log = LOCAL_DIR / "log" / f"{name.replace(' ', '_')}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, command: str) -> None:
        """Start Python with the arguments."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            # Own session: Ctrl-C reaches the parent only, which stops the children in order.
            self.process = subprocess.Popen(
                [sys.executable, *command.split()],
                cwd=BASE_DIR,
                env={**os.environ, "JOB_EVENTS_DEMO": "1"},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def check(self) -> None:
        """Raise DemoError if the process has exited."""
        if self.process is not None and self.process.poll() is not None:
            tail = self.log.read_text(errors="replace")[-1500:]
            raise DemoError(
                f"The {self.name} exited with code {self.process.returncode}. End of its log"
                f" {self.log}:\n\n{tail}"
            )

    def stop(self) -> None:
        """Terminate the process, then kill what is left of its process group."""
        if self.process is None:
            return
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_TIMEOUT_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def check_port(port: int) -> None:
    """Raise DemoError if the port cannot be bound."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            raise DemoError(
                f"Port {port} cannot be used ({error}). Choose another: make demo PORT={port + 1}"
            ) from error


def start_children(stack: ExitStack, port: int) -> list[Child]:
    """Start the children and wait until the web server accepts connections."""
    children = []
    for name, command in COMMANDS.items():
        child = Child(name)
        stack.callback(child.stop)
        check_stopped()
        child.start(command.format(port=port))
        children.append(child)
    deadline = monotonic() + START_TIMEOUT_SECONDS
    while not _accepts_connections(port):
        check_children(children)
        if monotonic() > deadline:
            raise DemoError(f"The web server did not start in {START_TIMEOUT_SECONDS:.0f} s.")
    return children


def check_children(children: list[Child]) -> None:
    """Wait POLL_SECONDS; raise DemoStopped after a signal, DemoError if a child has exited."""
    sleep(POLL_SECONDS)
    check_stopped()
    for child in children:
        child.check()


def handle_signals() -> None:
    """Let SIGINT, SIGTERM and SIGHUP stop the demo at the next `check_stopped`.

    A handler that raises could interrupt `Popen` after the process has started.
    """
    for number in _SIGNALS:
        signal.signal(number, lambda number, _frame: _received.append(number))


def check_stopped() -> None:
    """Raise DemoStopped if a signal was received."""
    if _received:
        raise DemoStopped


def _accepts_connections(port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex(("127.0.0.1", port)) == 0
