"""SQL lookups: evaluate the clauses of a filter by an index of terms (`events.term_index`)."""

from collections.abc import Callable, Sequence
from functools import reduce
from operator import or_
from typing import Any, Final, TypeVar

from django.db.models import BooleanField, F, Func, Q, QuerySet, Value

from events.archive.filters import EventFilter
from events.database import write_connection
from events.models import ArchivedEvent

EventRows = QuerySet[ArchivedEvent]
Rows = TypeVar("Rows", bound=QuerySet[Any])
# A clause is a tuple of alternative terms; a term that ends with `*` is a prefix.
Clauses = Sequence[tuple[str, ...]]

# SQLite keeps no statistics of terms. A filter that matches at most this many rows uses the FTS
# index. A more common one is evaluated row by row, in the order of the page, until it is full.
MAX_INDEXED_ROWS: Final = 2000


def apply_filter(rows: EventRows, event_filter: EventFilter) -> EventRows:
    """Restrict archived events to those that a filter matches."""
    return match_terms(rows, event_filter.clauses, "job_events_terms")


def match_terms(rows: Rows, clauses: Clauses, index: str) -> Rows:
    """Restrict rows to those whose field `terms` matches all clauses.

    `index` is the FTS5 table of the field on SQLite.
    """
    if not all(clauses):
        return rows.none()  # a clause without terms
    if not clauses:
        return rows
    if write_connection().vendor == "postgresql":
        query = _query(clauses, " & ", " | ", _lexeme)
        return rows.filter(_condition(" @@ ", query, "%(expressions)s::tsquery"))
    keys = _indexed_keys(_query(clauses, " AND ", " OR ", _phrase), index)
    if keys is not None:
        return rows.filter(pk__in=keys)
    return rows.filter(*(reduce(or_, map(_contains_term, clause)) for clause in clauses))


def _contains_term(term: str) -> Q:
    """Substring match of a term or a prefix in SQLite."""
    text = f" {term[:-1]}" if term.endswith("*") else f" {term} "
    return Q(_condition(" || ' ', ", text, "instr(' ' || %(expressions)s) > 0"))


def _condition(operator: str, text: str, template: str) -> Func:
    terms, value, is_match = F("terms"), Value(text), BooleanField()
    return Func(terms, value, template=template, arg_joiner=operator, output_field=is_match)


def _query(
    clauses: Clauses, and_operator: str, or_operator: str, quote: Callable[[str], str]
) -> str:
    # No term contains a quotation mark.
    joined = (or_operator.join(map(quote, clause)) for clause in clauses)
    return and_operator.join(f"({clause})" for clause in joined)


def _lexeme(term: str) -> str:
    """Quote a term for https://www.postgresql.org/docs/current/datatype-textsearch.html."""
    return f"'{term[:-1]}':*" if term.endswith("*") else f"'{term}'"


def _phrase(term: str) -> str:
    """Quote a term for https://www.sqlite.org/fts5.html#full_text_query_syntax."""
    return f'"{term[:-1]}" *' if term.endswith("*") else f'"{term}"'


def _indexed_keys(query: str, index: str) -> list[int] | None:
    """The keys of the matching rows; None if there are more than MAX_INDEXED_ROWS."""
    with write_connection().cursor() as cursor:
        cursor.execute(
            f'SELECT "rowid" FROM "{index}" WHERE "{index}" MATCH %s LIMIT %s',  # noqa: S608
            [query, MAX_INDEXED_ROWS + 1],
        )
        keys = [row[0] for row in cursor.fetchall()]
    return keys if len(keys) <= MAX_INDEXED_ROWS else None
