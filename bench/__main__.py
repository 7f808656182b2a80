"""Run all benchmarks: `python -m bench`. Takes most of an hour."""

import subprocess
import sys

# Each runs in its own process: Django can be set up only once per process.
BENCHMARKS = (
    "publishing",
    "history",
    "archiving",
    "archive_pages",
    "searching",
    "lists",
    "monitoring",
    "pages",
    "exporting",
    "memory",
    "sizes",
    "fanout",
    "latency",
    "idle",
    "streams",
    "celery_tasks",
    "tokens",
    "metrics",
    "run_page",
)

if __name__ == "__main__":
    for name in BENCHMARKS:
        subprocess.run([sys.executable, "-m", f"bench.{name}"], check=True)
