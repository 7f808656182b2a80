"""Redis, a database and processes that use them."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

import psycopg
import redis

from events.testing.redis_server import EmbeddedRedis
from tests.faults.processes.forks import Child, ForkServer
from tests.support.postgres import PostgresServer
from tests.support.site import ROOT

ROLES = "tests.faults.processes.roles"


class Database(Protocol):
    """A database that can be emptied."""

    name: str
    url: str

    def empty(self) -> None: ...

    def paused(self) -> AbstractContextManager[None]: ...


class Sqlite:
    """A file that is copied from a migrated template."""

    name = "sqlite"

    def __init__(self, directory: Path) -> None:
        self._file = directory / "world.sqlite3"
        self._template = directory / "template.sqlite3"
        self.url = f"sqlite:///{self._file}"

    def prepare(self, migrate: Callable[[str], None]) -> None:
        migrate(f"sqlite:///{self._template}")
        self.empty()

    def empty(self) -> None:
        for suffix in ("-wal", "-shm"):
            Path(f"{self._file}{suffix}").unlink(missing_ok=True)
        shutil.copyfile(self._template, self._file)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Block writers by a lock."""
        with closing(sqlite3.connect(self._file, timeout=30, isolation_level=None)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            yield
            connection.execute("ROLLBACK")


class Postgres:
    """A server that runs during the whole test session."""

    name = "postgres"

    def __init__(self, directory: Path) -> None:
        self.server = PostgresServer(directory)
        self.url = self.server.url

    def prepare(self, migrate: Callable[[str], None]) -> None:
        self.server.start()
        migrate(self.url)

    def empty(self) -> None:
        tables = (
            "job_events_eventlog, job_events_archivedevent, job_events_archivecheckpoint,"
            " job_events_jobs_job, job_events_jobs_alert, job_events_jobs_alertmessage,"
            " job_events_jobs_monitorcheckpoint"
        )
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"TRUNCATE {tables} RESTART IDENTITY CASCADE")

    def paused(self) -> AbstractContextManager[None]:
        return self.server.paused()


class World:
    """Environment of child processes. Call `clean` between tests and `stop` at the end."""

    def __init__(
        self,
        directory: Path,
        database: Any,
        preload: str = ROLES,
        environment: Mapping[str, str] | None = None,
        **redis_options: str,
    ) -> None:
        self.directory = directory
        self._environment = environment or {}
        self.database = database
        # Redis trims only whole nodes of a stream. With fsync, it delays writes to its file during
        # a sync, and would lose acknowledged writes when killed.
        options = {"save": "", "stream-node-max-entries": "10", "appendfsync": "no"}
        options.update(redis_options)
        self.redis = EmbeddedRedis(directory / "redis", **options)
        self._preload = preload
        self._forks: ForkServer | None = None

    def start(self) -> None:
        self.redis.start()
        self.database.prepare(self._migrate)
        self._forks = ForkServer(self.directory, self.environment, self._preload)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "DATABASE_URL": self.database.url,
            "REDIS_URL": self.redis.url,
            "LOCAL_DIR": str(self.directory / "local"),
            "JOB_EVENTS_DEMO": "1",
            "DJANGO_LOG_LEVEL": "ERROR",
            **self._environment,
        }

    def _migrate(self, url: str) -> None:
        command = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
        environment = {**os.environ, **self.environment, "DATABASE_URL": url}
        result = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, check=False
        )
        if result.returncode:
            raise RuntimeError(result.stderr.decode()[-1000:])

    @property
    def forks(self) -> ForkServer:
        if self._forks is None:
            raise RuntimeError("World.start() was not called")
        return self._forks

    def clean(self) -> None:
        """Restore the initial state after a test."""
        self.forks.kill_children()
        if self.redis.process is None:
            self.redis.start()
        if isinstance(self.database, Postgres) and not self.database.server.children():
            self.database.server.restart()
        with self.client() as client:
            client.flushall()
            client.config_set("maxmemory", 0)
        self.database.empty()

    def stop(self) -> None:
        with ExitStack() as stack:
            stack.callback(self.redis.stop)
            if isinstance(self.database, Postgres):
                stack.callback(self.database.server.stop)
            if self._forks is not None:
                stack.callback(self._forks.stop)

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.redis.url)

    def run(self, role: str, **arguments: Any) -> Child:
        return self.forks.run(f"{ROLES}:{role}", **arguments)

    def do(self, role: str, **arguments: Any) -> Child:
        """Run a role and wait for its exit."""
        child = self.run(role, **arguments)
        child.join()
        return child

    def write(self, *steps: dict[str, Any], job: str = "abc") -> Child:
        return self.do("write", steps=list(steps), job=job)

    def drained(self) -> dict[str, Any]:
        """Return a dump after a new relay and a new archiver have become idle."""
        dump: dict[str, Any] = self.run("drain").wait_for("dump", 60)
        return dump

    def kill_redis(self) -> None:
        self.redis.kill()

    def kill_database(self) -> None:
        self.database.server.kill()

    def restore(self) -> None:
        """Restart killed servers."""
        if self.redis.process is None:
            self.redis.start()
        if isinstance(self.database, Postgres) and not self.database.server.children():
            self.database.server.restart()

    def wipe_redis(self) -> None:
        with self.client() as client:
            client.flushall()
