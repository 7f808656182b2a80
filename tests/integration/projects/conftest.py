"""Fixtures of the tests of other projects."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.need import need
from tests.support.postgres import BINARIES, PostgresServer, find_binary


@pytest.fixture
def postgres(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    need(request, all(map(find_binary, BINARIES)), "a PostgreSQL server (initdb, postgres)")
    with PostgresServer.running() as server:
        yield server


@pytest.fixture
def folder(short_tmp: Path) -> Path:
    """A folder that does not exist yet, with a path that is short enough for unix sockets."""
    return short_tmp / "project"
