"""Run pytest on PostgreSQL and on the Redis of the machine, an older version.

`python -m tests.on_other_servers -m "database or redis"`
"""

import os
import shutil
import subprocess
import sys

from tests.support.postgres import PostgresServer, find_binary


def main() -> int:
    missing = [name for name in ("initdb", "postgres", "createdb") if find_binary(name) is None]
    if missing:
        print(f"SKIPPED the tests on PostgreSQL: {', '.join(missing)} not installed")
        return 1 if os.environ.get("CI") else 0
    redis_server = shutil.which("redis-server")
    if redis_server is None:
        print("SKIPPED, no redis-server on PATH: the tests on the Redis of the machine")
        if os.environ.get("CI"):
            return 1
    else:
        subprocess.run([redis_server, "--version"], check=True)
    with PostgresServer.running() as server:
        command = [sys.executable, "-m", "pytest", *sys.argv[1:]]
        servers = {"DATABASE_URL": server.url, "REDIS_SERVER": redis_server or ""}
        return subprocess.run(command, env={**os.environ, **servers}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
