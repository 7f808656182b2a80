"""Conditions on rows of the archive, by its index of terms (events/migrations/0002)."""

from collections.abc import Iterable
from functools import reduce
from operator import and_, or_
from typing import TYPE_CHECKING, Any, Final

from django.db import connection
from django.db.models import Lookup, Q, QuerySet

from events.archive.filters import EventFilter
from events.fields import TermsField
from events.models import ArchivedEvent

# Django's class takes this parameter only in the eyes of a type checker.
if TYPE_CHECKING:
    _Lookup = Lookup[Any]
else:
    _Lookup = Lookup
Rows = QuerySet[ArchivedEvent]

# SQLite does not know how common a term is. What is looked for is looked up in its index if no more
# rows than this have it; else rows are looked at in their order, until there are enough.
_FEW: Final = 2000


@TermsField.register_lookup
class Matches(_Lookup):
    """`terms__matches`: PostgreSQL's full-text search; a text search query as text."""

    lookup_name = "matches"
    prepare_rhs = False

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        """The condition."""
        column, params = self.process_lhs(compiler, connection)
        return f"{column} @@ %s::tsquery", (*params, self.rhs)


@TermsField.register_lookup
class Holds(_Lookup):
    """`terms__holds`: a term, or the start of one, in the text that SQLite has."""

    lookup_name = "holds"
    prepare_rhs = False

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        """The condition."""
        column, params = self.process_lhs(compiler, connection)
        term = str(self.rhs)
        text = f" {term[:-1]}" if term.endswith("*") else f" {term} "
        return f"instr(' ' || {column} || ' ', %s) > 0", (*params, text)


def matching(rows: Rows, wanted: EventFilter) -> Rows:
    """Those of the rows that are wanted."""
    if not all(wanted.groups):
        return rows.none()  # one of no types
    if not wanted:
        return rows
    if connection.vendor == "postgresql":
        return rows.filter(terms__matches=_query(wanted, " & ", " | ", _lexeme))
    few = _if_few(_query(wanted, " AND ", " OR ", _phrase))
    if few is not None:
        return rows.filter(pk__in=few)
    groups = ([Q(terms__holds=term) for term in group] for group in wanted.groups)
    return rows.filter(reduce(and_, (reduce(or_, group) for group in groups)))


def _query(wanted: EventFilter, and_word: str, or_word: str, quoted: Any) -> str:
    # No term has a quotation mark in it.
    groups: Iterable[str] = (or_word.join(map(quoted, group)) for group in wanted.groups)
    return and_word.join(f"({group})" for group in groups)


def _lexeme(term: str) -> str:
    """As https://www.postgresql.org/docs/current/datatype-textsearch.html has it."""
    return f"'{term[:-1]}':*" if term.endswith("*") else f"'{term}'"


def _phrase(term: str) -> str:
    """As https://www.sqlite.org/fts5.html#full_text_query_syntax has it."""
    return f'"{term[:-1]}" *' if term.endswith("*") else f'"{term}"'


def _if_few(query: str) -> list[int] | None:
    """The keys of the rows that match, if they are few."""
    with connection.cursor() as cursor:
        cursor.execute(
            'SELECT "rowid" FROM "job_events_terms" WHERE "job_events_terms" MATCH %s LIMIT %s',
            [query, _FEW + 1],
        )
        keys = [row[0] for row in cursor.fetchall()]
    return keys if len(keys) <= _FEW else None
