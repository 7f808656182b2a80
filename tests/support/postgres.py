"""A PostgreSQL server for tests, on a unix socket in a temporary folder."""

import glob
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Self

UNPRIVILEGED_UID = 65534

BINARIES = ("initdb", "postgres", "createdb")


def find_binary(name: str) -> str | None:
    found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"), reverse=True)
    return found[0] if found else shutil.which(name)


class PostgresServer:
    """Server process. PostgreSQL refuses to run as root: it is started as another user then."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.url = f"postgres://tester@/tests?host={directory}"
        self._user = _server_user()
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[Self]:
        """Run a server in a temporary folder: its user may not enter those of pytest."""
        with tempfile.TemporaryDirectory(prefix="pg", ignore_cleanup_errors=True) as directory:
            server = cls(Path(directory))
            try:
                server.start()
                yield server
            finally:
                server.stop()

    def start(self) -> None:
        self.directory.chmod(0o755)
        if self._user:
            shutil.chown(self.directory, self._user)
        data = self.directory / "data"
        initdb = [find_binary("initdb"), "-D", data, "-U", "tester", "--auth=trust", "-E", "UTF8"]
        subprocess.run([*initdb, "--no-sync"], check=True, user=self._user, capture_output=True)
        self._run()
        self._create_database()

    def _run(self) -> None:
        data = self.directory / "data"
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [find_binary("postgres"), "-D", data, "-k", self.directory, "-h", "", "-F"],
                user=self._user,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _create_database(self) -> None:
        deadline = monotonic() + 30
        command = [find_binary("createdb"), "-h", self.directory, "-U", "tester", "tests"]
        while subprocess.run(command, capture_output=True, check=False).returncode:
            if monotonic() > deadline:
                raise RuntimeError((self.directory / "log").read_text()[-1000:])
            sleep(0.1)

    def kill(self) -> None:
        """Kill the postmaster and all of its backends, like a crash."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGSTOP)  # starts no more backends
        children = self.children()
        self._process.kill()
        for pid in children:
            os.kill(pid, signal.SIGKILL)
        self._process.wait()
        while any(_is_alive(pid) for pid in children):
            sleep(0.005)
        self._process = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Pause the postmaster and all of its backends."""
        self._signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        if self._process is not None:
            for pid in (self._process.pid, *self.children()):
                with suppress(ProcessLookupError):  # a backend that has ended
                    os.kill(pid, number)

    def restart(self) -> None:
        """Start the server after `kill` and wait until it has recovered."""
        self._run()
        self.wait()

    def wait(self, seconds: float = 30) -> None:
        """Wait until the server accepts connections."""
        deadline = monotonic() + seconds
        command = [find_binary("psql"), "-h", self.directory, "-U", "tester", "-c", "", "tests"]
        while subprocess.run(command, capture_output=True, check=False).returncode:
            if monotonic() > deadline:
                raise RuntimeError((self.directory / "log").read_text()[-1000:])
            sleep(0.02)

    def children(self) -> list[int]:
        """Return the pids of the backends and helper processes."""
        if self._process is None:
            return []
        pid = self._process.pid
        return [
            int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ]

    def stop(self) -> None:
        if self._process is not None:
            # Fast shutdown: does not wait for clients.
            self._process.send_signal(signal.SIGINT)
            self._process.wait(30)


def _is_alive(pid: int) -> bool:
    """Return whether the process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _server_user() -> str | None:
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    # PostgreSQL refuses to run as root.
    return "postgres" if "postgres" in names else pwd.getpwuid(UNPRIVILEGED_UID).pw_name
