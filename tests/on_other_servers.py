"""Runs pytest with a PostgreSQL of its own: `python -m tests.on_postgres -m database`."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.postgres import PostgresServer, find_binary


def main() -> int:
    missing = [name for name in ("initdb", "postgres", "createdb") if find_binary(name) is None]
    if missing:
        print(f"SKIPPED, no PostgreSQL server here ({', '.join(missing)}): the tests on PostgreSQL")
        return 1 if os.environ.get("CI") else 0
    with tempfile.TemporaryDirectory(prefix="pg", ignore_cleanup_errors=True) as directory:
        server = PostgresServer(Path(directory))
        server.start()
        try:
            command = [sys.executable, "-m", "pytest", *sys.argv[1:]]
            environment = {**os.environ, "DATABASE_URL": server.url}
            return subprocess.run(command, env=environment, check=False).returncode
        finally:
            server.stop()


if __name__ == "__main__":
    sys.exit(main())
