"""SQL lookups: evaluate the clauses of a filter by an index of terms (`events.term_index`)."""

from collections.abc import Callable, Sequence
from functools import reduce
from operator import or_
from typing import Any, Final, TypeVar

from django.db.models import BooleanField, F, Func, Q, QuerySet, Value

from events.archive.filters import EventFilter
from events.database import primary_rows, write_connection
from events.models import ArchivedEvent

EventRows = QuerySet[ArchivedEvent]
Rows = TypeVar("Rows", bound=QuerySet[Any])
# A clause is a tuple of alternative terms; a term that ends with `*` is a prefix.
Clauses = Sequence[tuple[str, ...]]

# SQLite keeps no statistics of terms, PostgreSQL none of prefixes. A filter that matches at most
# this many rows uses the index. A more common one may be evaluated row by row, in the order of the
# page, until it is full.
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
        conditions: list[Any] = [_matches(clauses, _word_or_prefix)]
        keys = _keys_of_prefixes(rows, clauses)
    else:
        conditions = [reduce(or_, map(_contains_term, clause)) for clause in clauses]
        keys = _indexed_keys(_query(clauses, " AND ", " OR ", _phrase), index)
    if keys is None or len(keys) > MAX_INDEXED_ROWS:
        return rows.filter(*conditions)
    return rows.filter(pk__in=keys)


def _keys_of_prefixes(rows: QuerySet[Any], clauses: Clauses) -> list[int] | None:
    """The keys of the matching rows in PostgreSQL if there is a prefix, else None.

    PostgreSQL assumes that a prefix is in 2 % of the rows, and scans the table for a rare one. Its
    estimate for whole words is right: if these are common, reading all keys in the index is slow.
    """
    if not any(term.endswith("*") for clause in clauses for term in clause):
        return None
    for quote in (_word, _word_prefix):
        matching = primary_rows(rows.model).filter(_matches(clauses, quote)).order_by()
        keys = list(matching.values_list("pk", flat=True)[: MAX_INDEXED_ROWS + 1])
        if len(keys) > MAX_INDEXED_ROWS:
            break
    return keys


def _matches(clauses: Clauses, quote: Callable[[str], str]) -> Func:
    """Match of a tsquery in PostgreSQL."""
    query = _query(clauses, " & ", " | ", quote)
    return _condition(" @@ ", query, "%(expressions)s::tsquery")


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


# See https://www.postgresql.org/docs/current/datatype-textsearch.html.
def _word(term: str) -> str:
    """Quote a term without its `*`."""
    return f"'{term.removesuffix('*')}'"


def _word_prefix(term: str) -> str:
    return f"{_word(term)}:*" if term.endswith("*") else _word(term)


def _word_or_prefix(term: str) -> str:
    """Quote a term for the planner, which has statistics of whole words."""
    return f"({_word(term)} | {_word_prefix(term)})"


def _phrase(term: str) -> str:
    """Quote a term for https://www.sqlite.org/fts5.html#full_text_query_syntax."""
    return f'"{term[:-1]}" *' if term.endswith("*") else f'"{term}"'


def _indexed_keys(query: str, index: str) -> list[int]:
    """The keys of the matching rows in SQLite, at most one more than MAX_INDEXED_ROWS."""
    with write_connection().cursor() as cursor:
        cursor.execute(
            f'SELECT "rowid" FROM "{index}" WHERE "{index}" MATCH %s LIMIT %s',  # noqa: S608
            [query, MAX_INDEXED_ROWS + 1],
        )
        return [row[0] for row in cursor.fetchall()]
