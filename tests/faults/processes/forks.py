"""Child processes that start quickly: forked from a server process that has Django loaded.

`ForkServer` starts `python -m tests.faults.processes.forks` with its own environment. `run` forks a
child of it, which calls a function `module:name` and exchanges lines of JSON with the test.
"""

import ctypes
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from tests.support.site import ROOT

TIMEOUT_SECONDS = 30.0
_PR_SET_PDEATHSIG = 1

Message = dict[str, Any]


class ChildDied(Exception):
    """The child exited before it sent the awaited message."""


class Lines:
    """JSON messages, one per line, over a socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._buffer = b""

    def send(self, **message: Any) -> None:
        self._socket.sendall(json.dumps(message).encode() + b"\n")

    def receive(self, seconds: float | None = None) -> Message | None:
        """Return the next message, or None at the end of the stream. Raise TimeoutError."""
        deadline = None if seconds is None else monotonic() + seconds
        while b"\n" not in self._buffer:
            left = None if deadline is None else max(deadline - monotonic(), 0.0)
            if not select.select([self._socket], [], [], left)[0]:
                raise TimeoutError("no message from the child")
            try:
                received = self._socket.recv(1 << 20)
            except ConnectionResetError:
                received = b""
            if not received:
                return None
            self._buffer += received
        line, _, self._buffer = self._buffer.partition(b"\n")
        message: Message = json.loads(line)
        return message

    def close(self) -> None:
        self._socket.close()


class Child:
    """Handle of a child process of the fork server."""

    def __init__(self, lines: Lines) -> None:
        self.messages: list[Message] = []
        self._lines = lines
        self._exited = False
        hello = self.receive()
        self.pid: int = hello["pid"]

    def receive(self, seconds: float = TIMEOUT_SECONDS) -> Message:
        """Return the next message; raise an error that the child reports."""
        message = self._lines.receive(seconds)
        if message is None:
            self._exited = True
            raise ChildDied(f"after {self.messages[-1:]}")
        if "error" in message:
            raise RuntimeError(f"in the child:\n{message['error']}")
        self.messages.append(message)
        return message

    def wait_for(self, key: str, seconds: float = TIMEOUT_SECONDS) -> Any:
        """Receive messages until one has the key; return its value."""
        while True:
            message = self.receive(seconds)
            if key in message:
                return message[key]

    def proceed(self, **message: Any) -> None:
        self._lines.send(**message)

    def kill(self) -> None:
        if not self._exited:
            os.kill(self.pid, signal.SIGKILL)
            self._wait()

    def pause(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def join(self, seconds: float = TIMEOUT_SECONDS) -> list[Message]:
        """Wait for the exit of the child; return all of its messages."""
        while not self._exited:
            try:
                self.receive(seconds)
            except ChildDied:
                break
        return self.messages

    def has_exited(self) -> bool:
        """Return whether the child has exited; raise an error that it reports."""
        while not self._exited:
            try:
                self.receive(0)
            except TimeoutError:
                return False
            except ChildDied:
                break
        return True

    def values_of(self, key: str) -> list[Any]:
        return [message[key] for message in self.messages if key in message]

    def _wait(self) -> None:
        """Read the remaining messages: the socket is closed when the process exits."""
        while not self._exited:
            message = self._lines.receive(TIMEOUT_SECONDS)
            self._exited = message is None
            if message:
                self.messages.append(message)

    def close(self) -> None:
        self.kill()
        self._lines.close()


class ForkServer:
    """Starts children that share an environment; `stop` kills them."""

    def __init__(self, directory: Path, environment: Mapping[str, str], preload: str) -> None:
        self._path = directory / "forks.sock"
        self._log = directory / "forks.log"
        self._children: list[Child] = []
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.processes.forks", self._path, preload],
                cwd=ROOT,
                env={**os.environ, **environment},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._connect().close()

    def run(self, role: str, **arguments: Any) -> Child:
        connection = self._connect()
        lines = Lines(connection)
        lines.send(role=role, arguments=arguments)
        child = Child(lines)
        self._children.append(child)
        return child

    def kill_children(self) -> None:
        while self._children:
            self._children.pop().close()

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def stop(self) -> None:
        try:
            self.kill_children()
        finally:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _connect(self) -> socket.socket:
        deadline = monotonic() + TIMEOUT_SECONDS
        while True:
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(str(self._path))
            except OSError:
                connection.close()
                if self._process.poll() is not None or monotonic() > deadline:
                    raise RuntimeError(f"no fork server: {self.log()[-2000:]}") from None
                sleep(0.02)
            else:
                return connection


def die_with_parent() -> None:
    """Kill this process when its parent exits (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _serve(path: str) -> None:
    # Dead children are not reaped: their pids stay reserved, and `kill` hits no other process.
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _run_child(connection)
        connection.close()


def _run_child(connection: socket.socket) -> None:
    status = 1
    try:
        die_with_parent()
        lines = Lines(connection)
        request = lines.receive()
        if request is not None:
            lines.send(pid=os.getpid())
            _call_role(lines, request)
            status = 0
    finally:
        os._exit(status)


def _call_role(lines: Lines, request: Message) -> None:
    module, _, name = request["role"].partition(":")
    try:
        getattr(importlib.import_module(module), name)(lines, **request["arguments"])
    except Exception:  # noqa: BLE001 - sent to the parent
        traceback.print_exc()
        sys.stderr.flush()
        lines.send(error=traceback.format_exc())


def main() -> None:
    die_with_parent()
    import django

    django.setup()
    importlib.import_module(sys.argv[2])
    _serve(sys.argv[1])


if __name__ == "__main__":
    main()
