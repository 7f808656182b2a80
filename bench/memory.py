"""What Redis remembers of a job once it is archived: `python -m bench.memory`.

Bounded by the hot tail (`STREAM_TAIL`), however long the job: stream and state together, as
MEMORY USAGE has them.
"""

import argparse
from typing import Any

from bench.archiving import archive_all, fill
from bench.databases import measured, on_sqlite, set_up

SHORT = 10_000


def measure(chosen: argparse.Namespace) -> None:
    set_up()
    from events.streams.clients import get_redis

    short, long = memory_of("short", SHORT), memory_of("long", chosen.events)
    left = get_redis().xlen("job_events:long")
    print(
        f"Redis memory of a job of {chosen.events} events, archived, against one of {SHORT}"
        f" (at most 1.2): {long / short:.2f} ({long // 1024} KiB, {left} events)"
    )


def memory_of(job_id: str, events: int) -> int:
    """The bytes that Redis needs for the job when all its events are archived."""
    from events.streams.clients import get_redis

    for _ in range(events // SHORT):
        fill([job_id], SHORT)
        archive_all()
    client: Any = get_redis()
    keys = client.scan_iter(match=f"*job_events:{job_id}*")
    return sum(client.memory_usage(key, samples=0) for key in keys)


if __name__ == "__main__":
    measured("bench.memory", measure, on_sqlite, events=1_000_000)
