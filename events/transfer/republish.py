"""Recordings: a job's log as a file, NDJSON as the export writes it, and events published again."""

from collections.abc import Iterable
from itertools import groupby, islice
from operator import attrgetter
from os import PathLike
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Final

from events.publisher import SyncRedisStreamPublisher
from events.transfer.ndjson import ndjson, read_lines
from events.types import Event

_TOGETHER: Final = 1000


def write_recording(events: list[Event], path: str | PathLike[str]) -> None:
    """Write a recording; folders that are missing are made."""
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(ndjson(events))


def read_recording(path: str | PathLike[str], job_id: str | None = None) -> list[Event]:
    """The events of a recording; with `job_id`, as those of that job. Raises InvalidEvent."""
    with Path(path).open("rb") as lines:
        return list(read_lines(lines, job_id))


def republish(
    publisher: SyncRedisStreamPublisher, events: Iterable[Event], speed: float | None
) -> int:
    """Publish events to the jobs that they name; returns how many.

    The time between them is as it was, divided by `speed`; None: they are published at once. They
    have the time of now; all else is as it was. Raises ValueError for a speed that is none.
    """
    if speed is not None:
        if not 0 < speed < float("inf"):
            raise ValueError(f"speed is a number above 0. Given: {speed}.")
        return _paced(publisher, events, speed)
    count = 0
    for job_id, of_job in groupby(events, attrgetter("job_id")):
        while batch := [_as_new(event) for event in islice(of_job, _TOGETHER)]:
            count += len(publisher.publish_events(job_id, batch))
    return count


def _paced(publisher: SyncRedisStreamPublisher, events: Iterable[Event], speed: float) -> int:
    began, first_ms, count = monotonic(), 0, 0
    for event in events:
        first_ms = first_ms or event.cursor.ms
        sleep(max(0.0, began + (event.cursor.ms - first_ms) / 1000 / speed - monotonic()))
        publisher.publish_event(event.job_id, _as_new(event))
        count += 1
    return count


def _as_new(event: Event) -> dict[str, Any]:
    """What to publish; a type that readers show as `unknown` is one that publishers refuse."""
    data = {name: value for name, value in event.data.items() if name != "timestamp"}
    return {**data, "event_type": event.event_type}
