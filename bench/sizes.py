"""Bytes of an event in Redis and in the database: `python -m bench.sizes`.

Publishes events with a text of random words, and archives them. Redis is measured by MEMORY USAGE
of a stream with 1,000 events, the database by the growth of its files, with all indexes.
"""

import argparse
import random
import string
from typing import Any

from bench.archiving import archive_all
from bench.databases import run_benchmark, set_up_django

STREAM_EVENTS = 1000
TEXT_LENGTHS = (50, 200, 1000)


def measure(options: argparse.Namespace) -> None:
    set_up_django()
    from events.streams.clients import get_redis

    get_redis().flushall()
    random.seed(1)
    words = ["".join(random.choices(string.ascii_lowercase, k=6)) for _ in range(5000)]
    for length in TEXT_LENGTHS:
        before = database_bytes()
        in_redis = fill(words, length, options.events)
        archive_all()
        in_database = (database_bytes() - before) / options.events
        print(
            f"{options.on}, an event with a text of {length} characters:"
            f" {in_redis:.0f} bytes in Redis, {in_database:.0f} bytes in the database"
        )


def fill(words: list[str], length: int, events: int) -> float:
    """Publish events, STREAM_EVENTS for each job; return the bytes of one in Redis."""
    from events.publisher import get_publisher
    from events.streams.clients import get_redis

    publisher, client = get_publisher(), get_redis()
    for number in range(events // STREAM_EVENTS):
        job_id = f"text{length}-{number}"
        for _ in range(STREAM_EVENTS // 100):
            publisher.publish_events(job_id, [event(words, length) for _ in range(100)])
    used: Any = client.memory_usage(f"job_events:{job_id}", samples=0)
    return float(used) / STREAM_EVENTS


def event(words: list[str], length: int) -> dict[str, str]:
    text = " ".join(random.choices(words, k=length // 7 + 1))
    return {"event_type": "thought", "content": text[:length]}


def database_bytes() -> int:
    from django.db import connection

    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA page_count")
            pages: int = cursor.fetchone()[0]
            cursor.execute("PRAGMA page_size")
            size: int = cursor.fetchone()[0]
            return pages * size
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("SELECT pg_total_relation_size('job_events_archivedevent')")
        total: int = cursor.fetchone()[0]
        return total


if __name__ == "__main__":
    run_benchmark("bench.sizes", measure, events=20_000)
