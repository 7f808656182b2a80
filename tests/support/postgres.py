"""A PostgreSQL server of the tests' own, on a unix socket, in a folder that is thrown away."""

import glob
import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path
from time import monotonic, sleep


def find_binary(name: str) -> str | None:
    found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"), reverse=True)
    return found[0] if found else shutil.which(name)


class PostgresServer:
    """Started and stopped by us; root cannot run PostgreSQL, so then it runs as another user."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.url = f"postgres://tester@/tests?host={directory}"
        self._user = _server_user()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.directory.chmod(0o755)
        if self._user:
            shutil.chown(self.directory, self._user)
        data = self.directory / "data"
        initdb = [find_binary("initdb"), "-D", data, "-U", "tester", "--auth=trust", "-E", "UTF8"]
        subprocess.run([*initdb, "--no-sync"], check=True, user=self._user, capture_output=True)
        with (self.directory / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [find_binary("postgres"), "-D", data, "-k", self.directory, "-h", "", "-F"],
                user=self._user,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._create_database()

    def _create_database(self) -> None:
        deadline = monotonic() + 30
        command = [find_binary("createdb"), "-h", self.directory, "-U", "tester", "tests"]
        while subprocess.run(command, capture_output=True, check=False).returncode:
            if monotonic() > deadline:
                raise RuntimeError((self.directory / "log").read_text()[-1000:])
            sleep(0.1)

    def stop(self) -> None:
        if self._process is not None:
            # Its fast shutdown: the other waits for every client.
            self._process.send_signal(signal.SIGINT)
            self._process.wait(30)


def _server_user() -> str | None:
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"
