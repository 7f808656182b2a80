"""The archiver against the insert rate of the database: `python -m bench.archiving`.

The baseline inserts the same prepared rows by executemany into the same table, with the same
indexes and transaction size. The archiver also reads them from Redis and computes search terms.
"""

import argparse
import gc
import resource
from typing import Any

from bench.databases import run_benchmark, set_up_django
from bench.publishing import EVENT
from bench.ratio import compare

PUBLISH_BATCH = 100


def measure(options: argparse.Namespace) -> None:
    set_up_django()
    compare_with_inserts(options.on, options.events, streams=1)
    compare_with_inserts(options.on, options.events, streams=100)
    compare_with_publishing(options.on, options.events)
    memory(options.on, options.drained)


def fill(job_ids: list[str], events: int) -> None:
    """Publish events, spread over the jobs."""
    from events.publisher import get_publisher

    publisher, batch = get_publisher(), [EVENT] * min(500, events // len(job_ids))
    for number in range(events // len(batch)):
        publisher.publish_events(job_ids[number % len(job_ids)], batch)


def archive_all() -> None:
    from events.archive.archiver import Archiver

    archiver = Archiver()
    while archiver.step():
        pass


class FullStreams:
    """Full streams and an empty archive, restored before each run."""

    def __init__(self, streams: int, events: int) -> None:
        from events.models import ArchivedEvent
        from events.streams.clients import get_redis

        self.redis = get_redis()
        self.redis.flushall()
        self.jobs = [f"bench-{number}" for number in range(streams)]
        fill(self.jobs, events)
        for job_id in self.jobs:
            self.redis.rename(f"job_events:{job_id}", f"kept:{job_id}")
        self.reset()
        archive_all()
        columns = ("log_id", "event_id", "event_type", "timestamp", "data", "producer", "terms")
        self.rows = [
            (pk, self.packed(event_id), *rest)
            for pk, event_id, *rest in ArchivedEvent.objects.order_by("pk").values_list(*columns)
        ]
        if len(self.rows) != events:
            raise RuntimeError(f"{len(self.rows)} of {events} events were archived")
        gc.freeze()  # the rows of the baseline must not slow the archiver's collections

    @staticmethod
    def packed(event_id: Any) -> bytes:
        from events.fields import pack

        return pack(event_id)

    def reset(self) -> None:
        from django.db import connection

        from events.models import ArchiveCheckpoint
        from events.types import START

        truncate = "DELETE FROM" if connection.vendor == "sqlite" else "TRUNCATE"
        with connection.cursor() as cursor:
            cursor.execute(f"{truncate} job_events_archivedevent")
        ArchiveCheckpoint.objects.update(position=START)
        for job_id in self.jobs:
            self.redis.copy(f"kept:{job_id}", f"job_events:{job_id}", replace=True)

    def insert(self) -> None:
        from django.db import connection, transaction

        from events.archive.archiver import MAX_BATCH_EVENTS as BATCH

        into = "INSERT INTO job_events_archivedevent"
        columns = "(log_id, event_id, event_type, timestamp, data, producer, terms)"
        terms = "%s::tsvector" if connection.vendor == "postgresql" else "%s"
        for start in range(0, len(self.rows), BATCH):
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.executemany(
                    f"{into} {columns} VALUES (%s, %s, %s, %s, %s, %s, {terms})",
                    self.rows[start : start + BATCH],
                )


def compare_with_inserts(database: str, events: int, streams: int) -> None:
    source = FullStreams(streams, events)
    where = "one stream" if streams == 1 else f"{streams} streams"
    claim = f"archiver on {database}, from {where}, rate against bare executemany (at least 0.5)"
    compare(claim, archive_all, source.insert, pairs=15, prepare=source.reset)


def compare_with_publishing(database: str, events: int) -> None:
    from events.publisher import get_publisher

    source, publisher, batch = (
        FullStreams(1, events),
        get_publisher(),
        [EVENT] * PUBLISH_BATCH,
    )

    def publish() -> None:
        for _ in range(events // PUBLISH_BATCH):
            publisher.publish_events("other", batch)

    def prepare() -> None:
        source.reset()
        source.redis.delete("job_events:other")

    goal = "above 1" if database == "PostgreSQL" else "no claim"
    claim = f"archiver on {database}, rate against publish_events of {PUBLISH_BATCH} ({goal})"
    compare(claim, archive_all, publish, pairs=15, prepare=prepare)


def memory(database: str, events: int) -> None:
    """Compare peak memory after draining a small and a large stream."""
    FullStreams(1, 1000).redis.flushall()
    peaks = []
    for count in (events // 10, events - events // 10):
        fill(["long"], count)
        archive_all()
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    print(
        f"archiver on {database}, peak memory with {events} events drained against"
        f" {events // 10} (at most 1.1): {peaks[1] / peaks[0]:.2f} ({peaks[1] // 1024} MiB)"
    )


if __name__ == "__main__":
    run_benchmark("bench.archiving", measure, events=50_000, drained=1_000_000)
