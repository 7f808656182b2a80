"""Publishing recorded events again."""

from collections.abc import Iterable
from itertools import groupby, islice
from operator import attrgetter
from time import monotonic, sleep
from typing import Any, Final

from events.publisher import SyncRedisStreamPublisher
from events.types import Event

MAX_BATCH_EVENTS: Final = 1000


def republish(
    publisher: SyncRedisStreamPublisher, events: Iterable[Event], speed: float | None
) -> int:
    """Publish events with the current time, each to its job; return their number.

    The intervals between them are divided by `speed`; without it, all are published at once.
    Raises ValueError if `speed` is not a finite number above 0.
    """
    if speed is not None and not 0 < speed < float("inf"):
        raise ValueError(f"speed is a number above 0. Given: {speed}.")
    batch_size = MAX_BATCH_EVENTS if speed is None else 1
    started, first_ms, count = monotonic(), None, 0
    for job_id, of_job in groupby(events, attrgetter("job_id")):
        while batch := list(islice(of_job, batch_size)):
            if speed is not None:
                ms = batch[0].cursor.ms
                first_ms = ms if first_ms is None else first_ms
                sleep(max(0.0, started + (ms - first_ms) / 1000 / speed - monotonic()))
            count += len(publisher.publish_events(job_id, [_new_data(event) for event in batch]))
    return count


def _new_data(event: Event) -> dict[str, Any]:
    """Return the data to publish; the type is the one shown, as data may have an invalid one."""
    data = {name: value for name, value in event.data.items() if name != "timestamp"}
    return {**data, "event_type": event.event_type}
