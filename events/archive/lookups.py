"""SQL lookups: evaluate an event filter by the index of terms (migration 0001)."""

from collections.abc import Callable
from functools import reduce
from operator import and_, or_
from typing import Any, Final

from django.db import connection
from django.db.models import Lookup, Q, QuerySet

from events.archive.filters import EventFilter
from events.fields import TermsField
from events.models import ArchivedEvent

EventRows = QuerySet[ArchivedEvent]

# SQLite keeps no statistics of terms. A filter that matches at most this many rows uses the FTS
# index. A more common one is evaluated row by row, in the order of the page, until it is full.
MAX_INDEXED_ROWS: Final = 2000


@TermsField.register_lookup
class TsQueryMatch(Lookup):
    """`terms__tsquery`: PostgreSQL full-text match against the text of a tsquery."""

    lookup_name = "tsquery"
    prepare_rhs = False

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        """Return the condition and its parameters."""
        column, params = self.process_lhs(compiler, connection)
        return f"{column} @@ %s::tsquery", (*params, self.rhs)


@TermsField.register_lookup
class ContainsTerm(Lookup):
    """`terms__contains_term`: SQLite substring match of a term or a prefix."""

    lookup_name = "contains_term"
    prepare_rhs = False

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        """Return the condition and its parameters."""
        column, params = self.process_lhs(compiler, connection)
        term = str(self.rhs)
        text = f" {term[:-1]}" if term.endswith("*") else f" {term} "
        return f"instr(' ' || {column} || ' ', %s) > 0", (*params, text)


def apply_filter(rows: EventRows, event_filter: EventFilter) -> EventRows:
    """Restrict archived events to those that a filter matches."""
    if not all(event_filter.clauses):
        return rows.none()  # an empty list of types
    if not event_filter:
        return rows
    if connection.vendor == "postgresql":
        return rows.filter(terms__tsquery=_query(event_filter, " & ", " | ", _lexeme))
    keys = _indexed_keys(_query(event_filter, " AND ", " OR ", _phrase))
    if keys is not None:
        return rows.filter(pk__in=keys)
    clauses = ([Q(terms__contains_term=term) for term in clause] for clause in event_filter.clauses)
    return rows.filter(reduce(and_, (reduce(or_, clause) for clause in clauses)))


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
    with connection.cursor() as cursor:
        cursor.execute(
            'SELECT "rowid" FROM "job_events_terms" WHERE "job_events_terms" MATCH %s LIMIT %s',
            [query, MAX_INDEXED_ROWS + 1],
        )
        keys = [row[0] for row in cursor.fetchall()]
    return keys if len(keys) <= MAX_INDEXED_ROWS else None
