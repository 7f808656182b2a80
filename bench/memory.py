"""Redis memory of an archived job: `python -m bench.memory`.

Sums MEMORY USAGE over the stream and the state keys. The sum is bounded by the hot tail
(`STREAM_TAIL`), independent of the number of events.
"""

import argparse
from typing import Any

from bench.archiving import archive_all, fill
from bench.databases import on_sqlite, run_benchmark, set_up_django

SHORT = 10_000


def measure(options: argparse.Namespace) -> None:
    set_up_django()
    from events.streams.clients import get_redis

    short, long = memory_of("short", SHORT), memory_of("long", options.events)
    kept = get_redis().xlen("job_events:long")
    print(
        f"Redis memory of an archived job, {options.events} events against {SHORT}"
        f" (at most 1.2): {long / short:.2f} ({long // 1024} KiB, {kept} events kept)"
    )


def memory_of(job_id: str, events: int) -> int:
    """Publish and archive events of a job, and return the size of its keys in bytes."""
    from events.streams.clients import get_redis

    for _ in range(events // SHORT):
        fill([job_id], SHORT)
        archive_all()
    client: Any = get_redis()
    keys = client.scan_iter(match=f"*job_events:{job_id}*")
    return sum(client.memory_usage(key, samples=0) for key in keys)


if __name__ == "__main__":
    run_benchmark("bench.memory", measure, on_sqlite, events=1_000_000)
