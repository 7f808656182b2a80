"""SQL lookups: evaluate an event filter by the index of terms (migration 0001)."""

from collections.abc import Callable
from functools import reduce
from operator import or_
from typing import Final

from django.db.models import BooleanField, F, Func, Q, QuerySet, Value

from events.archive.filters import EventFilter
from events.database import write_connection
from events.models import ArchivedEvent

EventRows = QuerySet[ArchivedEvent]

# SQLite keeps no statistics of terms. A filter that matches at most this many rows uses the FTS
# index. A more common one is evaluated row by row, in the order of the page, until it is full.
MAX_INDEXED_ROWS: Final = 2000


def apply_filter(rows: EventRows, event_filter: EventFilter) -> EventRows:
    """Restrict archived events to those that a filter matches."""
    if not all(event_filter.clauses):
        return rows.none()  # an empty list of types
    if not event_filter:
        return rows
    if write_connection().vendor == "postgresql":
        query = _query(event_filter, " & ", " | ", _lexeme)
        return rows.filter(_condition(" @@ ", query, "%(expressions)s::tsquery"))
    keys = _indexed_keys(_query(event_filter, " AND ", " OR ", _phrase))
    if keys is not None:
        return rows.filter(pk__in=keys)
    clauses = (reduce(or_, map(_contains_term, clause)) for clause in event_filter.clauses)
    return rows.filter(*clauses)


def _contains_term(term: str) -> Q:
    """Substring match of a term or a prefix in SQLite."""
    text = f" {term[:-1]}" if term.endswith("*") else f" {term} "
    return Q(_condition(" || ' ', ", text, "instr(' ' || %(expressions)s) > 0"))


def _condition(operator: str, text: str, template: str) -> Func:
    terms, value, is_match = F("terms"), Value(text), BooleanField()
    return Func(terms, value, template=template, arg_joiner=operator, output_field=is_match)


def _query(
    event_filter: EventFilter, and_operator: str, or_operator: str, quote: Callable[[str], str]
) -> str:
    # No term contains a quotation mark.
    clauses = (or_operator.join(map(quote, clause)) for clause in event_filter.clauses)
    return and_operator.join(f"({clause})" for clause in clauses)


def _lexeme(term: str) -> str:
    """Quote a term for https://www.postgresql.org/docs/current/datatype-textsearch.html."""
    return f"'{term[:-1]}':*" if term.endswith("*") else f"'{term}'"


def _phrase(term: str) -> str:
    """Quote a term for https://www.sqlite.org/fts5.html#full_text_query_syntax."""
    return f'"{term[:-1]}" *' if term.endswith("*") else f'"{term}"'


def _indexed_keys(query: str) -> list[int] | None:
    """The keys of the matching rows; None if there are more than MAX_INDEXED_ROWS."""
    with write_connection().cursor() as cursor:
        cursor.execute(
            'SELECT "rowid" FROM "job_events_terms" WHERE "job_events_terms" MATCH %s LIMIT %s',
            [query, MAX_INDEXED_ROWS + 1],
        )
        keys = [row[0] for row in cursor.fetchall()]
    return keys if len(keys) <= MAX_INDEXED_ROWS else None
