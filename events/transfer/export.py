"""Export of whole logs: pages of events, and CSV (`events.transfer.ndjson` has NDJSON)."""

import csv
from collections.abc import Iterator, Sequence
from io import StringIO
from typing import Final

from events.archive.filters import EventFilter
from events.history import read_events
from events.history.page_size import PageSize
from events.types import START, Cursor, Event

# An export that is not read holds one page.
_MAX_PAGE_BYTES: Final = 64 * 1024
_MAX_PAGE_EVENTS: Final = 2000
_COLUMNS: Final = ("id", "job_id", "event_type", "timestamp", "data")
# Spreadsheets interpret a cell that starts with one of these as a formula.
# https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA_PREFIXES: Final = (
    "=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20",
)  # fmt: skip

CSV_HEADER: Final = ",".join(_COLUMNS).encode() + b"\r\n"


def iter_pages(
    job_id: str,
    *,
    after: Cursor | None = None,
    before: Cursor | None = None,
    event_filter: EventFilter | None = None,
) -> Iterator[list[Event]]:
    """Yield the events of a log between two cursors, up to the newest event at the start.

    Raises the errors of `read_events`.
    """
    newest = read_events(job_id, before=before, limit=1, order="desc")
    end = newest[0].cursor.next() if newest else START
    size, is_last = PageSize(_MAX_PAGE_BYTES, _MAX_PAGE_EVENTS), False
    while not is_last:
        page, is_last = _read_page(job_id, after, end, event_filter, size)
        if page:
            after = page[-1].cursor
            yield page


def _read_page(
    job_id: str,
    after: Cursor | None,
    before: Cursor | None,
    event_filter: EventFilter | None,
    size: PageSize,
) -> tuple[list[Event], bool]:
    """Return the next page, and whether it is the last."""
    limit = size.events
    events = read_events(job_id, after=after, before=before, limit=limit, event_filter=event_filter)
    page = size.cut(events)
    return page, len(page) == len(events) < limit


def csv_rows(events: Sequence[Event]) -> bytes:
    """Encode each event as a line of CSV (RFC 4180), without formulas."""
    text = StringIO()
    writer = csv.writer(text)
    for event in events:
        cells = (event.event_type, event.timestamp, event.raw.decode())
        writer.writerow((event.id, event.job_id, *map(_escape_formula, cells)))
    return text.getvalue().encode()


def _escape_formula(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA_PREFIXES) else cell
