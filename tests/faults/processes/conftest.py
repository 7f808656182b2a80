"""Fixtures: processes, Redis and a database, started once per database and test run."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.processes.world import Postgres, Sqlite, World
from tests.support.need import need
from tests.support.postgres import BINARIES, find_binary


@pytest.fixture(scope="session")
def worlds() -> Iterator[dict[str, World]]:
    started: dict[str, World] = {}
    yield started
    for world in started.values():
        world.stop()
        shutil.rmtree(world.directory, ignore_errors=True)


def started_world(name: str, worlds: dict[str, World]) -> World:
    """Return the world of a database; start it on first use."""
    if name not in worlds:
        directory = Path(tempfile.mkdtemp(prefix="jw"))
        directory.chmod(0o755)  # the user of PostgreSQL needs access
        inside = directory / name
        inside.mkdir()
        world = World(directory, Sqlite(inside) if name == "sqlite" else Postgres(inside))
        try:
            world.start()
        except BaseException:
            world.stop()
            raise
        worlds[name] = world
    return worlds[name]


def clean(world: World) -> Iterator[World]:
    world.clean()
    yield world
    world.forks.kill_children()


# With another version of Redis, one database is enough.
DATABASES = ["postgres"] if os.environ.get("REDIS_SERVER") else ["sqlite", "postgres"]


@pytest.fixture(params=DATABASES)
def world(request: pytest.FixtureRequest, worlds: dict[str, World]) -> Iterator[World]:
    if request.param == "postgres":
        need(request, all(map(find_binary, BINARIES)), "a PostgreSQL server (initdb, postgres)")
    yield from clean(started_world(request.param, worlds))


@pytest.fixture
def postgres_world(request: pytest.FixtureRequest, worlds: dict[str, World]) -> Iterator[World]:
    need(request, all(map(find_binary, BINARIES)), "a PostgreSQL server (initdb, postgres)")
    yield from clean(started_world("postgres", worlds))
