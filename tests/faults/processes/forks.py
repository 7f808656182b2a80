"""Child processes that are there in a moment: forked from one that has Django loaded.

`ForkServer` starts `python -m tests.faults.processes.forks` with an environment of its own; each
`run` forks a child of it, which runs a function `module:name` and talks to us by lines of JSON.
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

PATIENCE = 30.0
_PR_SET_PDEATHSIG = 1

Message = dict[str, Any]


class ChildDied(Exception):
    """The child ended before it said what we wait for."""


class Lines:
    """Lines of JSON over a socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._buffer = b""

    def say(self, **message: Any) -> None:
        self._socket.sendall(json.dumps(message).encode() + b"\n")

    def hear(self, seconds: float | None = None) -> Message | None:
        """The next message; None at the end. Raises TimeoutError."""
        deadline = None if seconds is None else monotonic() + seconds
        while b"\n" not in self._buffer:
            left = None if deadline is None else max(deadline - monotonic(), 0.0)
            if not select.select([self._socket], [], [], left)[0]:
                raise TimeoutError("the child says nothing")
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
    """A child of the fork server, as its parent sees it."""

    def __init__(self, lines: Lines) -> None:
        self.heard: list[Message] = []
        self._lines = lines
        self._ended = False
        hello = self.hear()
        self.pid: int = hello["pid"]

    def hear(self, seconds: float = PATIENCE) -> Message:
        """The next message; an error of the child is raised here."""
        message = self._lines.hear(seconds)
        if message is None:
            self._ended = True
            raise ChildDied(f"after {self.heard[-1:]}")
        if "error" in message:
            raise RuntimeError(f"in the child:\n{message['error']}")
        self.heard.append(message)
        return message

    def until(self, key: str, seconds: float = PATIENCE) -> Any:
        """What the child says under this key, next time it does."""
        while True:
            message = self.hear(seconds)
            if key in message:
                return message[key]

    def go(self, **message: Any) -> None:
        self._lines.say(**message)

    def kill(self) -> None:
        if not self._ended:
            os.kill(self.pid, signal.SIGKILL)
            self._wait()

    def pause(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def wake(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def end(self, seconds: float = PATIENCE) -> list[Message]:
        """Wait for the end; all that the child has said."""
        while not self._ended:
            try:
                self.hear(seconds)
            except ChildDied:
                break
        return self.heard

    def has_ended(self) -> bool:
        """Whether it ended by itself; an error of the child is raised here."""
        while not self._ended:
            try:
                self.hear(0)
            except TimeoutError:
                return False
            except ChildDied:
                break
        return True

    def said(self, key: str) -> list[Any]:
        return [message[key] for message in self.heard if key in message]

    def _wait(self) -> None:
        """The socket ends when the process has; what it said before is kept."""
        while not self._ended:
            message = self._lines.hear(PATIENCE)
            self._ended = message is None
            if message:
                self.heard.append(message)

    def close(self) -> None:
        self.kill()
        self._lines.close()


class ForkServer:
    """Starts children that share an environment; at its end, all of them are gone."""

    def __init__(self, directory: Path, environment: Mapping[str, str], preload: str) -> None:
        self._path = directory / "forks.sock"
        self._log = directory / "forks.log"
        self._children: list[Child] = []
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.processes.forks", self._path, preload],
                cwd=ROOT,
                env={**os.environ, **environment, "DJANGO_SETTINGS_MODULE": "config.settings"},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._connect().close()

    def run(self, role: str, **arguments: Any) -> Child:
        connection = self._connect()
        lines = Lines(connection)
        lines.say(role=role, arguments=arguments)
        child = Child(lines)
        self._children.append(child)
        return child

    def end_children(self) -> None:
        while self._children:
            self._children.pop().close()

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def stop(self) -> None:
        try:
            self.end_children()
        finally:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _connect(self) -> socket.socket:
        deadline = monotonic() + PATIENCE
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
    """Whatever ends the tests, nothing of theirs is left (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _serve(path: str) -> None:
    # Dead children are not reaped: their pids stay reserved, so no other process is killed.
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _be_child(connection)
        connection.close()


def _be_child(connection: socket.socket) -> None:
    status = 1
    try:
        die_with_parent()
        lines = Lines(connection)
        asked = lines.hear()
        if asked is not None:
            lines.say(pid=os.getpid())
            _play(lines, asked)
            status = 0
    finally:
        os._exit(status)


def _play(lines: Lines, asked: Message) -> None:
    module, _, name = asked["role"].partition(":")
    try:
        getattr(importlib.import_module(module), name)(lines, **asked["arguments"])
    except Exception:  # noqa: BLE001 - it is told to the parent
        traceback.print_exc()
        sys.stderr.flush()
        lines.say(error=traceback.format_exc())


def main() -> None:
    die_with_parent()
    import django

    django.setup()
    importlib.import_module(sys.argv[2])
    _serve(sys.argv[1])


if __name__ == "__main__":
    main()
