"""Pages of the job list by keyset, which stay the same while jobs are added."""

import re
from datetime import timedelta
from typing import Any, Final, NamedTuple

from django.db.models import Q, QuerySet

from events.database import aware_time, column_time
from jobs.api.query import EPOCH
from jobs.models import Job

PAGE_ROWS: Final = 50
# Whether the page precedes the job, the time of the job in microseconds since 1970, and its key.
_CURSOR: Final = re.compile(r"(-?)([0-9]{1,17})\.([0-9]{1,18})", re.ASCII)


class Page(NamedTuple):
    """Jobs, and the cursors of the pages before and after, None without one."""

    jobs: list[Job]
    previous: str | None
    next: str | None


def read_page(jobs: QuerySet[Job], ordering: str, cursor: str = "") -> Page:
    """Return the page of a cursor, or the first one if it is invalid."""
    column = ordering.removeprefix("-")
    match = _CURSOR.fullmatch(cursor)
    is_backward = bool(match and match[1])
    is_descending = ordering.startswith("-") != is_backward
    sign = "-" if is_descending else ""
    rows = jobs.order_by(f"{sign}{column}", f"{sign}pk")
    if match:
        rows = rows.filter(_beyond(column, int(match[2]), int(match[3]), is_descending))
    found = list(rows[: PAGE_ROWS + 1])
    has_more = len(found) > PAGE_ROWS
    if is_backward and not has_more:
        return read_page(jobs, ordering)  # the first page, complete
    found = found[:PAGE_ROWS]
    if is_backward:
        found.reverse()
    if not found:
        return Page([], None, None)
    return Page(
        found,
        f"-{_cursor(found[0], column)}" if match else None,
        _cursor(found[-1], column) if has_more or is_backward else None,
    )


def _beyond(column: str, microseconds: int, key: int, is_descending: bool) -> Q:
    """Return the condition on the jobs after a time and key, in an order."""
    time = column_time(EPOCH + timedelta(microseconds=microseconds))
    than = "lt" if is_descending else "gt"
    ties: dict[str, Any] = {column: time, f"pk__{than}": key}
    # The first condition, which the second implies, is the one for an index.
    return Q(**{f"{column}__{than}e": time}) & (Q(**{f"{column}__{than}": time}) | Q(**ties))


def _cursor(job: Job, column: str) -> str:
    microseconds = (aware_time(getattr(job, column)) - EPOCH) // timedelta(microseconds=1)
    return f"{microseconds}.{job.pk}"
