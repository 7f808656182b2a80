"""Whole logs, by pages, and as CSV; events.transfer.ndjson has the other form."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from typing import Any, Final

from events.history.reader import read_events
from events.types import START, Cursor, Event

_PAGE: Final = 2000
_COLUMNS: Final = ("id", "job_id", "event_type", "timestamp", "data")
# A spreadsheet takes what begins so for a formula.
# https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def pages(
    job_id: str,
    *,
    after: Cursor | None = None,
    before: Cursor | None = None,
    conditions: Mapping[str, Any] | None = None,
) -> Iterator[list[Event]]:
    """The events of a log up to now, between two cursors, by pages; what comes later is not waited
    for. `conditions` are those of `read_events`; raises what it raises."""
    latest = read_events(job_id, before=before, limit=1, order="desc")
    end = latest[0].cursor.next() if latest else START
    while True:
        page = read_events(job_id, after=after, before=end, limit=_PAGE, **(conditions or {}))
        if page:
            yield page
        if len(page) < _PAGE:
            return
        after = page[-1].cursor


CSV_HEADER: Final = ",".join(_COLUMNS).encode() + b"\r\n"


def csv_rows(events: Sequence[Event]) -> bytes:
    """Each event as a line of CSV (RFC 4180); what would be a formula has an apostrophe before."""
    text = StringIO()
    writer = csv.writer(text)
    for event in events:
        cells = (event.event_type, event.timestamp, event.raw.decode())
        writer.writerow((event.id, event.job_id, *map(_harmless, cells)))
    return text.getvalue().encode()


def _harmless(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
