"""Fixtures of the tests of other projects."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.need import need
from tests.support.postgres import BINARIES, PostgresServer, find_binary


@pytest.fixture
def postgres(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    need(request, all(map(find_binary, BINARIES)), "a PostgreSQL server (initdb, postgres)")
    with tempfile.TemporaryDirectory(prefix="pg", ignore_cleanup_errors=True) as directory:
        server = PostgresServer(Path(directory))
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
def folder(short_tmp: Path, tmp_path: Path) -> Path:
    """A folder that does not exist yet, with a path that is short enough for unix sockets."""
    return short_tmp / tmp_path.name
