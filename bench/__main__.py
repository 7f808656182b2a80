"""Runs every benchmark: `python -m bench`, most of an hour."""

import subprocess
import sys

# Each is a process of its own: most of them set Django up, and that goes once.
BENCHMARKS = (
    "publishing",
    "history",
    "archiving",
    "archive_pages",
    "searching",
    "pages",
    "exporting",
    "memory",
    "fanout",
    "latency",
    "idle",
    "streams",
    "celery_tasks",
    "tokens",
)

if __name__ == "__main__":
    for name in BENCHMARKS:
        subprocess.run([sys.executable, "-m", f"bench.{name}"], check=True)
