"""Reading logs over both tiers, archive and stream.

    reader      pages of one log: `read_events` and its async variant
    page_size   size of the pages of a reader that reads a log to its end
    search      search across the archived logs of several jobs

Imports `events.archive`, `events.streams` and the leaf modules of `events`.
"""

from events.history.reader import (
    archive_position,
    aread_events,
    has_log,
    read_events,
    wait_for_events,
)
from events.history.search import SearchCursor, SearchPage, search_events

__all__ = [
    "SearchCursor",
    "SearchPage",
    "archive_position",
    "aread_events",
    "has_log",
    "read_events",
    "search_events",
    "wait_for_events",
]
