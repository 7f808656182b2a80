"""Reading a log over both tiers, archive and stream.

    reader   `read_events` and its async twin
    search   search across the logs of several jobs

Imports `events.archive`, `events.streams` and the leaf modules of `events`.
"""

from events.history.reader import (
    archive_position,
    aread_events,
    has_log,
    read_events,
    wait_for_events,
)

__all__ = ["archive_position", "aread_events", "has_log", "read_events", "wait_for_events"]
