"""Counts that stop at a limit, so that they take the same time on every size of a table."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from django.core.exceptions import EmptyResultSet
from django.core.paginator import Paginator
from django.db import connections
from django.db.models import QuerySet
from django.utils.functional import cached_property

from events.database import write_alias

MAX_COUNT: Final = 10_000


def capped_count(rows: QuerySet[Any]) -> int:
    """Return the number of rows, or MAX_COUNT + 1 if there are more than MAX_COUNT."""
    return rows.order_by().values("pk")[: MAX_COUNT + 1].count()


def capped_counts(rows: Mapping[str, QuerySet[Any]]) -> dict[str, int]:
    """Return `capped_count` of several querysets of one database, with one query."""
    counted, params = list[str](), list[Any]()
    alias = write_alias()
    for each in rows.values():
        query = each.order_by().values("pk")[: MAX_COUNT + 1].query
        with suppress(EmptyResultSet):
            sql, values = query.get_compiler(using=alias).as_sql()
            counted.append(f"(SELECT COUNT(*) FROM ({sql}) AS counted)")  # noqa: S608 - of the ORM
            params += values
            continue
        counted.append("0")
    with connections[alias].cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(counted)}", params)
        return dict(zip(rows, cursor.fetchone(), strict=True))


class CappedPaginator(Paginator):  # type: ignore[type-arg]  # not subscriptable
    """Pages of the first MAX_COUNT rows."""

    object_list: QuerySet[Any]

    @cached_property
    def _counted(self) -> int:
        return capped_count(self.object_list)

    @cached_property
    def count(self) -> int:
        return min(self._counted, MAX_COUNT)

    @property
    def has_more(self) -> bool:
        """Whether there are rows after the last page."""
        return self._counted > MAX_COUNT
